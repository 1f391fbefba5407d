"""SIGINT and SIGTERM as one exception, which can be put off where being torn apart would leave a mess.

Three states, nested as deep as one likes: as `install` leaves it a signal raises at once; inside `deferred` it is
remembered and raises at the end; inside `interruptible`, which opens a window in a `deferred`, it raises at once again:

    with deferred():
        try:
            with interruptible():
                work()            # a signal raises here ...
        except Interrupted:
            go_back()             # ... and no second one tears this apart
            raise

Python runs signal handlers in the main thread only; in any other thread these contexts do nothing.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple


class Interrupted(BaseException):
    """SIGINT or SIGTERM. Not a KeyboardInterrupt, which Typer would turn into exit code 1."""


class _Level(NamedTuple):
    """What a signal does now. One value, swapped in one store: a signal never sees half of a change."""

    depth: int = 0
    """How many `deferred` hold it back; 0: it raises."""
    around: int = 0
    """Inside a window: the depth outside it."""
    said: Callable[[], None] | None = None


_level = _Level()
_pending = False


class Deferral:
    """Inside `deferred`: has a signal come? `take` claims it, so that it isn't raised at the end."""

    @property
    def pending(self) -> bool:
        return _pending and _in_main_thread()

    def take(self) -> bool:
        pending = self.pending
        if pending:
            _forget()
        return pending


def install() -> None:
    """Let SIGINT and SIGTERM raise Interrupted. Main thread only."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _receive)


@contextmanager
def deferred(said: Callable[[], None] | None = None) -> Iterator[Deferral]:
    """Remember a signal that comes inside, and raise Interrupted at the end of the outermost one.

    `said` is called once, in a thread of its own, when the signal comes: to tell the user that it was heard. An
    exception on its way out goes first; the signal then stays remembered for the next `deferred` or `interruptible`.
    """
    global _level
    if not _in_main_thread():
        yield Deferral()
        return
    outer = _level
    try:
        _level = _Level(outer.depth + 1, outer.around, said or outer.said)
        yield Deferral()
    finally:
        _level = outer
    if outer.depth == 0:
        _raise_pending()


@contextmanager
def interruptible() -> Iterator[None]:
    """A window in a `deferred`: a signal, also one that came before, raises Interrupted at once.

    Raising closes the window, so what catches or cleans up outside it is safe from a second signal.
    """
    global _level
    if not _in_main_thread():
        yield
        return
    outer = _level
    try:
        _level = _Level(0, outer.depth, outer.said)
        _raise_pending()
        yield
    finally:
        _level = outer


def _receive(number: int, frame: FrameType | None) -> None:
    global _level, _pending
    level = _level
    if level.depth == 0:
        # Before raising: a second signal must find the window shut.
        _level = _Level(level.around, 0, level.said)
        _pending = False
        raise Interrupted
    if not _pending:
        _pending = True
        if level.said is not None:
            # Not here: this may have interrupted a print, or Thread.start() with its lock held.
            _thread.start_new_thread(level.said, ())


def _raise_pending() -> None:
    global _level
    if _pending:
        _level = _Level(_level.around, 0, _level.said)
        _forget()
        raise Interrupted


def _forget() -> None:
    global _pending
    _pending = False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
