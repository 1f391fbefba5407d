"""A step: something that takes time, has a name and ends well or not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from releaser.models import Reporter, StepEnded, StepProgressed, StepStarted


class Step:
    """A running step. Set `detail` to say at its end what came out of it, and `failed` when that is bad news."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._started = time.monotonic()
        self.name = name
        self.detail = ""
        self.failed = False

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._started

    def progress(self, text: str) -> None:
        self._reporter.emit(StepProgressed(self.name, text))


@contextmanager
def step(reporter: Reporter, name: str, *, log: Path | None = None) -> Iterator[Step]:
    """Report the body as a step; a raised exception ends it as failed and goes on upwards."""
    reporter.emit(StepStarted(name, log))
    running = Step(reporter, name)
    try:
        yield running
    except BaseException:
        reporter.emit(StepEnded(name, running.elapsed_seconds, running.detail, failed=True, log=log))
        raise
    reporter.emit(StepEnded(name, running.elapsed_seconds, running.detail, failed=running.failed, log=log))
