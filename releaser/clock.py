"""Time, as what waits and beats needs it. Tests inject their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Protocol

# A beat that hangs in a request ends by the request's own deadline; nobody needs to wait for that.
_JOIN_SECONDS = 1.0


class Clock(Protocol):
    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def beside(self, first_seconds: float, beat: Callable[[], float | None]) -> AbstractContextManager[None]:
        """Call `beat` beside the body: after `first_seconds`, then after as many as it returned; None ends it."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextmanager
    def beside(self, first_seconds: float, beat: Callable[[], float | None]) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            pause: float | None = first_seconds
            while pause is not None and not stop.wait(pause):
                pause = beat()

        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_JOIN_SECONDS)
