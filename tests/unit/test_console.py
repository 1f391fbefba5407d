from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from releaser.console import Output, Printer
from releaser.errors import Declined, LintFailed
from releaser.models import (
    Built,
    CommandRan,
    Finding,
    Image,
    Note,
    PodsChanged,
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
    assert json.loads(out.getvalue())["image"] == {"repository": "web", "tag": "1", "id": ""}


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
    target.error(LintFailed("lint found 1 errors", [Finding("values.yaml", 3, 1, "style", Severity.ERROR, "bad")]))
    assert err.getvalue().startswith("values.yaml:3:1: error [style] bad\n")


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
