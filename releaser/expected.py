"""What a live object becomes when its manifest alone counts: the manifest, and what is nobody's but the cluster's."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from releaser.objects import Body, keyed, labelled

# Annotations by which controllers keep their books on an object.
_CONTROLLERS = (
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "endpoints.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
)
# Where the API server itself, or a controller, puts a value that a manifest need not name.
_ALLOCATED = {
    "Service": ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    "PersistentVolumeClaim": ("volumeName", "storageClassName", "volumeMode"),
    "Namespace": ("finalizers",),
}


def replacement(wanted: Body, live: Body) -> Body:
    """The body to PUT over `live`: the manifest's, with the live object's identity, owners and allocations."""
    body = deepcopy(wanted)
    metadata, ours = body["metadata"], live["metadata"]
    for key in ("resourceVersion", "uid", "ownerReferences"):
        if key in ours:
            metadata[key] = deepcopy(ours[key])
    finalizers = [*(metadata.get("finalizers") or []), *(ours.get("finalizers") or [])]
    if finalizers:
        metadata["finalizers"] = list(dict.fromkeys(finalizers))
    kept = {key: value for key, value in (ours.get("annotations") or {}).items() if key.startswith(_CONTROLLERS)}
    if kept:
        metadata["annotations"] = {**kept, **(metadata.get("annotations") or {})}
    if "status" in live:  # a PUT would remove it where it is no subresource
        body["status"] = deepcopy(live["status"])
    _allocated(body, live)
    return body


def _allocated(body: Body, live: Body) -> None:
    kind = body["kind"]
    if kind == "ServiceAccount" and "secrets" in live and "secrets" not in body:
        body["secrets"] = deepcopy(live["secrets"])
    spec, theirs = body.get("spec"), live.get("spec")
    if not isinstance(spec, dict) or not isinstance(theirs, dict):
        return
    names = () if spec.get("type") == "ExternalName" else _ALLOCATED.get(kind, ())
    # a manifest without replicas leaves them to an autoscaler
    for name in (*names, "replicas"):
        if spec.get(name) is None and name in theirs:
            spec[name] = deepcopy(theirs[name])


def keep(body: Body, live: Body, field: str) -> str:
    """Put the live value of a field that the API server refused back into `body`; the address of what was put back.

    `field` is written as the API writes it in the causes of a refusal: spec.ports[0].nodePort, data[key].
    """
    address, mine, other = "", body, live
    steps = [step or index for step, index in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", field)]
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(mine, dict) and isinstance(other, dict):
            address = keyed(address, step)
            if last or not _alike(mine.get(step), other.get(step), steps[depth + 1]):
                _copy(mine, other, step)
                return address
            mine, other = mine[step], other[step]
        elif isinstance(mine, list) and isinstance(other, list):
            index = int(step)
            address = labelled(address, mine, index)
            if last:
                mine[index] = deepcopy(other[index])
                return address
            mine, other = mine[index], other[index]
    return address


def _alike(mine: Any, other: Any, step: str) -> bool:
    """Both can be stepped into."""
    if isinstance(mine, dict) and isinstance(other, dict):
        return True
    return (
        isinstance(mine, list) and isinstance(other, list) and step.isdigit() and int(step) < min(len(mine), len(other))
    )


def _copy(mine: Body, other: Body, key: str) -> None:
    if key in other:
        mine[key] = deepcopy(other[key])
    else:
        mine.pop(key, None)
