"""What deploying and rolling back share: settling what was left behind, following a rollout, testing, comparing,
recording the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from releaser.errors import NothingToRollBackTo, Refused, ReleaseNotRestored, ReleasePending
from releaser.flows.lock import Claim, lock
from releaser.flows.ports import History, Probing, Records
from releaser.flows.restore import prove_state, repair
from releaser.flows.target import Target
from releaser.incident import telling_line
from releaser.ledger import entry_text, newest_good, revisions, verdict_label, who
from releaser.models import (
    Cause,
    Image,
    LedgerEntry,
    Note,
    Phase,
    PodProblem,
    PodsChanged,
    Revision,
    Rollout,
    TestRun,
    Verdict,
)
from releaser.rollout import Judge
from releaser.steps import step

# So long a look takes at most: the first snapshots may come before everything was listed.
_LOOK_SECONDS = 5.0


@contextmanager
def locked(target: Target, verb: str, *, wait: bool) -> Iterator[tuple[Target, bool]]:
    """Hold the release's lock: the target to work with, which asks for the lock before each change; and whether the
    last holder died over its work."""
    claim = Claim(target.namespace, target.release, target.source, verb)
    with lock(claim, target.leases, target.reporter, wait=wait) as held:
        yield replace(target, still_ours=held.require_held), held.taken_over_from is not None


def history(release: str, namespace: str, helm: History, records: Records) -> tuple[Revision, ...]:
    """All revisions, newest first, with who, commit, image, verdict and what the ledger says."""
    known = helm.history(release, namespace)
    if not known:
        return ()
    return revisions(known, records.revision_labels(namespace, release), records.entries(namespace, release))


def revisions_of(target: Target) -> tuple[Revision, ...]:
    return history(target.release, target.namespace, target.helm, target.cluster)


def revision(target: Target, number: int) -> Revision:
    """One revision as it is recorded now."""
    for each in revisions_of(target):
        if each.number == number:
            return each
    raise NothingToRollBackTo(
        f"{target.release} in {target.namespace} has no revision {number}",
        hint=f"releaser history {target.environment.name} shows those that there are",
    )


def require_no_pending(target: Target, revisions: tuple[Revision, ...]) -> None:
    """For commands that only look, and can't settle what was left behind."""
    if revisions and revisions[0].pending:
        raise ReleasePending(
            f"{target.release} in {target.namespace} is {revisions[0].status} since "
            f"{revisions[0].updated:%Y-%m-%d %H:%M:%S} UTC: another operation runs, or was interrupted",
            hint=f"wait for it; if nobody works on it, `releaser rollback {target.environment.name}` settles it",
        )


def installed(target: Target) -> tuple[Revision, ...]:
    """All revisions, for commands that only look. Raises Refused when there is none, ReleasePending."""
    revisions = revisions_of(target)
    if not revisions:
        raise not_installed(target)
    require_no_pending(target, revisions)
    return revisions


def not_installed(target: Target) -> Refused:
    return Refused(
        f"{target.release} is not installed in {target.namespace}",
        hint=f"releaser deploy {target.environment.name}",
    )


# -- proof -------------------------------------------------------------------------------------------------------------


def prove(target: Target, image: Image | None = None, probing: Probing | None = None) -> tuple[PodProblem, ...]:
    """Follow the rollout of what was just applied, and run its tests. Empty: proven. Else what failed it."""
    return follow(target, image, probing) or _test(target) or lost_requests(target, probing)


def record(target: Target, number: int, verdict: Verdict, entry: LedgerEntry) -> None:
    """The entry first: a revision that counts as good has everything that is known of it."""
    target.still_ours()
    known = [each.number for each in target.helm.history(target.release, target.namespace)]
    target.cluster.enter(target.namespace, target.release, number, entry_text(entry), known)
    target.cluster.label_revision(target.namespace, target.release, number, verdict_label(number, verdict))


def follow(target: Target, image: Image | None = None, probing: Probing | None = None) -> tuple[PodProblem, ...]:
    """Show the rollout until it is complete (nothing is returned) or surely failed."""
    started = time.monotonic()
    judge = Judge(image)
    with step(target.reporter, "roll out") as running:
        rollout = Rollout(Phase.PROGRESSING, "waiting for the Deployment")
        deadline = target.environment.deadline_seconds
        problems: tuple[PodProblem, ...] = ()
        replaced = _Replaced(target)
        for snapshot in target.cluster.snapshots(target.namespace, target.release, deadline):
            target.still_ours()
            rollout = judge.judge(snapshot)
            target.reporter.emit(PodsChanged(rollout.summary, rollout.pods, time.monotonic() - started))
            running.detail = rollout.summary
            if rollout.phase is Phase.FAILED or (rollout.phase is Phase.COMPLETE and replaced.done()):
                break
            if problems := lost_requests(target, probing):
                break
        if rollout.phase is Phase.COMPLETE:
            return ()
        problems = (
            rollout.problems
            or problems
            or (PodProblem(Cause.TIMEOUT, target.release, f"not complete after {deadline:.0f} s: {rollout.summary}"),)
        )
        running.detail = f"{problems[0].cause}: {problems[0].where}"
        running.failed = True
    return problems


class _Replaced:
    """Pods into which `releaser dev` wrote code run another thing than their image: once all else is complete, they are
    removed, and as many others have to be ready."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._wanted = 0
        self._removed: set[str] = set()

    def done(self) -> bool:
        """Asked anew, since a rollout's news may be older than its pods."""
        target = self._target
        pods = [pod for pod in target.cluster.pods(target.namespace, target.release) if not pod.terminating]
        edited = {pod.name for pod in pods if pod.edited}
        self._wanted = max(self._wanted, len(pods)) if edited else self._wanted
        for name in sorted(edited - self._removed):
            target.reporter.emit(Note(f"pod {name} has code that its image hasn't got (releaser dev): it is replaced"))
            target.cluster.remove_pod(target.namespace, name)
        self._removed |= edited
        return not edited and sum(pod.ready for pod in pods) >= self._wanted


def _test(target: Target) -> tuple[PodProblem, ...]:
    """Pods that leave answer until each node has heard of it, so a failure that may be theirs is tried without them."""
    leaving = {pod.name for pod in target.cluster.pods(target.namespace, target.release) if pod.terminating}
    run = _tested(target)
    if not run.passed and leaving:
        _await_gone(target, leaving, telling_line(run.log))
        run = _tested(target)
    if run.passed:
        return ()
    return (PodProblem(Cause.TEST_FAILED, f"helm test {target.release}", telling_line(run.log), log=run.log),)


def _tested(target: Target) -> TestRun:
    target.still_ours()
    with step(target.reporter, "test") as running:
        run = target.helm.test(target.release, target.namespace, target.environment.deadline_seconds)
        running.detail = "passed" if run.passed else "failed"
        running.failed = not run.passed
    return run


def _await_gone(target: Target, names: set[str], failure: str) -> None:
    """Each pod has its grace period; what stays longer than the deadline isn't waited for."""
    with step(target.reporter, "wait for old pods") as running:
        running.progress(f"{failure}: a pod that leaves may have said so, the test is repeated without them")
        for _ in target.cluster.snapshots(target.namespace, target.release, target.environment.deadline_seconds):
            # asked anew, since a snapshot's news may be older
            left = names & {pod.name for pod in target.cluster.pods(target.namespace, target.release)}
            running.detail = f"{len(left)} left" if left else "gone"
            if not left:
                return


def lost_requests(target: Target, probing: Probing | None) -> tuple[PodProblem, ...]:
    """More requests were lost than the environment's budget allows."""
    budget = target.environment.probe.failure_budget
    if probing is None or budget is None or probing.receipt.failed <= budget:
        return ()
    receipt = probing.receipt
    kinds = ", ".join(f"{count} {kind}" for kind, count in receipt.errors)
    message = f"{receipt.failed} of {receipt.sent} requests were lost ({kinds}), {budget} allowed"
    return (PodProblem(Cause.REQUESTS_LOST, f"service {target.release}", message),)


# -- going back --------------------------------------------------------------------------------------------------------


def good_before(target: Target, current: Revision) -> Revision:
    """The newest good revision that differs from `current`. Raises NothingToRollBackTo."""
    good = newest_good(revisions_of(target), current)
    if good is None:
        raise NothingToRollBackTo(
            f"no revision of {target.release} before {current.number} was proven good and differs from it",
            hint=f"releaser history {target.environment.name}; name a revision to return to it all the same",
        )
    return good


def return_to(target: Target, good: Revision, entry: LedgerEntry) -> Revision:
    """Roll back to a revision, make the live objects what its manifest says, prove and record that.

    Raises ReleaseNotRestored, which names the fields that differ or what failed.
    """
    started = time.monotonic()
    left = target.helm.history(target.release, target.namespace)[-1].number
    number = _roll_back(target, good)
    _make_identical(target, good, number, left)
    problems = prove(target)
    entry = LedgerEntry(
        verb=entry.verb,
        duration_seconds=round(time.monotonic() - started, 1),
        image_id=good.entry.image_id,
        image=good.entry.image,
        cause=problems[0].cause if problems else "",
        receipt=entry.receipt,
    )
    record(target, number, Verdict.FAILED if problems else Verdict.GOOD, entry)
    if problems:
        raise ReleaseNotRestored(
            f"revision {good.number}, back as revision {number}, failed: {problems[0].cause}, {problems[0].where}",
            detail=problems[0].message,
            hint=f"releaser status {target.environment.name}; releaser logs {target.environment.name}",
            cause=problems[0].cause,
        )
    return revision(target, number)


def _roll_back(target: Target, good: Revision) -> int:
    """The new revision's number. Its record says who went back, not who made what runs again."""
    target.still_ours()
    with step(target.reporter, f"roll back to {good.number}") as running:
        target.helm.rollback(target.release, target.namespace, good.number)
        number = target.helm.history(target.release, target.namespace)[-1].number
        target.cluster.label_revision(target.namespace, target.release, number, who(target.source))
        running.detail = f"revision {number}"
    return number


def _make_identical(target: Target, good: Revision, number: int, left: int) -> None:
    """Helm may leave behind what the revision that was left brought (helm/helm#13346): compare each field, repair."""
    with step(target.reporter, "compare live objects") as running:
        manifest = target.helm.manifest(target.release, target.namespace, number)
        before = target.helm.manifest(target.release, target.namespace, left)
        differing = prove_state(target, target.live, manifest, before)
        if differing:
            running.progress(f"{len(differing)} fields differ from revision {good.number}: repairing")
            target.still_ours()
            rest = repair(target, target.live, manifest, before)
            running.detail = f"{len(differing)} fields repaired" if not rest else f"{len(rest)} fields differ"
        else:
            rest, running.detail = (), f"identical to revision {good.number}"
        running.failed = bool(rest)
    if rest:
        raise ReleaseNotRestored(
            f"revision {good.number} is back as revision {number}, but {len(rest)} live fields differ from it",
            detail="\n".join(f"{each.object_ref} {each.address}".strip() for each in rest),
            hint=f"releaser drift {target.environment.name}; then releaser drift {target.environment.name} --fix",
            cause=Cause.NOT_IDENTICAL,
        )


# -- what others left --------------------------------------------------------------------------------------------------


def settle(target: Target, *, orphaned: bool) -> tuple[Revision, ...]:
    """The history, once nothing is pending any more.

    `orphaned`: its owner is known to be dead. Otherwise a pending release may belong to somebody who works with plain
    Helm, and is waited for.
    """
    found = revisions_of(target)
    if found and found[0].pending and not orphaned:
        found = _awaited(target, found[0])
    if found and found[0].pending:
        found = _repaired(target, found)
    if found and found[0].verdict is Verdict.UNKNOWN:
        found = _adopted(target, found[0])
    return found


def _awaited(target: Target, pending: Revision) -> tuple[Revision, ...]:
    since = f"{pending.updated:%H:%M:%S} UTC"
    with step(target.reporter, "wait for Helm") as running:
        running.progress(f"revision {pending.number} is {pending.status} since {since}, and nobody holds the lock")
        settled = target.cluster.await_settled(
            target.namespace, target.release, pending.number, target.environment.deadline_seconds
        )
        running.detail = "it ended" if settled else f"revision {pending.number} was left {pending.status}"
    return revisions_of(target)


def _repaired(target: Target, found: tuple[Revision, ...]) -> tuple[Revision, ...]:
    """A killed client left the newest revision pending: back to the newest good one, or away with a first install."""
    pending, *others = found
    good = next((each for each in others if each.verdict is Verdict.GOOD), None)
    good = good or next((each for each in others if each.status in ("deployed", "superseded")), None)
    target.reporter.emit(Note(f"revision {pending.number} was left {pending.status} by an interrupted operation"))
    if good is None:
        remove(target)
        return ()
    return_to(target, good, LedgerEntry(verb="repair"))
    return revisions_of(target)


def _adopted(target: Target, newest: Revision) -> tuple[Revision, ...]:
    """A running revision that nobody judged (made by plain Helm, or its releaser died) is proven now, so that there is
    something to come back to. Whatever fails here fails nothing: a new revision is on its way."""
    if newest.status == "deployed" and _stands(target):
        target.reporter.emit(Note(f"revision {newest.number} was never judged: testing it, to be able to return to it"))
        if not _test(target):
            record(target, newest.number, Verdict.GOOD, LedgerEntry(verb="adopt"))
    return revisions_of(target)


def _stands(target: Target) -> bool:
    """Whether what runs is completely rolled out now. It isn't waited for."""
    judge = Judge()
    for snapshot in target.cluster.snapshots(target.namespace, target.release, _LOOK_SECONDS):
        if (phase := judge.judge(snapshot).phase) is not Phase.PROGRESSING:
            return phase is Phase.COMPLETE
    return False


def remove(target: Target) -> None:
    """Take a release away with its history and its ledger."""
    target.still_ours()
    with step(target.reporter, "remove release"):
        target.helm.uninstall(target.release, target.namespace)
        target.cluster.close_ledger(target.namespace, target.release)
