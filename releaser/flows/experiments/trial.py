"""One experiment under way: what it works with, and what it leaves to be undone.

An experiment is a Promise and a function that takes a Trial and returns what it measured. It is called in a steady
state. Whatever it disturbs it first registers with `afterwards`, so that it is undone whatever happens, even at an
interrupt.

    EXPERIMENT = Experiment(Promise("pod-delete", "...", "...", about_seconds=30), pod_delete)

    def pod_delete(trial: Trial) -> list[Measurement]:
        with trial.requests() as sent:
            trial.mark("deleted pod ...")
            ...
            ready = trial.await_pods(lambda snapshot: ..., deadline_seconds=60)
        return [Measurement("ready again", ready, "s", at_most=60), *lost(sent.receipt, at_most=0)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from releaser.clock import Clock
from releaser.errors import EnvironmentUnfit
from releaser.flows.experiments.hands import Hands
from releaser.flows.experiments.recording import Budget, Recording, served
from releaser.flows.ports import Probing
from releaser.flows.target import Target
from releaser.interrupts import deferred, interruptible
from releaser.models import PodState, Receipt, Revision, Snapshot
from releaser.settings import Project
from releaser.steps import Step
from releaser.verification import Measurement, Promise
from releaser.workload import Workload

# So long requests are sent before anything is disturbed, and after it is over.
_BEFORE_SECONDS = 2.0
_AFTER_SECONDS = 2.0
# Where the environment sends none while it is deployed.
_RATE_PER_SECOND = 20.0


class Skipped(Exception):
    """The experiment doesn't apply here; the text says why."""


class NoSteadyState(Exception):
    """Nothing can be learnt from disturbing what is disturbed already; the text says by what."""


@dataclass(frozen=True)
class Experiment:
    promise: Promise
    conduct: Callable[[Trial], Sequence[Measurement]]


class Trial:
    """`target` asks for the lock and the budget before each change, `home` for the lock alone: for ways back."""

    def __init__(
        self,
        project: Project,
        home: Target,
        target: Target,
        standing: Revision,
        manifest: str,
        workload: Workload,
        hands: Hands,
        budget: Budget,
        running: Step,
        clock: Clock,
    ) -> None:
        self.project = project
        self.home = home
        self.target = target
        self.standing = standing
        self.manifest = manifest
        self.workload = workload
        self.hands = hands
        self.budget = budget
        self.receipt: Receipt | None = None
        self.recording = Recording(home.cluster, home.namespace, home.release, budget, clock)
        self._clock = clock
        self._running = running
        self._undoing: list[tuple[str, Callable[[], None]]] = []

    # -- what is there -------------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> str:
        return self.home.namespace

    @property
    def release(self) -> str:
        return self.home.release

    @property
    def rate_per_second(self) -> float:
        return self.home.environment.probe.rate_per_second or _RATE_PER_SECOND

    def pods(self) -> tuple[PodState, ...]:
        """Those that serve now."""
        found = self.home.cluster.pods(self.namespace, self.release)
        return tuple(pod for pod in found if pod.ready and not pod.terminating)

    def a_pod(self) -> PodState:
        """The one that was restarted least: after several restarts the kubelet waits before the next."""
        pods = self.pods()
        if not pods:
            raise NoSteadyState("no pod is ready")
        return min(pods, key=lambda pod: (pod.restarts, pod.name))

    def require_machines(self) -> None:
        """Raises Skipped where the nodes can't be reached from outside."""
        if why := self.hands.machines.unreachable():
            raise Skipped(why)

    def now(self) -> float:
        """Seconds, of which only differences mean something."""
        return self._clock.monotonic()

    def since(self, began: float, awaited: float | None) -> float | None:
        """What an await found, counted from `began` on: from before the disturbance, which takes time itself."""
        return None if awaited is None else self.now() - began

    # -- doing ---------------------------------------------------------------------------------------------------------

    def mark(self, text: str) -> None:
        """Say what is done or seen now: in the progress and on the plot."""
        self.recording.mark(text)
        self._running.progress(text)

    def say(self, text: str) -> None:
        self._running.progress(text)

    def afterwards(self, what: str, undo: Callable[[], None]) -> None:
        """To be registered before the thing that it undoes is done. Undone in reverse order, outside the reach of
        interrupts; so it must bear that the thing was not done at all, and have an end."""
        self._undoing.append((what, undo))

    def undo(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What was registered, the last first."""
        while self._undoing:
            yield self._undoing.pop()

    @contextmanager
    def requests(self, rate_per_second: float | None = None) -> Iterator[Probing]:
        """Requests through the service as long as the body runs, and a little before and after; then the receipt is
        whole. Once in an experiment. None may be lost before the body begins. Raises NoSteadyState, Skipped where the
        release has no Service, and EnvironmentUnfit when no prober can be started."""
        home = self.home
        service = home.cluster.service_name(self.namespace, self.release)
        if not service:
            raise Skipped("the release has no Service to send requests to")
        rate = rate_per_second or self.rate_per_second
        path = home.environment.probe.path
        probing: Probing | None = None
        with deferred():
            try:
                with (
                    home.prober.probe(self.namespace, service, self.workload.image, rate, path) as probing,
                    self.recording.counting(probing),
                    interruptible(),
                ):
                    self.rest(_BEFORE_SECONDS)
                    if probing.receipt.failed:
                        raise NoSteadyState(f"requests are lost with nothing disturbed: {probing.receipt.line}")
                    yield probing
                    self.rest(_AFTER_SECONDS)
            finally:
                if probing is not None:  # it has told its last figures only now
                    self.receipt = probing.receipt
                    self.budget.close(probing.receipt.failed)

    def rest(self, seconds: float) -> None:
        """Let time pass. Raises BudgetExceeded."""
        self.recording.await_pods(lambda _: False, seconds)

    def await_pods(self, holds: Callable[[Snapshot], bool], deadline_seconds: float) -> float | None:
        """Wait until it holds of what the watch tells: after how many seconds; None when it never does."""
        return self.recording.await_pods(holds, deadline_seconds)

    def until(
        self, what: str, holds: Callable[[], bool], deadline_seconds: float, every_seconds: float = 1.0
    ) -> float | None:
        """Wait until it holds of what is asked again and again: after how many seconds; None when it never does. An
        unanswered question counts as a no."""
        self.say(what)
        started = self.now()
        while True:
            try:
                if holds():
                    return self.now() - started
            except EnvironmentUnfit as exc:
                self.say(f"{what}: {exc.message}")
            if self.now() - started >= deadline_seconds:
                return None
            self.rest(every_seconds)


def all_ready(snapshot: Snapshot, number: int) -> bool:
    """So many pods, all of them ready, and none on its way out."""
    pods = served(snapshot)
    leaving = any(pod.owner_uid and pod.terminating for pod in snapshot.pods)
    return len(pods) == number and all(pod.ready for pod in pods) and not leaving
