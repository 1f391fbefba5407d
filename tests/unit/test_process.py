"""The process adapter, with real programs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from releaser.adapters.process import Process
from releaser.errors import ToolFailed, ToolMissing, ToolTimeout
from releaser.models import CommandRan
from tests.fakes import Recorder


@pytest.fixture
def process() -> Process:
    return Process(Recorder())


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_streams_and_the_status_are_kept(process: Process) -> None:
    finished = process.run(
        python("import sys; print(input()); print('e', file=sys.stderr); sys.exit(3)"),
        doing="testing",
        deadline_seconds=30,
        input="hello\n",
        check=False,
    )
    assert (finished.exit_status, finished.stdout, finished.stderr) == (3, "hello\n", "e\n")


def test_a_program_that_was_killed_is_said_to_be(process: Process) -> None:
    with pytest.raises(ToolFailed, match=r"While testing: .* was killed by SIGKILL"):
        process.run(python("import os; os.kill(os.getpid(), 9)"), doing="testing", deadline_seconds=30)


def test_a_failure_says_what_was_done_and_keeps_the_output(process: Process) -> None:
    with pytest.raises(ToolFailed, match=r"While testing: .* exit status 3") as caught:
        process.run(
            python("import sys; print('why', file=sys.stderr); sys.exit(3)"), doing="testing", deadline_seconds=30
        )
    assert caught.value.detail == "why"
    assert caught.value.exit_code == 5


def test_a_missing_program_is_named(process: Process) -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        process.run(["no-such-program"], doing="testing", deadline_seconds=30)


def test_a_program_that_hangs_is_ended_with_its_children(process: Process, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    child = (
        "import subprocess, sys, time, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(marker)!r}).write_text(str(p.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(ToolTimeout, match="no end after"):
        process.run(python(child), doing="testing", deadline_seconds=5)
    grandchild = Path(f"/proc/{marker.read_text()}/exe")
    end = time.monotonic() + 10
    while grandchild.exists() and time.monotonic() < end:  # who is dying is there until the kernel has come to it
        time.sleep(0.05)
    assert not grandchild.exists()


def test_arguments_reach_the_program_as_they_are(process: Process) -> None:
    odd = "a b'c\"d;$(e)*"
    finished = process.run([*python("import sys; print(sys.argv[1])"), odd], doing="testing", deadline_seconds=30)
    assert finished.stdout.strip() == odd


def test_the_environment_is_added_to_ours(process: Process) -> None:
    code = "import os; print(os.environ['EXTRA'], 'PATH' in os.environ)"
    finished = process.run(python(code), doing="testing", deadline_seconds=30, env={"EXTRA": "1"})
    assert finished.stdout.split() == ["1", "True"]


def test_a_stream_goes_to_the_log_and_to_the_listener(process: Process, tmp_path: Path) -> None:
    seen: list[str] = []
    log = tmp_path / "deep" / "log"
    process.stream(
        python("print('one'); print('two')"), doing="testing", deadline_seconds=30, log=log, on_line=seen.append
    )
    assert seen == ["one", "two"]
    assert log.read_text().splitlines()[1:] == ["one", "two"]


def test_a_failing_stream_shows_the_end_of_its_log(process: Process, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed) as caught:
        process.stream(
            python("print('the reason'); raise SystemExit(1)"),
            doing="testing",
            deadline_seconds=30,
            log=tmp_path / "log",
        )
    assert "the reason" in caught.value.detail
    assert str(tmp_path / "log") in caught.value.hint


def test_a_stream_has_a_deadline(process: Process, tmp_path: Path) -> None:
    with pytest.raises(ToolTimeout):
        process.stream(python("import time; time.sleep(60)"), doing="testing", deadline_seconds=1, log=tmp_path / "log")


def test_each_command_is_reported_so_that_it_can_be_repeated() -> None:
    recorder = Recorder()
    Process(recorder).run(["true"], doing="testing", deadline_seconds=30)
    assert recorder.events == [CommandRan(("true",))]


def test_a_tied_program_ends_when_releaser_is_killed(tmp_path: Path) -> None:
    """Where the kernel can't say so (no Linux, no setpriv) nothing is promised."""
    marker = tmp_path / "said"
    child = (
        "import pathlib, signal, sys, time\n"
        f"marker = pathlib.Path({str(marker)!r})\n"
        "def end(*_):\n"
        "    marker.write_text('ended')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "marker.write_text('running')\n"
        "time.sleep(60)"
    )
    parent = (
        "import sys\n"
        "from releaser.adapters.process import Process\n"
        "from tests.fakes import Recorder\n"
        f"Process(Recorder()).run([sys.executable, '-c', {child!r}], doing='testing', deadline_seconds=60, tied=True)"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        await_text(marker, "running")
        process.kill()
    await_text(marker, "ended")


def test_a_tied_program_that_is_missing_is_named_and_its_streams_and_status_are_its_own(process: Process) -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        process.run(["no-such-program"], doing="testing", deadline_seconds=30, tied=True)
    finished = process.run(
        python("import sys; print(input()); sys.exit(3)"),
        doing="testing",
        deadline_seconds=30,
        input="hello\n",
        check=False,
        tied=True,
    )
    assert (finished.exit_status, finished.stdout) == (3, "hello\n")


def await_text(path: Path, text: str) -> None:
    end = time.monotonic() + 30
    while not (path.exists() and path.read_text() == text):
        assert time.monotonic() < end, f"{path.name} never said {text}"
        time.sleep(0.02)
