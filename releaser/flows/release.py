"""What deploying and rolling back share: preflight, following a rollout, testing, recording the verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass

from releaser.errors import EnvironmentUnfit, NothingToRollBackTo, ReleaseNotRestored, ReleasePending
from releaser.flows.ports import Cluster, Helm, History, Records
from releaser.ledger import newest_good, revisions, verdict_label
from releaser.models import (
    Cause,
    Phase,
    PodProblem,
    PodsChanged,
    Reporter,
    Revision,
    Rollout,
    Verdict,
)
from releaser.rollout import judge
from releaser.settings import Environment
from releaser.steps import step


@dataclass(frozen=True)
class Target:
    """One release in one environment, and the hands to work on it."""

    release: str
    environment: Environment
    helm: Helm
    cluster: Cluster
    reporter: Reporter

    @property
    def namespace(self) -> str:
        return self.environment.namespace


def history(release: str, namespace: str, helm: History, records: Records) -> tuple[Revision, ...]:
    """All revisions, newest first, with who, commit, image and verdict."""
    known = helm.history(release, namespace)
    return revisions(known, records.revision_labels(namespace, release) if known else {})


def require_no_pending(target: Target, revisions: tuple[Revision, ...]) -> None:
    if revisions and revisions[0].pending:
        raise ReleasePending(
            f"{target.release} in {target.namespace} is {revisions[0].status} since "
            f"{revisions[0].updated:%Y-%m-%d %H:%M:%S} UTC: another operation runs, or was interrupted",
            hint=f"wait for it; if nobody works on it: releaser rollback {target.environment.name}",
        )


def prove(target: Target, number: int) -> PodProblem | None:
    """Follow the rollout of a revision and run its tests. None: proven, and recorded as good. Else: what failed it,
    and recorded as failed."""
    problem = follow(target) or _test(target)
    verdict = Verdict.FAILED if problem else Verdict.GOOD
    target.cluster.label_revision(target.namespace, target.release, number, verdict_label(number, verdict))
    return problem


def follow(target: Target) -> PodProblem | None:
    """Show the rollout until it is complete or surely failed."""
    started = time.monotonic()
    with step(target.reporter, "roll out") as running:
        rollout = Rollout(Phase.PROGRESSING, "waiting for the Deployment")
        deadline = target.environment.deadline_seconds
        for snapshot in target.cluster.snapshots(target.namespace, target.release, deadline):
            rollout = judge(snapshot)
            target.reporter.emit(PodsChanged(rollout.summary, rollout.pods, time.monotonic() - started))
            running.detail = rollout.summary
            if rollout.phase is not Phase.PROGRESSING:
                break
        if rollout.phase is Phase.COMPLETE:
            return None
        problem = (
            rollout.problems[0]
            if rollout.problems
            else PodProblem(Cause.TIMEOUT, target.release, f"not complete after {deadline:.0f} s: {rollout.summary}")
        )
        running.detail = f"{problem.cause}: {problem.where}"
        running.failed = True
    return problem


def _test(target: Target) -> PodProblem | None:
    with step(target.reporter, "test") as running:
        run = target.helm.test(target.release, target.namespace, target.environment.deadline_seconds)
        running.detail = "passed" if run.passed else "failed"
        running.failed = not run.passed
    if run.passed:
        return None
    last = next((line for line in reversed(run.log.splitlines()) if line.strip()), "")
    return PodProblem(Cause.TEST_FAILED, f"helm test {target.release}", last, log=run.log)


def revision(target: Target, number: int) -> Revision:
    """One revision as it is recorded now."""
    for each in history(target.release, target.namespace, target.helm, target.cluster):
        if each.number == number:
            return each
    raise NothingToRollBackTo(
        f"{target.release} in {target.namespace} has no revision {number}",
        hint=f"releaser history {target.environment.name} shows those that there are",
    )


def good_before(target: Target, current: Revision) -> Revision:
    """The newest good revision that differs from `current`. Raises NothingToRollBackTo."""
    good = newest_good(history(target.release, target.namespace, target.helm, target.cluster), current)
    if good is None:
        raise NothingToRollBackTo(
            f"no revision of {target.release} before {current.number} was proven good and differs from it",
            hint=f"releaser history {target.environment.name}; name a revision to return to it all the same",
        )
    return good


def return_to(target: Target, good: Revision) -> Revision:
    """Roll back to a revision and prove what came of it. Raises ReleaseNotRestored."""
    with step(target.reporter, f"roll back to {good.number}"):
        target.helm.rollback(target.release, target.namespace, good.number)
        number = target.helm.history(target.release, target.namespace)[-1].number
    problem = prove(target, number)
    if problem:
        raise ReleaseNotRestored(
            f"revision {good.number}, back as revision {number}, failed: {problem.cause}, {problem.where}",
            detail=problem.message,
            hint=f"releaser status {target.environment.name}; releaser logs {target.environment.name}",
        )
    return revision(target, number)


def telling_log(target: Target, problem: PodProblem) -> str:
    """The last lines that the failed container wrote, of its previous run if it was restarted."""
    if problem.log or not (problem.pod and problem.container):
        return problem.log
    try:
        for previous in (True, False):
            if text := target.cluster.log(
                target.namespace, problem.pod, problem.container, previous=previous, lines=20
            ):
                return text
    except EnvironmentUnfit:  # evidence is welcome, but a rollback doesn't wait for it
        return ""
    return ""
