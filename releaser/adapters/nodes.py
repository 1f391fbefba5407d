"""The cluster's nodes as its administrators treat them: cordoned, their pods evicted, within what budgets allow."""

from __future__ import annotations

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.adapters.cluster import Cluster, tolerating
from releaser.verification import DisruptionBudget

_CORDONED = "releaser/cordoned-for"
_REQUEST_SECONDS = 15
_REPELLING = ("NoSchedule", "NoExecute")
_TOO_MANY_REQUESTS = 429


class ClusterNodes:
    """Satisfies the experiments' Nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)

    def schedulable(self) -> tuple[str, ...]:
        return tuple(node.metadata.name for node in self._list() if _takes_pods(node))

    def cordon(self, node: str, namespace: str, release: str) -> None:
        body = {
            "metadata": {"annotations": {_CORDONED: f"{namespace}/{release}"}},
            "spec": {"unschedulable": True},
        }
        with self._cluster.asking(f"cordoning node {node}"):
            self._core.patch_node(node, body, _request_timeout=_REQUEST_SECONDS)

    def uncordon(self, node: str) -> None:
        with self._cluster.asking(f"uncordoning node {node}"), tolerating(404):
            found = self._core.read_node(node, _request_timeout=_REQUEST_SECONDS)
            if _CORDONED in (found.metadata.annotations or {}):
                body = {"metadata": {"annotations": {_CORDONED: None}}, "spec": {"unschedulable": None}}
                self._core.patch_node(node, body, _request_timeout=_REQUEST_SECONDS)

    def sweep(self, namespace: str, release: str) -> int:
        left = [
            node.metadata.name
            for node in self._list()
            if (node.metadata.annotations or {}).get(_CORDONED) == f"{namespace}/{release}"
        ]
        for name in left:
            self.uncordon(name)
        return len(left)

    def evict(self, namespace: str, pod: str, *, dry_run: bool = False) -> bool:
        options = {"dryRun": ["All"]} if dry_run else {}
        body = {"metadata": {"name": pod, "namespace": namespace}, "deleteOptions": options}
        with self._cluster.asking(f"evicting pod {pod}"):
            try:
                self._core.create_namespaced_pod_eviction(pod, namespace, body, _request_timeout=_REQUEST_SECONDS)
            except ApiException as exc:
                if exc.status == _TOO_MANY_REQUESTS:
                    return False
                if exc.status != 404:
                    raise
        return True

    def disruption_budget(self, namespace: str, release: str) -> DisruptionBudget | None:
        with self._cluster.asking("asking for the disruption budget"):
            items = (
                client.PolicyV1Api(self._cluster.api)
                .list_namespaced_pod_disruption_budget(
                    namespace,
                    label_selector=f"app.kubernetes.io/instance={release}",
                    _request_timeout=_REQUEST_SECONDS,
                )
                .items
            )
        if not items:
            return None
        status = items[0].status
        return DisruptionBudget(items[0].metadata.name, status.desired_healthy, status.disruptions_allowed)

    def _list(self) -> list[client.V1Node]:
        with self._cluster.asking("listing the nodes"):
            return list(self._core.list_node(_request_timeout=_REQUEST_SECONDS).items)


def _takes_pods(node: client.V1Node) -> bool:
    ready = any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or [])
    repels = any(taint.effect in _REPELLING for taint in node.spec.taints or [])
    return ready and not node.spec.unschedulable and not repels
