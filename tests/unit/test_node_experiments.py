"""drain and network-policy, against a cluster that behaves well and one that doesn't."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from releaser.flows.experiments import drain, isolation
from releaser.verification import Conclusion, Outcome, Ran
from tests.fake_hands import FakeErrands, FakeInsides
from tests.unit.test_experiments import figure, tried
from tests.unit.test_verify import Site, site

__all__ = ["site"]

# -- drain -------------------------------------------------------------------------------------------------------------


def test_pods_that_leave_one_after_the_other_unnoticed_hold_and_the_node_takes_pods_again(site: Site) -> None:
    conclusion = tried(site, drain.DRAIN)
    assert (conclusion.outcome, conclusion.reason) == (Outcome.HOLDS, "")
    assert site.hands.nodes.evicted == ["web-1-a", "web-1-b"]
    assert {pod.node for pod in site.cluster.living} == {"n2"}
    assert figure(conclusion, "fewest ready pods") == 1
    assert figure(conclusion, "evictions beyond the budget accepted") == 0
    assert site.hands.nodes.cordoned == {}


def test_a_budget_that_refuses_nothing_breaks_it(site: Site) -> None:
    site.hands.nodes.refuses = False
    conclusion = tried(site, drain.DRAIN)
    assert conclusion.outcome is Outcome.BROKEN
    assert "evictions beyond the budget accepted" in conclusion.reason


def test_pods_that_start_nowhere_else_break_it_and_the_node_takes_pods_again(site: Site) -> None:
    site.cluster.slow_seconds = None
    conclusion = tried(site, drain.DRAIN)
    assert "ready on other nodes never" in conclusion.reason
    assert site.hands.nodes.evicted == ["web-1-a"]
    assert site.hands.nodes.cordoned == {}


def test_a_request_lost_with_the_pods_breaks_it(site: Site) -> None:
    site.prober.lose = lambda seconds: int(seconds > 3)
    assert "requests lost 1" in tried(site, drain.DRAIN).reason


def test_one_node_or_no_budget_is_nothing_to_drain(site: Site) -> None:
    site.hands.nodes.names = ("n1",)
    assert "releaser up --nodes 2" in tried(site, drain.DRAIN).reason
    site.hands.nodes.names = ("n1", "n2")
    site.hands.nodes.desired = None
    assert "no PodDisruptionBudget" in tried(site, drain.DRAIN).reason
    assert site.hands.nodes.evicted == []


def test_a_node_that_a_killed_run_left_cordoned_takes_pods_again_but_not_one_that_others_cordoned(site: Site) -> None:
    target = site.target()
    site.hands.nodes.cordoned = {"n1": f"{target.namespace}/{target.release}", "n2": "other/release"}
    tried(site, drain.DRAIN)
    assert site.hands.nodes.cordoned == {"n2": "other/release"}


# -- network-policy ----------------------------------------------------------------------------------------------------

DNS = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}


def policy(*peers: dict[str, Any], egress: tuple[dict[str, Any], ...] = (DNS,)) -> dict[str, Any]:
    return {
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": list(peers)}] if peers else [{}],
            "egress": list(egress),
        }
    }


class Network(FakeErrands, FakeInsides):
    """Lets in from where it is told, to the release's addresses; serving pods go out where they may."""

    def __init__(self) -> None:
        FakeErrands.__init__(self)
        self.answers: dict[str, str] = {}
        self.home = ""
        self.strangers = self.neighbours = False
        self.out = False
        self.names = True
        self.named: dict[str, str] = {}

    def run(self, namespace: str, *arguments: Any, **options: Any) -> Ran:  # type: ignore[override]
        if "argv" in options or isinstance(arguments[-1], list) or "deadline_seconds" in options:
            return self._inside(arguments[-1][-1])
        labels: Mapping[str, str] = options["labels"]
        targets = targets_of(arguments[-1])
        outside = targets == [("10.96.0.1", 443)]
        open_to = self.neighbours if namespace == self.home else self.strangers
        named = bool(self.named) and self.named.items() <= labels.items()
        return Ran(0, json.dumps({"reached": targets if outside or open_to or named else []}))

    def _inside(self, script: str) -> Ran:
        if "environ" in script:
            return Ran(0, "10.96.0.1 443\n")
        if "getaddrinfo" in script:
            return Ran(0, f"{int(self.names)}\n")
        return Ran(0, json.dumps({"reached": targets_of(script) if self.out else []}))


def targets_of(script: str) -> list[tuple[str, int]]:
    found = re.search(r", (\[\(.*?\)\]), \[\]", script)
    assert found is not None, script
    return list(ast.literal_eval(found[1]))


@pytest.fixture
def network(site: Site) -> Network:
    made = Network()
    made.home = site.target().namespace
    site.hands.errands = site.hands.insides = made
    return made


def figures(conclusion: Conclusion) -> dict[str, float | None]:
    return {each.name: each.value for each in conclusion.measurements}


def test_who_is_kept_out_and_who_is_let_in_as_the_policy_says_holds(site: Site, network: Network) -> None:
    site.hands.policies.policies = (policy({"podSelector": {}}),)
    network.neighbours = True
    conclusion = tried(site, isolation.NETWORK_POLICY)
    assert (conclusion.outcome, conclusion.reason) == (Outcome.HOLDS, "")
    assert figures(conclusion) == {
        "in from namespace default": 0,
        "in from the same namespace": 3,
        "out to the API server": 0,
        "names found": 1,
    }


def test_a_network_that_enforces_nothing_breaks_it(site: Site, network: Network) -> None:
    site.hands.policies.policies = (policy({"podSelector": {}}),)
    network.neighbours = network.strangers = network.out = True
    reason = tried(site, isolation.NETWORK_POLICY).reason
    assert "in from namespace default 3, wanted 0" in reason
    assert "out to the API server 1, wanted 0" in reason


def test_a_policy_that_lets_everybody_in_is_taken_at_its_word(site: Site, network: Network) -> None:
    site.hands.policies.policies = (policy(),)
    network.neighbours = network.strangers = True
    assert tried(site, isolation.NETWORK_POLICY).outcome is Outcome.HOLDS
    network.strangers = False
    assert "in from namespace default 0, wanted 3" in tried(site, isolation.NETWORK_POLICY).reason


def test_peers_that_the_policy_names_by_labels_are_tried_and_those_that_would_serve_are_not(
    site: Site, network: Network
) -> None:
    named = [{"podSelector": {"matchLabels": {"role": "test"}}}, {"podSelector": {"matchLabels": {"app": "web"}}}]
    site.hands.policies.policies = (policy(*named),)
    network.named = {"role": "test"}
    conclusion = tried(site, isolation.NETWORK_POLICY)
    assert conclusion.outcome is Outcome.HOLDS
    assert figures(conclusion)["in from a named peer (role=test)"] == 3
    assert not any("app=web" in each.name for each in conclusion.measurements)


def test_names_that_lead_nowhere_break_it(site: Site, network: Network) -> None:
    site.hands.policies.policies = (policy({"podSelector": {}}),)
    network.neighbours, network.names = True, False
    assert "names found 0, wanted 1" in tried(site, isolation.NETWORK_POLICY).reason


def test_pods_that_no_policy_selects_have_nothing_to_be_tried(site: Site) -> None:
    assert tried(site, isolation.NETWORK_POLICY).outcome is Outcome.SKIPPED
