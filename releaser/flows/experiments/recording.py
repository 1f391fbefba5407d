"""What happens while an experiment runs: pods from a watch, requests from the prober, moments by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from releaser.clock import Clock
from releaser.flows.ports import Cluster, Probing
from releaser.models import PodState, Snapshot
from releaser.verification import Moment, PodSample, RequestSample, Timeline

# The watch and the prober tell by themselves; so often it is looked whether they have.
_LOOK_SECONDS = 0.05
_WATCH_SECONDS = 3600.0


class BudgetExceeded(Exception):
    """More requests were lost than the run may lose."""


class Budget:
    """Requests that may be lost over a whole run; None: any number."""

    def __init__(self, allowed: int | None) -> None:
        self.allowed = allowed
        self._closed = 0
        self._current = 0

    @property
    def lost(self) -> int:
        return self._closed + self._current

    def count(self, lost: int) -> None:
        """So many of those that are being sent now."""
        self._current = lost

    def close(self, lost: int) -> None:
        """So many of those that were sent; the next ones count anew."""
        self._closed, self._current = self._closed + lost, 0

    def require(self) -> None:
        """Raises BudgetExceeded."""
        if self.allowed is not None and self.lost > self.allowed:
            raise BudgetExceeded(f"{self.lost} requests were lost, {self.allowed} are allowed")


class Recording:
    """Beside the experiment somebody looks at the pods, and somebody at the prober's counters."""

    def __init__(self, cluster: Cluster, namespace: str, release: str, budget: Budget, clock: Clock) -> None:
        self._cluster = cluster
        self._namespace, self._release = namespace, release
        self._budget = budget
        self._clock = clock
        self._started = clock.monotonic()
        self._requests: list[RequestSample] = []
        self._pods: list[PodSample] = []
        self._moments: list[Moment] = []
        self._newest: Snapshot | None = None

    @property
    def timeline(self) -> Timeline:
        return Timeline(tuple(self._requests), tuple(self._pods), tuple(self._moments))

    def mark(self, text: str) -> None:
        self._moments.append(Moment(self._now(), text))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the pods until the context ends."""
        snapshots = self._snapshots()

        def look() -> float:
            self._see(next(snapshots))
            return 0.0

        with self._clock.beside(0.0, look):
            yield

    @contextmanager
    def counting(self, probing: Probing) -> Iterator[None]:
        """Look at the prober's counters until the context ends."""

        def look() -> float:
            self._count(probing)
            return _LOOK_SECONDS

        with self._clock.beside(_LOOK_SECONDS, look):
            yield

    def fewest_ready(self) -> int:
        """The smallest number of ready pods since the first moment that was marked."""
        began = self._moments[0].at_seconds if self._moments else 0.0
        before = [each.ready for each in self._pods if each.at_seconds <= began]
        since = [each.ready for each in self._pods if each.at_seconds > began]
        return min([*before[-1:], *since], default=0)

    def await_pods(self, holds: Callable[[Snapshot], bool], deadline_seconds: float) -> float | None:
        """Wait until it holds of what the watch tells: after how many seconds; None when it never does.

        Raises BudgetExceeded as soon as the run has lost too many requests.
        """
        started = self._clock.monotonic()
        while True:
            self._budget.require()
            elapsed = self._clock.monotonic() - started
            if self._newest is not None and holds(self._newest):
                return elapsed
            if elapsed >= deadline_seconds:
                return None
            self._clock.sleep(_LOOK_SECONDS)

    def _snapshots(self) -> Iterator[Snapshot]:
        while True:
            yield from self._cluster.snapshots(self._namespace, self._release, _WATCH_SECONDS)

    def _see(self, snapshot: Snapshot) -> None:
        pods = served(snapshot)
        self._newest = snapshot
        if pods or self._pods:  # the first snapshots may come before anything was listed
            self._pods.append(PodSample(self._now(), sum(pod.ready for pod in pods), len(pods)))

    def _count(self, probing: Probing) -> None:
        receipt = probing.receipt
        last = self._requests[-1] if self._requests else None
        if last is None or (last.sent, last.failed) != (receipt.sent, receipt.failed):
            self._requests.append(RequestSample(self._now(), receipt.sent, receipt.failed))
        self._budget.count(receipt.failed)

    def _now(self) -> float:
        return self._clock.monotonic() - self._started


def served(snapshot: Snapshot) -> tuple[PodState, ...]:
    """The Deployments' pods; a test's pod has no owner."""
    return tuple(pod for pod in snapshot.pods if pod.owner_uid and not pod.terminating)


def ready_pods(snapshot: Snapshot) -> int:
    return sum(pod.ready for pod in served(snapshot))
