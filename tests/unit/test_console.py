from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pyte
import pytest

from releaser import console
from releaser.console import LOST_SECONDS, Output, Printer
from releaser.errors import Declined, LintFailed
from releaser.models import (
    Built,
    CommandRan,
    Finding,
    Image,
    Note,
    PodsChanged,
    Probed,
    Receipt,
    Severity,
    StepEnded,
    StepProgressed,
    StepStarted,
)
from tests.fakes import pod


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printer(
    output: Output = Output.TEXT, *, verbose: bool = False, err: io.StringIO | None = None
) -> tuple[Printer, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), err or io.StringIO()
    return Printer(output, verbose=verbose, stdout=out, stderr=err), out, err


def a_deploy(target: Printer) -> None:
    target.emit(StepStarted("build image"))
    target.emit(StepProgressed("build image", "Step 1/9"))
    target.emit(StepEnded("build image", 3.21, "web:1"))
    target.emit(StepStarted("roll out"))
    for ready in (False, False, True):
        target.emit(PodsChanged("web: 1 of 1 updated", (pod("web-1-abc", {}, ready=ready),), 1.5))
    target.emit(StepEnded("roll out", 4.0, "done"))


def test_in_a_pipe_each_step_is_a_line_and_a_rollout_a_line_when_it_moves() -> None:
    target, out, err = printer()
    a_deploy(target)
    assert err.getvalue().splitlines() == [
        "ok   build image             3.2 s  web:1",
        "        1.5 s  web: 1 of 1 updated  abc=started",
        "        1.5 s  web: 1 of 1 updated  abc=ready",
        "ok   roll out                4.0 s  done",
    ]
    assert out.getvalue() == ""


def test_on_a_terminal_the_finished_steps_and_the_pods_stay() -> None:
    target, _, err = printer(err=Terminal())
    a_deploy(target)
    shown = err.getvalue()
    assert "ok   build image" in shown
    assert "abc" in shown and "[x] ready" in shown


def test_json_progress_is_one_document_a_line_and_the_result_one_document() -> None:
    target, out, err = printer(Output.JSON)
    a_deploy(target)
    target.result(Built(Image("web", "1"), True, 3.0))
    events = [json.loads(line) for line in err.getvalue().splitlines()]
    assert [event["event"] for event in events][:3] == ["StepStarted", "StepProgressed", "StepEnded"]
    assert json.loads(out.getvalue())["image"] == {"repository": "web", "tag": "1", "id": "", "digest": ""}


def test_commands_are_shown_only_when_asked_for() -> None:
    for verbose, shown in ((False, ""), (True, "$ helm upgrade 'a b'\n")):
        target, _, err = printer(verbose=verbose)
        target.emit(CommandRan(("helm", "upgrade", "a b")))
        assert err.getvalue() == shown


def test_an_error_says_what_went_wrong_and_what_to_do_next() -> None:
    target, out, err = printer()
    target.error(Declined("it was declined", detail="line one\nline two", hint="say yes"))
    assert err.getvalue() == "error: it was declined\n  line one\n  line two\nnext:  say yes\n"
    assert out.getvalue() == ""


def test_an_error_in_json_carries_its_exit_code_and_findings() -> None:
    target, _, err = printer(Output.JSON)
    finding = Finding("values.yaml", 3, 1, "style", Severity.ERROR, "bad")
    target.error(LintFailed("lint found 1 errors", [finding]))
    document = json.loads(err.getvalue())
    assert document["exit_code"] == 3
    assert document["findings"][0]["line"] == 3


def test_lint_findings_are_clickable_places() -> None:
    target, _, err = printer()
    target.error(
        LintFailed("lint found 1 errors", [Finding("values.yaml", 3, 1, "style/braces", Severity.ERROR, "bad")])
    )
    assert err.getvalue().startswith("values.yaml:3:1  error  style/braces\n    bad\n")


@pytest.mark.parametrize("output", list(Output))
def test_square_brackets_in_messages_are_kept(output: Output) -> None:
    target, _, err = printer(output)
    target.emit(Note("pods [1/2]", warning=True))
    assert "pods [1/2]" in err.getvalue()


def test_two_steps_may_run_at_once_and_fail() -> None:
    target, _, err = printer(err=Terminal())
    target.emit(StepStarted("compile"))
    target.emit(StepStarted("root file system"))
    target.emit(replace(StepEnded("compile", 61.0), failed=True))
    target.emit(StepEnded("root file system", 2.0))
    assert "FAIL compile" in err.getvalue()
    assert "1 m 01 s" in err.getvalue()


# -- what clients see --------------------------------------------------------------------------------------------------


def probed(elapsed_seconds: float, lost: int) -> Probed:
    return Probed(Receipt(100, lost, 0.1, 0.004, 0.02, 20.0), elapsed_seconds)


def lines_of(*events: Probed) -> list[str]:
    target, _, err = printer()
    for event in events:
        target.emit(event)
    return err.getvalue().splitlines()


def test_in_a_pipe_only_lost_requests_are_spoken_of() -> None:
    assert lines_of(probed(0.0, 0), probed(0.4, 0), probed(90.0, 0)) == []
    assert lines_of(probed(0.4, 0), probed(0.8, 3)) == [
        "        0.8 s  100 requests, 3 lost, longest gap 100 ms, p50 4 ms, p99 20 ms"
    ]


def test_in_a_pipe_a_burst_of_lost_requests_is_spoken_of_now_and_then() -> None:
    soon, later = 1.0 + LOST_SECONDS - 0.1, 1.0 + LOST_SECONDS
    lines = lines_of(probed(1.0, 1), probed(1.4, 2), probed(soon, 9), probed(later, 10), probed(later + 0.4, 11))
    assert [line.split(",")[1] for line in lines] == [" 1 lost", " 10 lost"]


def test_in_a_pipe_what_was_said_is_not_said_again() -> None:
    assert len(lines_of(probed(1.0, 7), probed(30.0, 7), probed(60.0, 7))) == 1


def test_in_a_pipe_another_probing_is_spoken_of_from_its_beginning() -> None:
    lines = lines_of(probed(30.0, 9), probed(0.0, 0), probed(0.4, 1))
    assert [line.split(",")[1] for line in lines] == [" 9 lost", " 1 lost"]


def test_json_progress_has_the_whole_receipt() -> None:
    target, _, err = printer(Output.JSON)
    target.emit(probed(0.4, 1))
    document = json.loads(err.getvalue())
    assert (document["event"], document["elapsed_seconds"]) == ("Probed", 0.4)
    assert (document["receipt"]["sent"], document["receipt"]["failed"]) == (100, 1)


class Screen(Terminal):
    """What stands on a terminal of 80 by 24 now."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.Stream(self._screen)
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def colour(self, text: str) -> str:
        """That of the line with this text; empty when it isn't there."""
        with self._lock:
            for row, line in enumerate(self._screen.display):
                if text in line:
                    return str(self._screen.buffer[row][line.index(text)].fg)
        return ""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Screen()


def await_true(what: str, probe: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not probe():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_on_a_terminal_the_receipt_stands_below_the_running_steps_and_turns_red(screen: Screen) -> None:
    target, _, _ = printer(err=screen)
    target.emit(StepStarted("roll out"))
    target.emit(probed(0.4, 0))
    await_true("a green receipt", lambda: screen.colour("100 requests, 0 lost") == "green")
    target.emit(probed(0.8, 2))
    await_true("a red receipt", lambda: screen.colour("100 requests, 2 lost") == "red")
    assert screen.colour("0 lost") == ""
    target.emit(StepEnded("roll out", 1.0))
    assert screen.colour("2 lost") == ""  # the last word on it is the result's
    assert screen.colour("ok   roll out")


def test_on_a_terminal_a_receipt_that_is_no_news_any_more_leaves(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "STALE_SECONDS", 0.5)
    target, _, _ = printer(err=screen)
    target.emit(StepStarted("test"))

    def renewed() -> bool:
        target.emit(probed(0.4, 0))
        return screen.colour("0 lost") != ""

    await_true("a receipt", renewed)
    await_true("a screen without it", lambda: screen.colour("0 lost") == "")
    assert screen.colour("test")
    target.close()
