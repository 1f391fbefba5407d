"""Who may reach whom, by NetworkPolicies as Kubernetes defines them."""

from __future__ import annotations

from typing import Any

import pytest

from releaser.policies import Peer, Port, admits, isolating, lets_out, named_peers, selects

POD = {"app": "shop", "tier": "front"}
HTTP = Port(8080, "http")
STRANGER = Peer("other", {"kubernetes.io/metadata.name": "other"}, {"app": "else"})
NEIGHBOUR = Peer("here", {"kubernetes.io/metadata.name": "here"}, {"app": "else"})
OUTSIDE = Peer(address="203.0.113.7")


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"podSelector": {"matchLabels": {"app": "shop"}}, **spec}}


def ingress(*peers: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"from": list(peers)} if peers else {}
    return policy({"policyTypes": ["Ingress"], "ingress": [{**rule, **({"ports": ports} if ports else {})}]})


def test_a_pod_that_no_policy_selects_is_open() -> None:
    others = {"spec": {"podSelector": {"matchLabels": {"app": "else"}}, "policyTypes": ["Ingress", "Egress"]}}
    assert admits([others], "here", POD, STRANGER, HTTP)
    assert lets_out([others], "here", POD, OUTSIDE, HTTP)
    assert isolating([others], POD, "Ingress") == []


def test_a_policy_without_rules_keeps_everybody_out() -> None:
    assert not admits([policy({"policyTypes": ["Ingress"]})], "here", POD, NEIGHBOUR, HTTP)


def test_what_any_policy_allows_is_allowed() -> None:
    nobody = policy({"policyTypes": ["Ingress"]})
    assert admits([nobody, ingress({"podSelector": {}})], "here", POD, NEIGHBOUR, HTTP)


@pytest.mark.parametrize(
    ("peers", "neighbour", "stranger", "outside"),
    [
        ((), True, True, True),
        (({"podSelector": {}},), True, False, False),
        (({"podSelector": {"matchLabels": {"app": "no"}}},), False, False, False),
        (({"namespaceSelector": {}},), True, True, False),
        (({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}},), False, True, False),
        (({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "no"}}},), False, False, False),
        (({"ipBlock": {"cidr": "203.0.113.0/24"}},), False, False, True),
        (({"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.0/28"]}},), False, False, False),
        (({"podSelector": {"matchLabels": {"app": "no"}}}, {"namespaceSelector": {}}), True, True, False),
    ],
)
def test_peers_are_pods_of_the_namespace_pods_of_others_or_addresses(
    peers: tuple[dict[str, Any], ...], neighbour: bool, stranger: bool, outside: bool
) -> None:
    found = [admits([ingress(*peers)], "here", POD, peer, HTTP) for peer in (NEIGHBOUR, STRANGER, OUTSIDE)]
    assert found == [neighbour, stranger, outside]


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ({"port": 8080}, True),
        ({"port": "http"}, True),
        ({"port": "metrics"}, False),
        ({"port": 8000, "endPort": 8090}, True),
        ({"port": 8000, "endPort": 8079}, False),
        ({"port": 8080, "protocol": "UDP"}, False),
        ({"protocol": "TCP"}, True),
    ],
)
def test_ports_are_numbers_names_and_ranges_of_a_protocol(port: dict[str, Any], allowed: bool) -> None:
    assert admits([ingress(ports=[port])], "here", POD, NEIGHBOUR, HTTP) is allowed


def test_egress_is_restricted_where_it_is_said_or_where_there_are_rules_for_it() -> None:
    dns = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}
    for spec in ({"policyTypes": ["Egress"], "egress": [dns]}, {"egress": [dns]}):
        assert not lets_out([policy(spec)], "here", POD, OUTSIDE, HTTP)
        assert lets_out([policy(spec)], "here", POD, STRANGER, Port(53, protocol="UDP"))
    assert lets_out([ingress()], "here", POD, OUTSIDE, HTTP)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "shop", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_a_selector_selects_by_labels_and_expressions(selector: dict[str, Any] | None, selected: bool) -> None:
    assert selects(selector, POD) is selected


def test_named_peers_are_those_of_the_same_namespace_that_labels_alone_describe() -> None:
    named = {"podSelector": {"matchLabels": {"role": "test"}}}
    elsewhere = {"namespaceSelector": {}, **named}
    assert named_peers([ingress({"podSelector": {}}, elsewhere, named)], POD) == [{"role": "test"}]
