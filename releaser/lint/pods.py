"""Pods, wherever an object has them, and their containers. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from releaser.manifests import Document
from releaser.objects import labelled

_SPECS = {
    "Pod": "spec",
    "PodTemplate": "template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), "spec.template.spec"
    ),
}
# of these every pod is meant to stay
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})


@dataclass(frozen=True)
class Pods:
    """The pods that an object makes: their spec, its address in the object, and their labels."""

    document: Document
    address: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str]

    @property
    def kind(self) -> str:
        return self.document.object.kind

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Address and container, init containers included."""
        for key in ("initContainers", "containers"):
            items = listed(self.spec.get(key))
            for index, container in enumerate(items):
                yield labelled(f"{self.address}.{key}", items, index), container

    def ports(self) -> set[str | int]:
        """Names and numbers of the containers' ports."""
        named = [port for _, each in self.containers() for port in listed(each.get("ports"))]
        return {value for port in named for value in (port.get("name"), port.get("containerPort")) if value}


def pods(document: Document) -> Pods | None:
    address = _SPECS.get(document.object.kind)
    if address is None:
        return None
    spec: Any = document.object.body
    metadata: Any = {}
    for step in address.split("."):
        metadata = spec.get("metadata") if isinstance(spec, dict) else None
        spec = spec.get(step) if isinstance(spec, dict) else None
    if not isinstance(spec, dict):
        return None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return Pods(document, address, spec, labels if isinstance(labels, dict) else {})


def listed(value: Any) -> list[Any]:
    """The mappings of a list; nothing else is of use where objects are wanted."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def words(value: Any) -> set[str]:
    """The texts of a list."""
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()


def mapping(value: Any, *keys: str) -> dict[str, Any]:
    """The mapping below some keys; {} where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """A LabelSelector, as the API has it: matchLabels and matchExpressions; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in mapping(selector, "matchLabels").items()):
        return False
    return all(_fits(each, labels) for each in listed(selector.get("matchExpressions")))


def _fits(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = expression.get("key"), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(str(key)) in values
        case "NotIn":
            return labels.get(str(key)) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
