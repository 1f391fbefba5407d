"""The heartbeat of a held lock, and the question whether it is still held."""

from __future__ import annotations

import threading

from releaser.clock import Clock
from releaser.errors import EnvironmentUnfit, LockLost
from releaser.flows.ports import Leases
from releaser.lease import LEASE_SECONDS, RENEW_SECONDS, Lease, holder_of

# client-go's proportions: the holder doubts itself well before others may call it dead.
CERTAIN_SECONDS = LEASE_SECONDS * 2 / 3
# An API server that is away is away for all: nobody can take the lock meanwhile, and the first renewal mends it.
PATIENCE_SECONDS = 60.0
_RETRY_SECONDS = 1.0


class Heartbeat:
    """Renews a Lease that we hold. `lost` is set, for ever, when somebody else has it or no renewal came through for
    PATIENCE_SECONDS."""

    def __init__(self, leases: Leases, namespace: str, lease: Lease, asked_seconds: float, clock: Clock) -> None:
        """`asked_seconds`: the monotonic time from before the request that got the Lease: no observer's patience
        began earlier."""
        self._leases = leases
        self._namespace = namespace
        self._lease = lease
        self._renewed = asked_seconds
        self._clock = clock
        self._why = ""
        self.lost = threading.Event()

    @property
    def certain(self) -> bool:
        """Renewed so lately that nobody can have called us dead."""
        return not self.lost.is_set() and self._silent_seconds < CERTAIN_SECONDS

    def beat(self) -> float | None:
        """Renew once. Seconds until the next beat; None when the lock is lost."""
        if self.lost.is_set():
            return None
        asked = self._clock.monotonic()
        try:
            renewed = self._renew()
        except EnvironmentUnfit as exc:
            if self._silent_seconds > PATIENCE_SECONDS:
                self._lose(f"no renewal for {PATIENCE_SECONDS:.0f} s: {exc.message}")
            return None if self.lost.is_set() else _RETRY_SECONDS
        if renewed:
            self._renewed = asked
            return RENEW_SECONDS
        return None if self.lost.is_set() else _RETRY_SECONDS

    def require(self) -> None:
        """Return only while the lock is surely ours. While no renewal comes through: wait for one. Raises LockLost."""
        while not self.certain:
            if self._silent_seconds > PATIENCE_SECONDS:
                self._lose(f"no renewal for {PATIENCE_SECONDS:.0f} s")
            if self.lost.is_set():
                raise LockLost(
                    f"The lock {self._lease.name} in {self._namespace} was lost: {self._why}",
                    hint="nothing more was touched; `releaser status ENV` shows what is there, then deploy again",
                )
            self._clock.sleep(_RETRY_SECONDS)

    @property
    def _silent_seconds(self) -> float:
        return self._clock.monotonic() - self._renewed

    def _renew(self) -> bool:
        if stored := self._leases.update(self._namespace, self._lease):
            self._lease = stored
            return True
        # Somebody wrote it: ourselves, when an answer was lost on its way back, or who took it over.
        found = self._leases.read(self._namespace, self._lease.name)
        if found is not None and found.holder == self._lease.holder:
            self._lease = found
        else:
            self._lose(f"{holder_of(found) or 'nobody'} has it")
        return False

    def _lose(self, why: str) -> None:
        self._why = self._why or why
        self.lost.set()
