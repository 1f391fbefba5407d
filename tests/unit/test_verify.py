"""The runner: steady state, budget, interrupts, undoing, leftovers, verdicts. The experiments are made up here."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from releaser import interrupts
from releaser.errors import Declined, EnvironmentUnfit, Refused
from releaser.flows.deploy import deploy
from releaser.flows.experiments.revisions import upgrade
from releaser.flows.experiments.trial import Experiment, Skipped, Trial
from releaser.flows.guard import Consent
from releaser.flows.look import show_history
from releaser.flows.target import Target
from releaser.flows.verify import Order, verify
from releaser.interrupts import Interrupted
from releaser.models import Note, Verdict
from releaser.verification import Measurement, Outcome, Promise, Verified, lost
from tests.fake_hands import ClockedProber, FakeHands, LivingCluster, StepClock, fake_hands, live_pod
from tests.unit.conftest import Bench

YES = Consent(yes=True, ask=None)


@dataclass
class Site:
    bench: Bench
    clock: StepClock
    cluster: LivingCluster
    prober: ClockedProber
    hands: FakeHands

    def target(self, environment: str = "dev") -> Target:
        return replace(self.bench.target(environment), cluster=self.cluster, prober=self.prober)

    def verify(
        self,
        *experiments: Experiment,
        environment: str = "dev",
        consent: Consent = YES,
        budget: int | None = None,
    ) -> Verified:
        return verify(
            self.bench.project,
            self.target(environment),
            self.hands.all,
            experiments,
            consent,
            Order(budget),
            self.clock,
        )

    @property
    def verdicts(self) -> list[tuple[int, Verdict]]:
        return [(each.number, each.verdict) for each in show_history(self.bench.target("dev")).revisions]


@pytest.fixture
def site(bench: Bench) -> Site:
    """A release with two pods, proven good."""
    bench.values("dev", "replicaCount: 2\n")
    deploy(bench.project, bench.target("dev"), bench.workshop, YES)
    clock = StepClock()
    cluster = LivingCluster(bench.world, clock)
    return Site(bench, clock, cluster, ClockedProber(clock), fake_hands(cluster, clock))


def experiment(conduct: Callable[[Trial], Sequence[Measurement]], name: str = "try") -> Experiment:
    return Experiment(Promise(name, "It works.", "It is seen to work.", 1.0), conduct)


def working(trial: Trial) -> list[Measurement]:
    with trial.requests() as sent:
        trial.mark("looked")
    return lost(sent.receipt, at_most=0)


def test_a_promise_that_holds_has_its_figures_its_timeline_and_its_receipt(site: Site) -> None:
    verified = site.verify(experiment(working))

    [conclusion] = verified.conclusions
    assert verified.holds
    assert conclusion.outcome is Outcome.HOLDS
    assert conclusion.receipt is not None and conclusion.receipt.sent >= 80
    assert [moment.text for moment in conclusion.timeline.moments] == ["looked"]
    assert conclusion.timeline.pods[-1].ready == 2
    assert len({each.sent for each in conclusion.timeline.requests}) > 10
    assert verified.sent == conclusion.receipt.sent and verified.lost == 0


def test_a_figure_out_of_its_bounds_breaks_the_promise_and_is_named(site: Site) -> None:
    verified = site.verify(experiment(lambda trial: [Measurement("ready again", 9.0, "s", at_most=5)]))
    assert not verified.holds
    assert verified.conclusions[0].outcome is Outcome.BROKEN
    assert verified.conclusions[0].reason == "ready again 9.0 s, at most 5.0 s"


def test_what_was_measured_of_nothing_holds_nothing(site: Site) -> None:
    verified = site.verify(experiment(lambda trial: [Measurement("look-ups", 9.0)]))
    assert verified.conclusions[0].outcome is Outcome.BROKEN


def test_a_run_in_which_everything_was_skipped_holds_nothing(site: Site) -> None:
    def skipping(trial: Trial) -> list[Measurement]:
        raise Skipped("no nodes here")

    verified = site.verify(experiment(skipping))
    assert verified.conclusions[0].outcome is Outcome.SKIPPED
    assert verified.conclusions[0].reason == "no nodes here"
    assert not verified.holds
    assert site.verify(experiment(skipping, "one"), experiment(working, "two")).holds


def test_without_a_steady_state_nothing_is_tried_and_the_run_does_not_hold(site: Site) -> None:
    site.cluster.change(live_pod("web-1-b", ready=False))
    tried: list[str] = []

    def trying(trial: Trial) -> list[Measurement]:
        tried.append("tried")
        return working(trial)

    verified = site.verify(experiment(trying))

    assert tried == []
    assert verified.conclusions[0].outcome is Outcome.NOT_RUN
    assert "no steady state" in verified.conclusions[0].reason
    assert "1 of 2 pods ready" in verified.conclusions[0].reason
    assert not verified.holds


def test_a_service_that_loses_requests_by_itself_is_in_no_steady_state(site: Site) -> None:
    site.prober.lose = lambda seconds: 1
    verified = site.verify(experiment(working))
    assert verified.conclusions[0].outcome is Outcome.NOT_RUN
    assert "1 lost" in verified.conclusions[0].reason


def test_the_steady_state_is_waited_for(site: Site) -> None:
    site.cluster.remove_pod("web-dev", "web-1-b")
    assert site.verify(experiment(working)).holds


def test_a_spent_budget_ends_the_run_at_once_and_undoes_what_was_done(site: Site) -> None:
    undone: list[str] = []
    ended: list[float] = []

    def losing(trial: Trial) -> list[Measurement]:
        trial.afterwards("it", lambda: undone.append("it"))
        with trial.requests() as sent:
            site.prober.lose = lambda seconds: max(0, int(seconds) - 2)
            began = site.clock.time
            try:
                trial.rest(1000)
            finally:
                ended.append(site.clock.time - began)
        return lost(sent.receipt, at_most=None)

    verified = site.verify(experiment(losing, "one"), experiment(working, "two"), budget=5)

    assert ended[0] < 10
    assert undone == ["it"]
    assert [each.outcome for each in verified.conclusions] == [Outcome.BROKEN, Outcome.NOT_RUN]
    assert "6 requests were lost, 5 are allowed" in verified.conclusions[0].reason
    assert verified.ended_early and not verified.holds
    assert verified.lost == 6


def test_requests_lost_in_several_experiments_count_together(site: Site) -> None:
    def losing(trial: Trial) -> list[Measurement]:
        with trial.requests() as sent:
            site.prober.lose = lambda seconds: 2
            trial.rest(1)
        site.prober.lose = lambda seconds: 0
        return lost(sent.receipt, at_most=None)

    verified = site.verify(*(experiment(losing, name) for name in ("one", "two", "three")), budget=5)
    assert [each.outcome for each in verified.conclusions] == [Outcome.HOLDS, Outcome.HOLDS, Outcome.BROKEN]


def test_an_interrupt_undoes_what_was_done_before_it_is_raised(site: Site) -> None:
    undone: list[str] = []

    def interrupted(trial: Trial) -> list[Measurement]:
        trial.afterwards("first", lambda: undone.append("first"))
        trial.afterwards("second", lambda: undone.append("second"))
        with trial.requests():
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("not interrupted")

    interrupts.install()
    with pytest.raises(Interrupted):
        site.verify(experiment(interrupted), experiment(working))

    assert undone == ["second", "first"]
    assert site.prober.open == 0
    assert site.bench.reporter.steps[-1] == "compare live objects"


def test_what_cannot_be_undone_is_told_and_the_rest_is_undone_all_the_same(site: Site) -> None:
    undone: list[str] = []

    def failing() -> None:
        raise EnvironmentUnfit("the node is away")

    def disturbing(trial: Trial) -> list[Measurement]:
        trial.afterwards("replicas", lambda: undone.append("replicas"))
        trial.afterwards("stopped processes", failing)
        return working(trial)

    verified = site.verify(experiment(disturbing))

    assert undone == ["replicas"]
    assert verified.left == ("stopped processes: the node is away",)
    assert verified.conclusions[0].outcome is Outcome.HOLDS
    assert not verified.holds


def test_nothing_more_is_tried_on_a_release_that_could_not_be_put_back(site: Site) -> None:
    def breaking(trial: Trial) -> list[Measurement]:
        upgrade(trial, "try", {**trial.home.helm.values("web", "web-dev", 1), "text": "b"})
        list(trial.undo())
        return working(trial)

    verified = site.verify(experiment(breaking, "one"), experiment(working, "two"))

    assert [each.outcome for each in verified.conclusions] == [Outcome.HOLDS, Outcome.NOT_RUN]
    assert verified.conclusions[1].reason == "no steady state: revision 2 is failed"
    assert verified.left == ("revision 2, which is not proven good",)
    assert not verified.holds


def test_a_field_that_an_experiment_left_is_repaired(site: Site) -> None:
    def scaling(trial: Trial) -> list[Measurement]:
        site.bench.world.edit("deployment", "web", "spec", {"replicas": 9})
        return working(trial)

    verified = site.verify(experiment(scaling))
    assert site.bench.world.live("deployment", "web")["spec"]["replicas"] == 2
    assert verified.holds


def test_a_revision_made_by_an_experiment_is_taken_back_and_never_counts_as_good(site: Site) -> None:
    def updating(trial: Trial) -> list[Measurement]:
        upgrade(trial, "try", {**trial.home.helm.values("web", "web-dev", 1), "text": "b"})
        assert site.verdicts[0] == (2, Verdict.FAILED)
        return working(trial)

    verified = site.verify(experiment(updating))

    assert verified.holds
    assert site.verdicts == [(3, Verdict.GOOD), (2, Verdict.FAILED), (1, Verdict.GOOD)]
    assert verified.before.number == 1 and verified.after.number == 3 and verified.after.content == 1
    assert site.bench.world.live("configmap", "web")["data"] == {"text": "a"}


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_remove(site: Site) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing is undone."""

    def dying(trial: Trial) -> list[Measurement]:
        trial.hands.machines.freeze(site.cluster.living[0], "web")
        trial.hands.autoscalers.create("web-dev", "web", "web", 2, 4, 30)
        upgrade(trial, "try", {**trial.home.helm.values("web", "web-dev", 1), "text": "b"})
        site.bench.world.edit("deployment", "web", "spec", {"replicas": 9})
        list(trial.undo())  # forgotten
        raise Killed

    with pytest.raises(Killed):
        site.verify(experiment(dying))
    site.hands.errands.left = 1
    site.bench.world.edit("deployment", "web", "spec", {"replicas": 9})

    verified = site.verify(experiment(working))

    assert verified.holds
    assert verified.before.content == 1
    assert not site.hands.machines.frozen and not site.hands.autoscalers.made
    assert site.bench.world.live("configmap", "web")["data"] == {"text": "a"}
    assert site.bench.world.live("deployment", "web")["spec"]["replicas"] == 2


def test_from_its_very_birth_a_revision_of_an_experiment_is_none_to_return_to(site: Site) -> None:
    born: list[tuple[int, Verdict]] = []
    make = site.bench.helm.upgrade

    def making(*given: Any) -> int:
        number = make(*given)
        born.append(site.verdicts[0])  # here its maker may be killed
        return number

    def updating(trial: Trial) -> list[Measurement]:
        site.bench.helm.upgrade = making  # type: ignore[method-assign]
        upgrade(trial, "try", {**trial.home.helm.values("web", "web-dev", 1), "text": "b"})
        return working(trial)

    site.verify(experiment(updating))
    assert born == [(2, Verdict.FAILED)]


def test_a_run_that_was_killed_within_its_upgrade_is_settled_by_the_next_one(site: Site) -> None:
    def dying(trial: Trial) -> list[Measurement]:
        upgrade(trial, "try", {**trial.home.helm.values("web", "web-dev", 1), "text": "b"})
        site.bench.helm.strand("web", "web-dev", "pending-upgrade")
        list(trial.undo())
        raise SystemExit

    with pytest.raises(SystemExit):
        site.verify(experiment(dying))
    assert site.verify(experiment(working)).holds
    assert site.verdicts[0] == (3, Verdict.GOOD)


def test_fields_changed_by_somebody_else_are_refused_and_left(site: Site) -> None:
    site.bench.world.edit("deployment", "web", "spec", {"replicas": 9})
    with pytest.raises(Refused, match="1 live field differs") as caught:
        site.verify(experiment(working))
    assert "drift dev --fix" in caught.value.hint
    assert site.bench.world.live("deployment", "web")["spec"]["replicas"] == 9


def test_only_what_is_installed_and_proven_good_is_experimented_with(site: Site) -> None:
    site.bench.helm.uninstall("web", "web-dev")
    with pytest.raises(Refused, match="not installed"):
        site.verify(experiment(working))


def test_a_protected_environment_needs_a_budget_and_consent(site: Site) -> None:
    bench = site.bench
    deploy(bench.project, bench.target("prod"), bench.workshop, YES)
    with pytest.raises(Declined, match="needs a budget") as caught:
        site.verify(experiment(working), environment="prod")
    assert caught.value.exit_code == 4
    with pytest.raises(Declined, match="needs --yes"):
        site.verify(experiment(working), environment="prod", consent=Consent(yes=False, ask=None), budget=5)
    assert not any(isinstance(event, Note) and "interrupted" in event.text for event in bench.reporter.events)
    assert bench.leases.read("web-prod", "releaser-web") is None or site.prober.open == 0


def test_an_answer_that_the_cluster_does_not_give_ends_the_run_after_undoing(site: Site) -> None:
    undone: list[str] = []

    def unanswered(trial: Trial) -> list[Measurement]:
        trial.afterwards("it", lambda: undone.append("it"))
        raise EnvironmentUnfit("the API server is away")

    with pytest.raises(EnvironmentUnfit, match="away"):
        site.verify(experiment(unanswered))
    assert undone == ["it"]
