"""`releaser rollback ENV [REV]`: to REV, or to the newest revision proven good; proven again afterwards."""

from __future__ import annotations

import time

from releaser.errors import NothingToRollBackTo, Refused
from releaser.flows.guard import Consent, require_consent
from releaser.flows.release import good_before, locked, return_to, revision, revisions_of, settle
from releaser.flows.target import Target
from releaser.models import LedgerEntry, Note, Revision, RolledBack, Verdict
from releaser.steps import step


def rollback(target: Target, number: int | None, consent: Consent, *, wait: bool = True) -> RolledBack:
    """Also the way out of a release that an interrupted operation left pending."""
    started = time.monotonic()
    name = target.environment.name
    current, goal = _choose(target, number)
    aim = f"rollback {name} to revision {goal.number}" if goal else f"settle revision {current.number} of {name}"
    require_consent(target.environment, aim, consent)
    with locked(target, "rollback", wait=wait) as (target, orphaned):
        # while we waited, somebody may have released
        current, goal = _choose(target, number)
        after = _settled(target, current, orphaned) if current.pending else None
        if goal is not None and (after is None or after.content != goal.content):
            after = return_to(target, goal, LedgerEntry(verb="rollback"))
        assert after is not None
        goal = goal or next((each for each in revisions_of(target) if each.number == after.content), after)
    url = target.cluster.service_url(target.namespace, target.release)
    return RolledBack(name, current, goal, after, url, time.monotonic() - started)


def _settled(target: Target, pending: Revision, orphaned: bool) -> Revision:
    """What runs once the pending revision is settled, which brings the last good one back."""
    found = settle(target, orphaned=orphaned)
    if not found:
        raise NothingToRollBackTo(
            f"revision {pending.number} of {target.release} was left {pending.status} by a first install, and removed",
            hint=f"releaser deploy {target.environment.name}",
        )
    return found[0]


def _choose(target: Target, number: int | None) -> tuple[Revision, Revision | None]:
    """What runs, and where to go; None when what was left pending is to be settled, which finds its way itself."""
    with step(target.reporter, "choose revision") as running:
        revisions = revisions_of(target)
        if not revisions:
            raise NothingToRollBackTo(
                f"{target.release} is not installed in {target.namespace}",
                hint=f"releaser deploy {target.environment.name}",
            )
        current = revisions[0]
        if number is None and current.pending:
            running.detail = f"revision {current.number} was left {current.status}"
            return current, None
        goal = good_before(target, current) if number is None else _chosen(target, number, current)
        running.detail = f"{current.number} -> {goal.number}  {goal.image}"
    return current, goal


def _chosen(target: Target, number: int, current: Revision) -> Revision:
    goal = revision(target, number)
    if goal.content == current.content and not current.pending:
        raise Refused(f"revision {number} is what runs now (revision {current.number}); nothing was touched")
    if goal.verdict is not Verdict.GOOD:
        target.reporter.emit(Note(f"revision {number} was never proven good (verdict: {goal.verdict})", warning=True))
    return goal
