"""Many actors in simulated time, one at a time: the same seed gives the same schedule.

Each actor runs in threads of its own, of which exactly one runs at any moment: it goes on until it sleeps or asks the
(fake) API server, and then the seed decides who is next. Nothing waits for real time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from releaser.errors import EnvironmentUnfit
from releaser.lease import Lease
from tests.fakes import FakeLeases

Answer = TypeVar("Answer")


class Cut(BaseException):
    """Ends the threads of a killed actor when the simulation is over."""


@dataclass
class _Task:
    actor: str
    due: float
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: bool = False
    cut: bool = False


class Simulation:
    """A Clock, and the scheduler of who runs when."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.time = 0.0
        self.errors: list[BaseException] = []
        self._tasks: list[_Task] = []
        self._threads: list[threading.Thread] = []
        self._killed: set[str] = set()
        self._back = threading.Semaphore(0)
        self._local = threading.local()

    def spawn(self, actor: str, work: Callable[[], None], after: float = 0.0) -> None:
        task = _Task(actor, self.time + after)

        def body() -> None:
            self._local.task = task
            task.go.acquire()
            try:
                if not task.cut:
                    work()
            except Cut:
                pass
            except BaseException as exc:
                self.errors.append(exc)
            finally:
                task.ended = True
                self._back.release()

        self._tasks.append(task)
        self._threads.append(threading.Thread(target=body, daemon=True))
        self._threads[-1].start()

    def kill(self, actor: str) -> None:
        """As SIGKILL: none of its threads runs ever again."""
        self._killed.add(actor)

    def run(self, limit_seconds: float) -> None:
        """Until every actor has ended or is dead. Fails when that takes longer than the limit, in simulated time."""
        try:
            while living := [t for t in self._tasks if not t.ended and t.actor not in self._killed]:
                self.time = max(self.time, min(task.due for task in living))
                assert self.time < limit_seconds, f"still there: {sorted({task.actor for task in living})}"
                self._resume(self.random.choice([task for task in living if task.due <= self.time]))
        finally:
            for task in self._tasks:
                task.cut = True
                while not task.ended:
                    self._resume(task)
            for thread in self._threads:
                thread.join()
        if self.errors:
            raise self.errors[0]

    def _resume(self, task: _Task) -> None:
        task.go.release()
        self._back.acquire()

    # -- what actors call ----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        task: _Task = self._local.task
        task.due = self.time + seconds
        self._back.release()
        task.go.acquire()
        if task.cut:
            raise Cut

    @contextmanager
    def beside(self, first_seconds: float, beat: Callable[[], float | None]) -> Iterator[None]:
        stopped = False

        def run() -> None:
            pause: float | None = first_seconds
            while pause is not None:
                self.sleep(pause)
                if stopped:
                    return
                pause = beat()

        self.spawn(self._local.task.actor, run)
        try:
            yield
        finally:
            stopped = True


class ShakyLeases:
    """FakeLeases behind a network: others get their turn before each request, some requests are lost, some answers."""

    def __init__(self, simulation: Simulation, trouble: float = 0.0) -> None:
        self.leases = FakeLeases()
        self.outage = (0.0, 0.0)
        self.partitioned: set[str] = set()
        self.lose_answer: set[tuple[str, str]] = set()
        """(method, Lease): its next request is carried out, but the answer is lost."""
        self._simulation = simulation
        self._trouble = trouble

    def read(self, namespace: str, name: str) -> Lease | None:
        return self._ask("read", name, lambda: self.leases.read(namespace, name))

    def waiters(self, namespace: str, release: str) -> tuple[Lease, ...]:
        return self._ask("waiters", release, lambda: self.leases.waiters(namespace, release))

    def create(self, namespace: str, lease: Lease) -> Lease | None:
        return self._ask("create", lease.name, lambda: self.leases.create(namespace, lease))

    def update(self, namespace: str, lease: Lease) -> Lease | None:
        return self._ask("update", lease.name, lambda: self.leases.update(namespace, lease))

    def delete(self, namespace: str, name: str, version: str = "") -> None:
        self._ask("delete", name, lambda: self.leases.delete(namespace, name, version))

    def _ask(self, method: str, name: str, request: Callable[[], Answer]) -> Answer:
        simulation = self._simulation
        simulation.sleep(simulation.random.choice((0.0, 0.0, 0.05)))
        begin, end = self.outage
        lost = simulation.random.random() < self._trouble
        if begin <= simulation.time < end or simulation._local.task.actor in self.partitioned or lost:
            raise EnvironmentUnfit("the API server is away")
        answer = request()
        if (method, name) in self.lose_answer or simulation.random.random() < self._trouble:
            self.lose_answer.discard((method, name))
            raise EnvironmentUnfit("the answer was lost")
        simulation.sleep(0.0)
        return answer
