"""What a revision's manifest says of the pods that serve: names, probes, limits, graces. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from releaser.errors import InvalidInput
from releaser.objects import KubeObject

# What Kubernetes takes where a probe says nothing (pkg/apis/core/v1/defaults.go).
_PROBE_DEFAULTS = {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}
_GRACE_SECONDS = 30
_UNITS = {
    **{"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    **{"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40},
}


@dataclass(frozen=True)
class ProbeTimes:
    period_seconds: float
    timeout_seconds: float
    failures: int

    @property
    def longest_seconds(self) -> float:
        """Until it has failed for good, from the moment at which nothing answers any more."""
        return self.period_seconds * self.failures + self.timeout_seconds


@dataclass(frozen=True)
class Workload:
    """The Deployment that serves, and its first container. None: the manifest names no such thing."""

    deployment: str
    container: str
    image: str
    replicas: int
    """Pods at least."""
    port: int
    grace_seconds: float
    startup: ProbeTimes | None
    liveness: ProbeTimes | None
    readiness: ProbeTimes | None
    memory_limit_bytes: float | None
    cpu_limit: float | None
    service_account: str
    secrets: tuple[str, ...]
    autoscaler: str = ""
    """Name of the release's own HorizontalPodAutoscaler."""
    service_port: int = 80
    port_name: str = ""

    @property
    def start_seconds(self) -> float:
        """What a container may take until it is ready."""
        return self.startup.longest_seconds if self.startup else 60.0

    @property
    def unseen_seconds(self) -> float:
        """What a pod that has fallen silent goes on getting requests for."""
        return self.readiness.longest_seconds if self.readiness else 0.0


def workload(objects: Sequence[KubeObject]) -> Workload:
    """Raises InvalidInput when there is no Deployment with a container."""
    deployment = next((each for each in objects if each.kind == "Deployment"), None)
    pod: dict[str, Any] = ((deployment.body["spec"].get("template") or {}).get("spec") or {}) if deployment else {}
    if deployment is None or not pod.get("containers"):
        raise InvalidInput("While reading the release's manifest: it has no Deployment, so there are no pods to try")
    container = pod["containers"][0]
    limits = (container.get("resources") or {}).get("limits") or {}
    ports = container.get("ports") or []
    scaler = next((each for each in objects if each.kind == "HorizontalPodAutoscaler"), None)
    scaled = int(scaler.body["spec"].get("minReplicas") or 1) if scaler else None
    service = next((each for each in objects if each.kind == "Service"), None)
    return Workload(
        deployment=deployment.name,
        container=container["name"],
        image=container["image"],
        replicas=scaled if scaled is not None else int(deployment.body["spec"].get("replicas", 1)),
        port=int(ports[0]["containerPort"]) if ports else 80,
        grace_seconds=float(pod.get("terminationGracePeriodSeconds", _GRACE_SECONDS)),
        startup=_probe(container, "startupProbe"),
        liveness=_probe(container, "livenessProbe"),
        readiness=_probe(container, "readinessProbe"),
        memory_limit_bytes=_quantity(limits.get("memory")),
        cpu_limit=_quantity(limits.get("cpu")),
        service_account=pod.get("serviceAccountName") or "default",
        secrets=_secrets(container, objects),
        autoscaler=scaler.name if scaler else "",
        service_port=int(service.body["spec"]["ports"][0]["port"]) if service else 80,
        port_name=str(ports[0].get("name", "")) if ports else "",
    )


def _probe(container: Mapping[str, Any], name: str) -> ProbeTimes | None:
    if not container.get(name):
        return None
    given = {**_PROBE_DEFAULTS, **container[name]}
    return ProbeTimes(float(given["periodSeconds"]), float(given["timeoutSeconds"]), int(given["failureThreshold"]))


def _secrets(container: Mapping[str, Any], objects: Sequence[KubeObject]) -> tuple[str, ...]:
    """Names of the Secrets that the release makes, or whose values its container gets."""
    made = [each.name for each in objects if each.kind == "Secret"]
    env = [((each.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name") for each in container.get("env") or []]
    whole = [(each.get("secretRef") or {}).get("name") for each in container.get("envFrom") or []]
    return tuple(dict.fromkeys(str(name) for name in (*made, *env, *whole) if name))


def _quantity(text: object) -> float | None:
    """Of Kubernetes' notation: 500m, 1, 256Mi. None when nothing is given."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)) if text is not None else None
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1]) * _UNITS[match[2]]
