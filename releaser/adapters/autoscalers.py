"""HorizontalPodAutoscalers, those of releases and those that `releaser verify` makes for the time being."""

from __future__ import annotations

from kubernetes import client

from releaser.adapters.cluster import Cluster, tolerating
from releaser.verification import Autoscaler

_LABELS = {"app.kubernetes.io/managed-by": "releaser", "app.kubernetes.io/component": "verify"}
_RELEASE = "releaser/release"
_REQUEST_SECONDS = 15
# Kubernetes' own default (--horizontal-pod-autoscaler-downscale-stabilization).
_DOWN_AFTER_SECONDS = 300.0


class HorizontalAutoscalers:
    """Satisfies the experiments' Autoscalers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._autoscaling = client.AutoscalingV2Api(cluster.api)

    def metrics_answer(self) -> bool:
        return self._cluster.metrics_answer()

    def read(self, namespace: str, name: str) -> Autoscaler | None:
        with self._cluster.asking(f"reading the HPA {name}"), tolerating(404):
            found = self._autoscaling.read_namespaced_horizontal_pod_autoscaler(
                name, namespace, _request_timeout=_REQUEST_SECONDS
            )
            return _autoscaler(found)
        return None

    def create(
        self, namespace: str, release: str, deployment: str, minimum: int, maximum: int, cpu_percent: int
    ) -> str:
        name = f"{deployment}-verify"
        body = {
            "metadata": {"name": name, "labels": {**_LABELS, _RELEASE: release}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
                "minReplicas": minimum,
                "maxReplicas": maximum,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": cpu_percent},
                        },
                    }
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
        }
        with self._cluster.asking(f"making the HPA {name}"):
            self._autoscaling.create_namespaced_horizontal_pod_autoscaler(
                namespace, body, _request_timeout=_REQUEST_SECONDS
            )
        return name

    def sweep(self, namespace: str, release: str) -> int:
        selector = ",".join(f"{key}={value}" for key, value in {**_LABELS, _RELEASE: release}.items())
        with self._cluster.asking("looking for HPAs that verify has made"):
            found = self._autoscaling.list_namespaced_horizontal_pod_autoscaler(
                namespace, label_selector=selector, _request_timeout=_REQUEST_SECONDS
            ).items
        for each in found:
            with self._cluster.asking(f"removing the HPA {each.metadata.name}"), tolerating(404):
                self._autoscaling.delete_namespaced_horizontal_pod_autoscaler(
                    each.metadata.name, namespace, _request_timeout=_REQUEST_SECONDS
                )
        return len(found)


def _autoscaler(item: client.V2HorizontalPodAutoscaler) -> Autoscaler:
    spec, status = item.spec, item.status
    down = spec.behavior.scale_down if spec.behavior else None
    after = down.stabilization_window_seconds if down else None
    conditions = (status.conditions if status else None) or []
    broken = next((c.message for c in conditions if c.type == "ScalingActive" and c.status == "False"), "")
    return Autoscaler(
        name=item.metadata.name,
        wanted=(status.desired_replicas if status else None) or 0,
        minimum=spec.min_replicas or 1,
        maximum=spec.max_replicas,
        down_after_seconds=_DOWN_AFTER_SECONDS if after is None else float(after),
        trouble=broken or "",
    )
