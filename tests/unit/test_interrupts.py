"""Signals: raised at once, put off, let through."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from releaser import interrupts
from releaser.interrupts import Interrupted, deferred, interruptible


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    former = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    interrupts.install()
    yield
    for each, handler in former.items():
        signal.signal(each, handler)
    assert interrupts._level == interrupts._Level() and not interrupts._pending, "a test left its traces"


def interrupt(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_at_once(number: signal.Signals) -> None:
    with pytest.raises(Interrupted):
        interrupt(number)


def test_inside_deferred_a_signal_waits_for_the_end_of_the_outermost() -> None:
    reached = []
    with pytest.raises(Interrupted), deferred():
        with deferred():
            interrupt()
            reached.append("inner")
        reached.append("outer")
    assert reached == ["inner", "outer"]


def test_a_deferred_signal_is_told_of_once() -> None:
    told = threading.Semaphore(0)
    with pytest.raises(Interrupted), deferred(told.release) as signals:
        assert not signals.pending
        interrupt()
        interrupt()
        assert signals.pending
        assert told.acquire(timeout=10)
    assert not told.acquire(blocking=False)


def test_one_who_takes_the_signal_is_not_interrupted() -> None:
    with deferred() as signals:
        interrupt()
        assert signals.take()
        assert not signals.take()


def test_an_error_on_its_way_out_goes_first_and_the_signal_is_not_forgotten() -> None:
    with pytest.raises(ValueError), deferred():
        interrupt()
        raise ValueError
    with pytest.raises(Interrupted), deferred():
        pass


def test_a_window_lets_a_signal_through_and_what_follows_is_safe_again() -> None:
    reached = []
    with pytest.raises(Interrupted), deferred():
        try:
            with interruptible():
                interrupt()
                reached.append("never")
        except Interrupted:
            interrupt()
            reached.append("gone back")
            raise
    assert reached == ["gone back"]
    with pytest.raises(Interrupted), deferred():  # the second signal is still owed
        pass


def test_a_window_shuts_when_a_signal_goes_through() -> None:
    reached = []
    with pytest.raises(Interrupted), deferred(), interruptible():
        try:
            interrupt()
        finally:
            interrupt()
            reached.append("cleaned up")
    assert reached == ["cleaned up"]
    with pytest.raises(Interrupted), deferred():  # the second signal is still owed
        pass


def test_a_window_opens_with_the_signal_that_came_before() -> None:
    reached = []
    with pytest.raises(Interrupted), deferred():
        interrupt()
        with interruptible():
            reached.append("never")
    assert reached == []


def test_a_window_without_a_deferral_changes_nothing() -> None:
    with pytest.raises(Interrupted), interruptible():
        interrupt()


def test_other_threads_change_nothing_for_the_main_one() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with deferred() as signals, interruptible():
            inside.set()
            leave.wait(10)
            assert not signals.pending

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(Interrupted):
        interrupt()
    leave.set()
    thread.join()
