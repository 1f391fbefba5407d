"""The lock of a release: one at a time, the newest commit last, and a dead holder holds nobody up.

The lock is a Lease next to the release (releaser/lease.py says what stands on it). When it is let go it is emptied,
not deleted: the last released commit stays on it, and its version goes on counting, so that whoever read it before
can't mistake a new one for the old one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import NoReturn

from releaser.clock import Clock, SystemClock
from releaser.errors import EnvironmentUnfit, LockHeld, Superseded
from releaser.flows.heartbeat import Heartbeat
from releaser.flows.ports import Leases
from releaser.interrupts import deferred, interruptible
from releaser.lease import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    Holder,
    Lease,
    Sightings,
    freed,
    held_by,
    holder_of,
    last_release,
    lock_name,
    waiting,
)
from releaser.models import Note, Reporter, Source
from releaser.steps import Step, step

WAIT_SECONDS = 1800.0
# A death is what doesn't happen: no watch tells it. So waiters look, as client-go's candidates do.
_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Claim:
    """What is to be locked, by whom and for which verb (deploy, rollback, ...)."""

    namespace: str
    release: str
    source: Source
    verb: str


@dataclass(frozen=True)
class Held:
    """The lock is ours. `taken_over_from`: the dead holder who left it, and maybe a release half done."""

    taken_over_from: Holder | None
    waited_seconds: float
    _heartbeat: Heartbeat

    @property
    def lost(self) -> Event:
        """Set when the lock is lost for good; what runs beside should end then."""
        return self._heartbeat.lost

    def require_held(self) -> None:
        """To be called before each thing that touches the release. Raises LockLost."""
        self._heartbeat.require()


@contextmanager
def lock(
    claim: Claim,
    leases: Leases,
    reporter: Reporter,
    *,
    wait: bool = True,
    deadline_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
) -> Iterator[Held]:
    """Hold the release's lock. The namespace is made when it is missing.

    Signals are deferred inside, so that whatever goes back on the way out is not torn apart; open `interruptible()`
    around what may stop at any moment. Waiting itself may. The lock is let go whatever happens; a body that ends
    well has released its commit, and older commits that waited meanwhile are dropped.

    Raises LockHeld (`wait` is off, or the deadline passed), Superseded (a newer commit waits or was released while
    we waited), EnvironmentUnfit, Interrupted.
    """
    with deferred():
        seeker = _Seeker(claim, leases, reporter, clock or SystemClock())
        try:
            held = seeker.acquire(wait, deadline_seconds)
            with seeker.clock.beside(RENEW_SECONDS, held._heartbeat.beat):
                yield held
            seeker.done = True
        finally:
            seeker.leave()


class _Seeker:
    """One who wants the lock, from the first look until it is let go."""

    def __init__(self, claim: Claim, leases: Leases, reporter: Reporter, clock: Clock) -> None:
        source = claim.source
        self._nonce = secrets.token_hex(4)
        identity = f"{source.user}@{source.host}:{os.getpid()}:{self._nonce}"
        self._me = Holder(identity, source, claim.verb, clock.now())
        self._namespace = claim.namespace
        self._release = claim.release
        self._name = lock_name(claim.release)
        self._what = f"{claim.release} in {claim.namespace}"
        self._leases = leases
        self._reporter = reporter
        self._sightings = Sightings()
        self._asked = False  # a request to take the lock was sent, whatever came of it
        self._overtaken: Holder | None = None
        self._waiter: Lease | None = None
        self._renewed = 0.0
        self.clock = clock
        self.done = False

    # -- taking --------------------------------------------------------------------------------------------------------

    def acquire(self, wait: bool, deadline_seconds: float) -> Held:
        started = self.clock.monotonic()
        lease = self._leases.read(self._namespace, self._name)
        while (holder := holder_of(lease)) is None:
            if heartbeat := self._take(lease):
                return Held(None, 0.0, heartbeat)
            lease = self._leases.read(self._namespace, self._name)
        if not wait:
            self._refuse(holder, "told not to wait for it")
        return self._wait(lease, started, deadline_seconds)

    def _take(self, lease: Lease | None) -> Heartbeat | None:
        """None: somebody was faster."""
        asked = self.clock.monotonic()
        mine = held_by(lease or Lease(self._name), self._me)
        self._asked = True
        if lease is None:
            taken = self._leases.create(self._namespace, mine)
        else:
            taken = self._leases.update(self._namespace, mine)
        return Heartbeat(self._leases, self._namespace, taken, asked, self.clock) if taken else None

    def _refuse(self, holder: Holder | None, why: str) -> NoReturn:
        raise LockHeld(
            f"{self._what} is locked by {holder or 'somebody'}; {why}",
            hint=f"wait for the end of that; a holder that died is overtaken after {LEASE_SECONDS} s of waiting",
        )

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _wait(self, lease: Lease | None, started: float, deadline_seconds: float) -> Held:
        before = last_release(lease)
        holder: Holder | None = None
        unanswered: EnvironmentUnfit | None = None
        with step(self._reporter, "wait for the lock") as running:
            while True:
                holder = self._tell(running, holder, holder_of(lease) or holder)
                if self.clock.monotonic() - started > deadline_seconds:
                    if unanswered is not None:
                        raise unanswered
                    self._refuse(holder, f"waited {deadline_seconds:.0f} s for it")
                with interruptible():
                    self.clock.sleep(_LOOK_SECONDS)
                try:
                    lease = self._look()
                    newest = last_release(lease)
                    if newest is not None and newest != before:
                        self._give_way(newest.commit, newest.user, newest.commit_time, "and was released meanwhile")
                    heartbeat = self._take_over(lease)
                except EnvironmentUnfit as exc:
                    unanswered = exc
                    running.progress(exc.message)
                    continue
                unanswered = None
                if heartbeat is not None:
                    waited = self.clock.monotonic() - started
                    running.detail = f"{waited:.0f} s"
                    self._unregister()
                    return Held(self._overtaken, waited, heartbeat)

    def _tell(self, running: Step, former: Holder | None, holder: Holder | None) -> Holder | None:
        if holder is not None and holder != former:
            text = f"waiting for {holder}"
            running.progress(text)
            self._reporter.emit(Note(text))
        return holder

    def _look(self) -> Lease | None:
        """The lock as it is now, and a look at the other waiters: the dead are removed, living newer ones go first."""
        self._register()
        waiters = self._leases.waiters(self._namespace, self._release)
        lease = self._leases.read(self._namespace, self._name)
        self._sightings.look((*waiters, *((lease,) if lease else ())), self.clock.monotonic())
        for waiter in waiters:
            other = holder_of(waiter)
            if other is None or other.identity == self._me.identity:
                continue
            if self._sightings.dead(waiter):
                self._leases.delete(self._namespace, waiter.name, waiter.version)
            elif self._sightings.alive(waiter):
                self._give_way(other.source.commit, other.source.user, other.commit_time, "and goes first")
        return lease

    def _take_over(self, lease: Lease | None) -> Heartbeat | None:
        """Take the lock if it is free or its holder is dead. It may also be ours already: when the answer to the
        request that took it was lost."""
        holder = holder_of(lease)
        if lease is not None and holder is not None and holder.identity != self._me.identity:
            self._overtaken = holder if self._sightings.dead(lease) else None
            if self._overtaken is None:
                return None
            text = f"{holder} gave no sign of life for {LEASE_SECONDS} s; taking over"
            self._reporter.emit(Note(text, warning=True))
        elif holder is None:
            self._overtaken = None
        return self._take(lease)

    def _give_way(self, commit: str, user: str, commit_time: int, why: str) -> None:
        """Raises Superseded when the other commit is surely newer than ours."""
        mine = self._me
        if 0 < mine.commit_time < commit_time:
            raise Superseded(
                f"commit {commit[:9]} of {user} is newer than {mine.source.revision} {why}; nothing was touched",
                hint=f"to release {mine.source.revision} all the same, deploy it again now",
            )

    def _register(self) -> None:
        """Show that we wait, and with which commit, as often as a heartbeat."""
        now = self.clock.monotonic()
        if self._waiter is not None and self._waiter.version and now - self._renewed < RENEW_SECONDS:
            return
        if self._waiter is None:
            self._waiter = waiting(self._release, self._nonce, self._me)
        stored = self._leases.update(self._namespace, self._waiter) if self._waiter.version else None
        stored = stored or self._leases.create(self._namespace, self._waiter)
        # Neither: an answer was lost on its way back. Nobody else writes this one, so what is there is ours.
        self._waiter = stored or self._leases.read(self._namespace, self._waiter.name) or self._waiter
        self._renewed = now

    # -- leaving -------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Let go of everything that we hold or may hold. Where the cluster doesn't answer it lapses by itself."""
        self._unregister()
        if self._asked:
            self._insist("letting the lock go", self._let_go)

    def _let_go(self) -> bool:
        lease = self._leases.read(self._namespace, self._name)
        if lease is None or lease.holder != self._me.identity:
            if self.done:
                text = f"the lock of {self._what} was lost before the end; {holder_of(lease) or 'nobody'} has it"
                self._reporter.emit(Note(text, warning=True))
            return True
        return self._leases.update(self._namespace, freed(lease, self._me if self.done else None)) is not None

    def _unregister(self) -> None:
        if self._waiter is None:
            return
        name, self._waiter = self._waiter.name, None

        def delete() -> bool:
            self._leases.delete(self._namespace, name)
            return True

        self._insist("leaving the queue", delete)

    def _insist(self, doing: str, attempt: Callable[[], bool]) -> None:
        """Until it succeeds, _LEAVE_SECONDS at most."""
        end = self.clock.monotonic() + _LEAVE_SECONDS
        why = "others wrote first, again and again"
        while self.clock.monotonic() < end:
            try:
                if attempt():
                    return
            except EnvironmentUnfit as exc:
                why = exc.message
            self.clock.sleep(_LOOK_SECONDS)
        text = f"{doing} failed: {why}; it lapses {LEASE_SECONDS} s from now"
        self._reporter.emit(Note(text, warning=True))
