"""`releaser verify ENV`: experiments on the running service, each between two steady states, each undone afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from releaser.clock import Clock, SystemClock
from releaser.errors import Declined, Refused, ReleaserError
from releaser.flows.experiments.hands import Hands
from releaser.flows.experiments.isolation import sweep_elsewhere
from releaser.flows.experiments.recording import Budget, BudgetExceeded
from releaser.flows.experiments.revisions import experiment_of
from releaser.flows.experiments.steady import require_steady
from releaser.flows.experiments.trial import Experiment, NoSteadyState, Skipped, Trial
from releaser.flows.guard import Consent, require_consent
from releaser.flows.release import locked, not_installed, return_to, revisions_of, settle
from releaser.flows.restore import prove_state, released, repair
from releaser.flows.target import Target
from releaser.interrupts import deferred, interruptible
from releaser.ledger import newest_good
from releaser.models import LedgerEntry, Note, Revision, Verdict
from releaser.settings import Environment, Project
from releaser.steps import Step, step
from releaser.verification import (
    Conclusion,
    Measurement,
    Outcome,
    Timeline,
    Verified,
    all_hold,
    fit,
    headline,
    outcome_of,
    why_broken,
)
from releaser.workload import workload

# What a step's line has room for in 80 columns.
_DETAIL_WIDTH = 44


@dataclass(frozen=True)
class Order:
    """How many requests may be lost over the whole run (None: any number), and whether another's lock is waited for."""

    budget: int | None = None
    wait: bool = True


def verify(
    project: Project,
    target: Target,
    hands: Hands,
    experiments: Sequence[Experiment],
    consent: Consent,
    order: Order = Order(),
    clock: Clock | None = None,
) -> Verified:
    """Raises before anything is touched: Refused (nothing installed, not proven good, changed by hand, declined). An
    interrupt is raised only after what was under way has been undone."""
    began, started = datetime.now(UTC), time.monotonic()
    environment = target.environment
    _require_budget(environment, order)
    require_consent(environment, f"verify {environment.name}", consent)
    if not revisions_of(target):
        raise not_installed(target)
    with locked(target, "verify", wait=order.wait) as (target, orphaned):
        run = _Run(project, target, hands, Budget(order.budget), clock or SystemClock(), orphaned=orphaned)
        with deferred(run.say_heard):
            try:
                for experiment in experiments:
                    run.conclude(experiment)
            finally:
                run.leave_as_found()
        revisions = revisions_of(target)
    conclusions, left = tuple(run.conclusions), tuple(run.left)
    return Verified(
        environment=environment.name,
        release=target.release,
        namespace=target.namespace,
        context=target.cluster.context,
        kubernetes=target.cluster.version().lstrip("v"),
        before=run.before,
        after=revisions[0],
        holds=all_hold(conclusions, left),
        sent=sum(each.receipt.sent for each in conclusions if each.receipt),
        lost=run.budget.lost,
        conclusions=conclusions,
        began=began,
        elapsed_seconds=time.monotonic() - started,
        budget=order.budget,
        left=left,
        ended_early=run.ended_early,
    )


def _require_budget(environment: Environment, order: Order) -> None:
    if environment.protected and order.budget is None:
        raise Declined(
            f"{environment.name} is protected: verify {environment.name} needs a budget of requests that it may lose",
            hint=f"releaser verify {environment.name} --budget N; the run ends as soon as more than N are lost",
        )


class _Run:
    """All that one run has in its hands: it begins by removing what a killed one left."""

    def __init__(
        self, project: Project, target: Target, hands: Hands, budget: Budget, clock: Clock, *, orphaned: bool
    ) -> None:
        self._project, self._target, self._hands = project, target, hands
        self.budget, self._clock = budget, clock
        self.conclusions: list[Conclusion] = []
        self.left: list[str] = []
        self.ended_early = ""
        self._clear()
        self.before = self._standing(orphaned)

    # -- before --------------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """What a run that was killed has left: its pods, its HPA, processes that stand still, its revision."""
        target, hands = self._target, self._hands
        namespace, release = target.namespace, target.release
        with step(target.reporter, "look for leftovers") as running:
            found = {
                "pods": hands.errands.sweep(namespace, release) + sweep_elsewhere(hands, namespace, release),
                "cordons": hands.nodes.sweep(namespace, release),
                "autoscalers": hands.autoscalers.sweep(namespace, release),
                "stopped processes": 0 if hands.machines.unreachable() else self._thaw(),
            }
            told = [f"{count} {what}" for what, count in found.items() if count]
            revisions = revisions_of(target)
            name = experiment_of(target, revisions[0])
            if name:
                told.append(f"revision {revisions[0].number} of {name}")
            running.detail = f"removed: {', '.join(told)}" if told else "none"
        good = newest_good(revisions, revisions[0]) if name else None
        if good is not None:
            return_to(target, good, LedgerEntry(verb="verify"))
        elif found["autoscalers"]:  # it may have left another number of pods
            target.still_ours()
            manifest = target.helm.manifest(release, namespace, revisions[0].number)
            repair(target, target.live, manifest)

    def _thaw(self) -> int:
        target = self._target
        return self._hands.machines.thaw(target.cluster.pods(target.namespace, target.release))

    def _standing(self, orphaned: bool) -> Revision:
        """The newest revision, which must be good, and be what lives."""
        target = self._target
        revisions = settle(target, orphaned=orphaned)
        name = target.environment.name
        if not revisions or revisions[0].verdict is not Verdict.GOOD:
            said = f"revision {revisions[0].number} is {revisions[0].verdict}" if revisions else "nothing is installed"
            raise Refused(
                f"{target.release} in {target.namespace}: {said}; only a revision proven good is experimented with",
                hint=f"releaser deploy {name}, or releaser rollback {name}",
            )
        manifest = target.helm.manifest(target.release, target.namespace, revisions[0].number)
        if differing := prove_state(target, target.live, manifest):
            many = "1 live field differs" if len(differing) == 1 else f"{len(differing)} live fields differ"
            raise Refused(
                f"{many} from revision {revisions[0].number}: no experiment could tell what it did itself",
                detail="\n".join(f"{each.object_ref} {each.address}".strip() for each in differing[:5]),
                hint=f"releaser drift {name} --fix",
            )
        return revisions[0]

    # -- one experiment ------------------------------------------------------------------------------------------------

    def conclude(self, experiment: Experiment) -> None:
        """Try it, undo what it did, and keep what came of it. Nothing is tried once the run has ended early."""
        began, started = datetime.now(UTC), time.monotonic()
        promise = experiment.promise
        if self.ended_early:
            never = Conclusion(promise, Outcome.NOT_RUN, (), Timeline(), None, began, 0.0, self.ended_early)
            self.conclusions.append(never)
            return
        with step(self._target.reporter, promise.name) as running:
            trial = self._trial(running)
            measurements: Sequence[Measurement] = ()
            outcome, reason = Outcome.NOT_RUN, ""
            try:
                with interruptible(), trial.recording.watching():
                    require_steady(trial)
                    measurements = experiment.conduct(trial)
                outcome, reason = outcome_of(measurements), why_broken(measurements)
            except Skipped as exc:
                outcome, reason = Outcome.SKIPPED, str(exc)
            except NoSteadyState as exc:
                reason = f"no steady state: {exc}"
            except BudgetExceeded as exc:
                outcome, reason = Outcome.BROKEN, f"the budget is spent: {exc}"
                self.ended_early = str(exc)
            finally:
                self._undo(trial)
            conclusion = Conclusion(
                promise=promise,
                outcome=outcome,
                measurements=tuple(measurements),
                timeline=trial.recording.timeline,
                receipt=trial.receipt,
                began=began,
                elapsed_seconds=time.monotonic() - started,
                reason=reason,
            )
            self.conclusions.append(conclusion)
            running.detail = fit(f"{outcome}: {headline(conclusion)}", _DETAIL_WIDTH)
            running.failed = outcome in (Outcome.BROKEN, Outcome.NOT_RUN)

    def _trial(self, running: Step) -> Trial:
        target = self._target

        def may_go_on() -> None:
            target.still_ours()
            self.budget.require()

        standing = revisions_of(target)[0]
        manifest = target.helm.manifest(target.release, target.namespace, standing.number)
        return Trial(
            project=self._project,
            home=target,
            target=replace(target, still_ours=may_go_on),
            standing=standing,
            manifest=manifest,
            workload=workload(released(target, manifest)),
            hands=self._hands,
            budget=self.budget,
            running=running,
            clock=self._clock,
        )

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _undo(self, trial: Trial) -> None:
        for what, undo in trial.undo():
            try:
                undo()
            except ReleaserError as exc:
                self.left.append(f"{what}: {exc.message}")
                self._target.reporter.emit(Note(f"{what} could not be undone: {exc.message}", warning=True))

    def leave_as_found(self) -> None:
        """Compare every live field with the release, and repair what differs."""
        target = self._target
        with step(target.reporter, "compare live objects") as running:
            try:
                newest = revisions_of(target)[0]
                manifest = target.helm.manifest(target.release, target.namespace, newest.number)
                differing = prove_state(target, target.live, manifest)
                if differing:
                    target.still_ours()
                rest = repair(target, target.live, manifest) if differing else ()
            except ReleaserError as exc:
                self.left.append(f"the live state could not be compared: {exc.message}")
                running.failed = True
                return
            self.left += [f"{each.object_ref} {each.address}".strip() for each in rest]
            if newest.verdict is not Verdict.GOOD:
                self.left.append(f"revision {newest.number}, which is not proven good")
            running.detail = (
                f"{len(differing)} fields repaired" if differing else f"identical to revision {newest.number}"
            )
            running.failed = bool(self.left)

    def say_heard(self) -> None:
        self._target.reporter.emit(Note("interrupted: undoing what is under way first", warning=True))
