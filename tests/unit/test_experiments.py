"""The experiments themselves against a cluster that behaves well, and against one that doesn't."""

from __future__ import annotations

import json
from typing import Any

import pytest

from releaser.errors import UsageError
from releaser.flows.experiments import discovery, kills, runtimes, scaling, secrets, traffic, updates
from releaser.flows.experiments.catalogue import CATALOGUE, choose
from releaser.flows.experiments.trial import Experiment
from releaser.verification import Conclusion, Outcome, Ran
from tests.unit.test_verify import Site, site

__all__ = ["site"]


def tried(site: Site, experiment: Experiment) -> Conclusion:
    [conclusion] = site.verify(experiment).conclusions
    return conclusion


def figure(conclusion: Conclusion, name: str) -> float | None:
    [found] = [each.value for each in conclusion.measurements if each.name == name]
    return found


def test_names_are_chosen_in_the_catalogues_order_and_a_wrong_one_is_refused_with_what_was_meant() -> None:
    names = [each.promise.name for each in choose(["process-kill", "dns"])]
    assert names == ["dns", "process-kill"]
    assert choose([]) == CATALOGUE
    with pytest.raises(UsageError, match='Unknown experiment "pod-delet"; did you mean "pod-delete"'):
        choose(["pod-delet"])


def test_names_are_unique_and_fit_their_column() -> None:
    names = [each.promise.name for each in CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 17 for name in names)


def test_a_deleted_pod_that_comes_back_unnoticed_holds(site: Site) -> None:
    conclusion = tried(site, kills.POD_DELETE)
    assert conclusion.outcome is Outcome.HOLDS
    assert figure(conclusion, "ready again") == pytest.approx(3.0, abs=0.2)
    assert site.cluster.removed == ["web-1-a"]


def test_a_deleted_pod_that_never_comes_back_breaks_it(site: Site) -> None:
    site.cluster.slow_seconds = None
    conclusion = tried(site, kills.POD_DELETE)
    assert conclusion.outcome is Outcome.BROKEN
    assert figure(conclusion, "ready again") is None


def test_a_request_lost_with_a_deleted_pod_breaks_it(site: Site) -> None:
    site.prober.lose = lambda seconds: int(seconds > 3)
    conclusion = tried(site, kills.POD_DELETE)
    assert conclusion.outcome is Outcome.BROKEN
    assert conclusion.reason == "requests lost 1, at most 0"


def test_a_killed_process_may_lose_what_its_pod_gets_until_it_is_known_and_no_more(site: Site) -> None:
    site.prober.lose = lambda seconds: 50 * (seconds > 3)  # 20 a second, two pods, 5 s
    assert tried(site, kills.PROCESS_KILL).outcome is Outcome.HOLDS
    site.prober.lose = lambda seconds: 51 * (seconds > 3)
    assert tried(site, kills.PROCESS_KILL).outcome is Outcome.BROKEN


def test_another_pod_that_restarts_breaks_it(site: Site) -> None:
    def kill_both(pod: object, container: str) -> None:
        site.cluster.restart("web-1-a")
        site.cluster.restart("web-1-b")

    site.hands.machines.kill_first_process = kill_both  # type: ignore[method-assign]
    conclusion = tried(site, kills.PROCESS_KILL)
    assert figure(conclusion, "other pods restarted") == 1
    assert conclusion.outcome is Outcome.BROKEN


@pytest.mark.parametrize("experiment", [kills.PROCESS_KILL, kills.LIVENESS_KILL, runtimes.RUNTIME_RESTART])
def test_where_the_nodes_cannot_be_reached_it_is_skipped(site: Site, experiment: Experiment) -> None:
    site.hands.machines.trouble = "the nodes of fake can't be reached from here"
    conclusion = tried(site, experiment)
    assert conclusion.outcome is Outcome.SKIPPED
    assert "can't be reached" in conclusion.reason


def test_without_a_liveness_probe_there_is_nothing_to_try(site: Site) -> None:
    assert tried(site, kills.LIVENESS_KILL).outcome is Outcome.SKIPPED
    assert not site.hands.machines.frozen


def test_a_runtime_that_restarts_under_the_pods_holds_and_pods_that_restart_with_it_do_not(site: Site) -> None:
    assert tried(site, runtimes.RUNTIME_RESTART).outcome is Outcome.HOLDS
    assert site.hands.machines.restarted == ["n1"]
    site.hands.machines.restart_runtime = lambda node: site.cluster.restart("web-1-a")  # type: ignore[method-assign]
    assert tried(site, runtimes.RUNTIME_RESTART).outcome is Outcome.BROKEN


def test_an_even_spread_holds_and_an_uneven_one_does_not(site: Site) -> None:
    site.prober.pods = (("web-1-a", 352), ("web-1-b", 348))
    assert tried(site, traffic.LOAD_SPREAD).outcome is Outcome.HOLDS
    site.prober.pods = (("web-1-a", 420), ("web-1-b", 280))
    assert tried(site, traffic.LOAD_SPREAD).reason.startswith("p-value")
    site.prober.pods = (("web-1-a", 700),)
    assert tried(site, traffic.LOAD_SPREAD).outcome is Outcome.BROKEN
    site.prober.pods = (("web-1-a", 350), ("web-1-b", 340), ("stranger", 10))
    assert "answers of other pods 10" in tried(site, traffic.LOAD_SPREAD).reason


def test_answers_that_name_no_pod_tell_nothing_of_the_spread(site: Site) -> None:
    assert tried(site, traffic.LOAD_SPREAD).outcome is Outcome.SKIPPED


def test_a_name_that_leads_to_the_service_holds(site: Site) -> None:
    said = {"found": ["10.96.0.7"], "failed": 0, "seconds": 0.6}
    site.hands.errands.ran = Ran(0, json.dumps(said))
    assert tried(site, discovery.DNS).outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"found": ["10.96.0.9"], "failed": 0, "seconds": 0.6}, "wrong addresses 2"),
        ({"found": ["10.96.0.7"], "failed": 3, "seconds": 0.6}, "look-ups that failed 3"),
    ],
)
def test_a_name_that_leads_elsewhere_or_nowhere_breaks_it(site: Site, said: dict[str, object], reason: str) -> None:
    site.hands.errands.ran = Ran(0, json.dumps(said))
    assert reason in tried(site, discovery.DNS).reason


def test_an_endpoint_that_is_no_ready_pod_breaks_it(site: Site) -> None:
    site.hands.errands.ran = Ran(0, json.dumps({"found": ["10.96.0.7"], "failed": 0, "seconds": 0.6}))
    site.hands.network.endpoints = frozenset({"10.244.0.1", "10.244.0.9"})
    assert "endpoints that are no ready pod 1" in tried(site, discovery.DNS).reason


def secretive(site: Site) -> Site:
    site.bench.values("dev", "replicaCount: 2\nextra: c29tZXRoaW5n\n")
    from releaser.flows.deploy import deploy
    from tests.unit.test_verify import YES

    deploy(site.bench.project, site.bench.target("dev"), site.bench.workshop, YES)
    return site


def test_a_secret_that_nobody_can_read_holds(site: Site) -> None:
    assert tried(site, secrets.SECRETS).outcome is Outcome.SKIPPED  # the release has none yet
    assert tried(secretive(site), secrets.SECRETS).outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("leak", "reason"),
    [
        (lambda hands: setattr(hands.disclosure, "status", 200), "Secrets given to strangers 1"),
        (lambda hands: setattr(hands.disclosure, "allowed", True), "accounts that may read Secrets 1"),
        (lambda hands: hands.insides.answers.update({"/metrics": "correct horse battery"}), "answers with a secret 2"),
        (lambda hands: hands.disclosure.texts.update(log="Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"), "texts with a secret 1"),
        (lambda hands: setattr(hands.insides, "ran", Ran(0, "token\n")), "pods with a token of the API 2"),
    ],
)
def test_each_way_by_which_it_comes_out_breaks_it_and_never_shows_it(site: Site, leak: object, reason: str) -> None:
    leak(secretive(site).hands)  # type: ignore[operator]
    conclusion = tried(site, secrets.SECRETS)
    assert reason in conclusion.reason
    assert "horse" not in repr(conclusion)


def test_more_load_makes_more_pods_and_less_load_fewer(site: Site) -> None:
    from tests.fake_hands import live_pod

    def scale(time: float) -> None:
        made = site.hands.autoscalers.made
        if not made:
            return
        age = time - min(made.values())
        wanted = 4 if age > 40 and site.prober.open else 2
        for index in range(wanted):
            site.cluster.change(live_pod(f"web-1-{'abcd'[index]}"))
        site.cluster.living = site.cluster.living[:wanted]

    site.clock.on_sleep = scale
    conclusion = tried(site, scaling.AUTOSCALE)
    assert conclusion.outcome is Outcome.HOLDS
    assert figure(conclusion, "4 pods ready") == pytest.approx(38, abs=4)
    assert not site.hands.autoscalers.made


def test_an_autoscaler_that_adds_nothing_breaks_it_and_is_removed(site: Site) -> None:
    site.hands.autoscalers.stubborn = True
    conclusion = tried(site, scaling.AUTOSCALE)
    assert conclusion.outcome is Outcome.BROKEN
    assert "more pods wanted never" in conclusion.reason
    assert not site.hands.autoscalers.made


def test_without_the_metrics_api_it_is_skipped(site: Site) -> None:
    site.hands.autoscalers.served = False
    assert tried(site, scaling.AUTOSCALE).outcome is Outcome.SKIPPED


UPDATES = [updates.ROLLING_UPDATE, updates.ROLLBACK]


@pytest.mark.parametrize("experiment", UPDATES)
def test_an_update_and_its_way_back_hold_when_nothing_is_lost(site: Site, experiment: Experiment) -> None:
    conclusion = tried(site, experiment)
    assert conclusion.outcome is Outcome.HOLDS, conclusion.reason
    assert figure(conclusion, "fewest pods ready") == 2
    assert [number for number, _ in site.verdicts] == [3, 2, 1]


@pytest.mark.parametrize("experiment", UPDATES)
def test_an_update_that_loses_a_request_does_not_hold(site: Site, experiment: Experiment) -> None:
    site.prober.lose = lambda seconds: int(seconds > 2.5)
    assert tried(site, experiment).reason == "requests lost 1, at most 0"


def test_an_update_that_leaves_no_pod_ready_for_a_moment_does_not_hold(site: Site) -> None:
    replaced: list[str] = []

    def replace_all_at_once(time: float) -> None:
        values = site.bench.world.running("web-dev", "web") or {}
        if values.get("podAnnotations") and not replaced:
            replaced.extend(pod.name for pod in site.cluster.living)
            for name in replaced:
                site.cluster.restart(name)

    site.clock.on_sleep = replace_all_at_once
    assert tried(site, updates.ROLLING_UPDATE).reason == "fewest pods ready 0, at least 1"


def test_a_bad_update_is_judged_taken_back_and_not_noticed(site: Site) -> None:
    conclusion = tried(site, updates.BAD_UPDATE)
    assert conclusion.outcome is Outcome.HOLDS, conclusion.reason
    assert figure(conclusion, "old pods still serving then") == 2
    assert site.bench.world.running("web-dev", "web") == site.bench.helm.values("web", "web-dev", 1)


def test_a_setting_that_every_pod_answers_with_holds_and_an_old_one_does_not(site: Site) -> None:
    def ask(namespace: str, pod: str, port: int, path: str) -> tuple[int, str]:
        values = site.bench.world.running("web-dev", "web") or {}
        old = pod in behind
        return 200, json.dumps({"message": "old" if old else values["app"]["greeting"]})

    behind: set[str] = set()
    site.hands.insides.ask = ask  # type: ignore[method-assign]
    assert tried(site, updates.CONFIG_CHANGE).outcome is Outcome.HOLDS
    behind.add("web-1-b")
    assert tried(site, updates.CONFIG_CHANGE).reason == "answers with another setting 8, at most 0"


def test_with_another_chart_than_the_one_that_runs_nothing_is_upgraded(site: Site) -> None:
    render = site.bench.helm.render
    site.bench.helm.render = lambda *given: render(*given).replace("web:", "other:")  # type: ignore[method-assign]
    conclusion = tried(site, updates.ROLLING_UPDATE)
    assert conclusion.outcome is Outcome.SKIPPED
    assert "deploy it first" in conclusion.reason
    assert [number for number, _ in site.verdicts] == [1]


def test_a_chart_without_the_value_is_left_alone(site: Site) -> None:
    render, values = site.bench.helm.render, site.bench.helm.values("web", "web-dev", 1)
    site.bench.helm.render = lambda *given: render(*given[:3], values)  # type: ignore[method-assign]
    conclusion = tried(site, updates.ROLLING_UPDATE)
    assert conclusion.outcome is Outcome.SKIPPED
    assert conclusion.reason == "the chart makes nothing of podAnnotations.releaser/verify"


def test_a_bad_update_that_costs_an_old_pod_does_not_hold(site: Site) -> None:
    make = site.bench.helm.upgrade

    def making(*given: Any) -> int:
        number = make(*given)
        site.cluster.remove_pod("web-dev", "web-1-a")
        return number

    site.bench.helm.upgrade = making  # type: ignore[method-assign]
    assert "old pods still serving then 1, wanted 2" in tried(site, updates.BAD_UPDATE).reason
