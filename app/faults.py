"""Faults on purpose, so that releases, probes and rollbacks can be tried against a service that really fails.

Faults of requests run in the workers. Faults of the process run in gunicorn's master, because a container fails when
its process 1 does: gunicorn would replace a worker that died, and Kubernetes would never hear of it.
"""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from types import FrameType

from flask import abort

from app.settings import Faults

TICK_SECONDS = 0.1


class InjectedFault(Exception):
    """Raised only because a FAULT_ variable asked for it."""


def disturb_request(faults: Faults) -> None:
    """Delay this request, and fail it with the probability `error_rate`."""
    if faults.latency_seconds:
        time.sleep(faults.latency_seconds)
    if random.random() < faults.error_rate:
        abort(500, description=f"FAULT_ERROR_RATE={faults.error_rate:g} failed this request on purpose.")


def crash_at_start(faults: Faults) -> None:
    """Raise InjectedFault when that switch is on."""
    if faults.crash_at_start:
        raise InjectedFault("FAULT_CRASH_AT_START=true: the service was told to crash before it serves anything")


def arm_master(faults: Faults, worker_pids: Callable[[], Iterable[int]]) -> None:
    """Start crash_after_seconds and memory_growth_bytes_per_second in gunicorn's master.

    A signal timer rather than a thread: the master forks workers at any time, and forked children inherit neither timer
    nor a lock that a thread held.
    """
    if not (faults.crash_after_seconds or faults.memory_growth_bytes_per_second):
        return
    started = time.monotonic()
    ballast: list[bytes] = []

    def tick(_signum: int, _frame: FrameType | None) -> None:
        elapsed_seconds = time.monotonic() - started
        if faults.crash_after_seconds and elapsed_seconds >= faults.crash_after_seconds:
            _crash(faults.crash_after_seconds, worker_pids())
        due_bytes = int(elapsed_seconds * faults.memory_growth_bytes_per_second)
        # Repeating a non-zero byte writes every page; zeros would be mapped lazily and never count.
        ballast.append(b"\x01" * (due_bytes - sum(map(len, ballast))))

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)


def _crash(after_seconds: float, worker_pids: Iterable[int]) -> None:
    try:
        raise InjectedFault(f"FAULT_CRASH_AFTER_SECONDS={after_seconds:g}: the service was told to crash now")
    except InjectedFault:
        # Straight to the descriptor: the signal may have interrupted a write to sys.stderr, which is not reentrant.
        os.write(2, traceback.format_exc().encode())
    for pid in worker_pids:
        os.kill(pid, signal.SIGKILL)
    os._exit(1)
