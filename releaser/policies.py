"""NetworkPolicies: whom they let in to a pod and where they let it out, as Kubernetes defines it. No I/O.

https://kubernetes.io/docs/concepts/services-networking/network-policies/: a pod that no policy selects is open; else
what any policy allows is allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
"""A NetworkPolicy as the API's JSON has it."""

_EVERYBODY: dict[str, Any] = {}


@dataclass(frozen=True)
class Peer:
    """The other side of a connection: a pod, or with `address` something that is none."""

    namespace: str = ""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class Port:
    """Where a connection goes; `name` is that of the container's port."""

    number: int
    name: str = ""
    protocol: str = "TCP"


def isolating(policies: Sequence[Policy], labels: Mapping[str, str], direction: str) -> list[Policy]:
    """Those policies of the pod's namespace that select it, for `Ingress` or `Egress`."""
    return [
        each
        for each in policies
        if direction in _types(each["spec"]) and selects(each["spec"].get("podSelector"), labels)
    ]


def admits(policies: Sequence[Policy], namespace: str, labels: Mapping[str, str], peer: Peer, port: Port) -> bool:
    """Whether the pod with these labels may be reached by `peer`."""
    return _allows(isolating(policies, labels, "Ingress"), "ingress", "from", namespace, peer, port)


def lets_out(policies: Sequence[Policy], namespace: str, labels: Mapping[str, str], peer: Peer, port: Port) -> bool:
    """Whether the pod with these labels may reach `peer`."""
    return _allows(isolating(policies, labels, "Egress"), "egress", "to", namespace, peer, port)


def named_peers(policies: Sequence[Policy], labels: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Labels of pods of the same namespace that are let in by these labels."""
    found = []
    for policy in isolating(policies, labels, "Ingress"):
        for rule in policy["spec"].get("ingress") or []:
            for peer in rule.get("from") or []:
                selector = peer.get("podSelector") or {}
                if "namespaceSelector" not in peer and selector.get("matchLabels") and len(selector) == 1:
                    found.append(selector["matchLabels"])
    return found


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector; one that is empty selects everything, one that is missing nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(each, labels) for each in selector.get("matchExpressions") or []
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    present, value = expression["key"] in labels, labels.get(expression["key"])
    values = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return present
        case _:  # DoesNotExist is the only other one
            return not present


def _types(spec: Mapping[str, Any]) -> Sequence[str]:
    """Egress is only meant where it is said, or where there are such rules."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _allows(policies: Sequence[Policy], rules: str, peers: str, namespace: str, peer: Peer, port: Port) -> bool:
    return not policies or any(
        _matches_port(rule.get("ports"), port)
        and any(_matches_peer(each, namespace, peer) for each in rule.get(peers) or [_EVERYBODY])
        for policy in policies
        for rule in policy["spec"].get(rules) or []
    )


def _matches_port(ports: Sequence[Mapping[str, Any]] | None, port: Port) -> bool:
    return not ports or any(
        (each.get("protocol") or "TCP") == port.protocol
        and (
            each.get("port") is None
            or each["port"] in (port.number, port.name)
            or (each.get("endPort") is not None and each["port"] <= port.number <= each["endPort"])
        )
        for each in ports
    )


def _matches_peer(said: Mapping[str, Any], namespace: str, peer: Peer) -> bool:
    if not said:
        return True
    if block := said.get("ipBlock"):
        return bool(peer.address) and _within(peer.address, block)
    if peer.address:
        return False
    if "namespaceSelector" in said:
        if not selects(said["namespaceSelector"], peer.namespace_labels):
            return False
    elif peer.namespace != namespace:
        return False
    return "podSelector" not in said or selects(said["podSelector"], peer.labels)


def _within(address: str, block: Mapping[str, Any]) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed in ipaddress.ip_network(block["cidr"], strict=False) and not any(
        parsed in ipaddress.ip_network(each, strict=False) for each in block.get("except") or []
    )
