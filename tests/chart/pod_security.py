"""The Pod Security Standard `restricted`, as k8s.io/pod-security-admission policy/check_*.go has it (Kubernetes 1.34).

Stricter in one point: what the standard lets a pod inherit, such as runAsNonRoot, may stand at pod or container.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SECCOMP = ("RuntimeDefault", "Localhost")


def violations(spec: dict[str, Any]) -> Iterator[str]:
    """What `restricted` forbids in this pod spec."""
    pod = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is on"
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    if pod.get("sysctls"):
        yield "sysctls are set"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for violation in _container_violations(container, pod):
            yield f"{container['name']}: {violation}"


def _container_violations(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in capabilities.get("drop", []):
        yield "doesn't drop ALL capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runs as user 0"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in _SECCOMP:
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "has its own procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "takes a port of the host"
    hooks = [container.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    hooks += container.get("lifecycle", {}).values()
    if any(hook.get(kind, {}).get("host") for hook in hooks for kind in ("httpGet", "tcpSocket")):
        yield "probes another host"
