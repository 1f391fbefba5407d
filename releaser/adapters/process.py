"""The only place where an external program is started."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TextIO

from releaser.errors import ToolFailed, ToolMissing, ToolTimeout
from releaser.models import CommandRan, Reporter


def says_disk_full(text: str) -> bool:
    """A program's own words for it; libc's (ENOSPC)."""
    return "no space left on device" in text.lower()


@dataclass(frozen=True)
class Finished:
    """A program that ended: its argv, exit status and both streams, decoded."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str


class Process:
    """Runs programs from argv lists: no shell, a deadline, both streams kept."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        doing: str,
        deadline_seconds: float,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        hint: str = "",
        tied: bool = False,
    ) -> Finished:
        """Run to the end and return its output.

        `doing` completes the sentence "while ..." in errors. `tied`: the program gets SIGTERM when we are killed, where
        the platform can do that. Raises ToolMissing, ToolTimeout, and ToolFailed unless `check` is off.
        """
        process = self._start(argv, doing, stdin=input is not None, stderr=subprocess.PIPE, env=env, cwd=cwd, tied=tied)
        text = input.encode() if isinstance(input, str) else input
        try:
            stdout, stderr = process.communicate(text, timeout=deadline_seconds)
        except subprocess.TimeoutExpired as exc:
            _kill(process)
            raise _timed_out(argv, doing, deadline_seconds) from exc
        except BaseException:
            _kill(process)
            raise
        finished = Finished(
            _words(argv), process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace")
        )
        if check and finished.exit_status != 0:
            raise failed(finished, doing, hint)
        return finished

    def stream(
        self,
        argv: Sequence[str | Path],
        *,
        doing: str,
        deadline_seconds: float,
        log: Path | None = None,
        on_line: Callable[[str], None] = lambda line: None,
        input: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        hint: str = "",
        tied: bool = False,
    ) -> None:
        """Run to the end with both streams appended to `log`, line by line; `on_line` sees each line as it comes.

        `input` is an open file. Raises as `run` does; the detail of ToolFailed is the output's last lines.
        """
        process = self._start(argv, doing, stdin=input, stderr=subprocess.STDOUT, env=env, cwd=cwd, tied=tied)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(deadline_seconds, expire)
        timer.daemon = True
        timer.start()
        tail: list[str] = []
        try:
            with _appended(log) as sink:
                sink.write(f"$ {_shown(argv)}\n")
                for line in _lines(process):
                    sink.write(line + "\n")
                    sink.flush()
                    tail = [*tail[-19:], line]
                    on_line(line)
            status = process.wait()
        except BaseException:
            _kill(process)
            raise
        finally:
            timer.cancel()
            _close(process)
        if expired.is_set():
            raise _timed_out(argv, doing, deadline_seconds)
        if status != 0:
            raise failed(
                Finished(_words(argv), status, "\n".join(tail), ""),
                doing,
                hint or (f"the whole log: {log}" if log else ""),
            )

    def pipe(
        self,
        source: Sequence[str | Path],
        sink: Sequence[str | Path],
        *,
        doing: str,
        deadline_seconds: float,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> tuple[Finished, Finished]:
        """Run both to their ends, the first's output being the second's input; `on_line` sees the lines that the first
        writes to stderr. Both are tied to us. Raises ToolMissing and ToolTimeout; how they ended is the caller's.
        """
        giver = self._start(source, doing, stdin=False, stderr=subprocess.PIPE, env=None, cwd=None, tied=True)
        try:
            taker = self._start(
                sink, doing, stdin=giver.stdout, stderr=subprocess.STDOUT, env=None, cwd=None, tied=True
            )
        except BaseException:
            _kill(giver)
            raise
        assert giver.stdout is not None and giver.stderr is not None
        giver.stdout.close()  # the taker's end remains: when that one goes, the giver gets SIGPIPE
        said: list[str] = []
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _signal(giver, signal.SIGKILL)
            _signal(taker, signal.SIGKILL)

        timer = threading.Timer(deadline_seconds, expire)
        reader = threading.Thread(target=lambda: said.extend(_lines(taker)), daemon=True)
        timer.daemon = True
        timer.start()
        reader.start()
        told: list[str] = []
        try:
            for raw in giver.stderr:
                told = [*told[-19:], raw.decode(errors="replace").rstrip()]
                on_line(told[-1])
            giver.wait()
            taker.wait()
            reader.join()
        except BaseException:
            _kill(giver)
            _kill(taker)
            raise
        finally:
            timer.cancel()
            _close(giver)
            _close(taker)
        if expired.is_set():
            raise _timed_out(source, doing, deadline_seconds)
        return (
            Finished(_words(source), giver.returncode, "", "\n".join(told)),
            Finished(_words(sink), taker.returncode, "\n".join(said), ""),
        )

    @contextmanager
    def running(self, argv: Sequence[str | Path], *, doing: str) -> Iterator[Iterator[str]]:
        """Run beside us, yielding its output's lines, and end it with the context."""
        process = self._start(argv, doing, stdin=False, stderr=subprocess.STDOUT, env=None, cwd=None)
        try:
            yield _lines(process)
        finally:
            _kill(process)

    @contextmanager
    def held(
        self,
        argv: Sequence[str | Path],
        *,
        doing: str,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
        ending_seconds: float,
    ) -> Iterator[None]:
        """Run beside us as long as the context lasts; in a thread of its own `on_line` sees each line of output, and
        `on_end` is called after the last.

        The program is to end when its stdin does, which also happens when we are killed, and has `ending_seconds` for
        its last lines; after that it is killed.
        """
        process = self._start(argv, doing, stdin=True, stderr=subprocess.STDOUT, env=None, cwd=None)

        def read() -> None:
            for line in _lines(process):
                on_line(line)
            on_end()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            reader.join(ending_seconds)
            if reader.is_alive():
                _signal(process, signal.SIGKILL)
                reader.join()
            _kill(process)

    def _start(
        self,
        argv: Sequence[str | Path],
        doing: str,
        *,
        stdin: bool | IO[bytes] | None,
        stderr: int,
        env: Mapping[str, str] | None,
        cwd: Path | None,
        tied: bool = False,
    ) -> subprocess.Popen[bytes]:
        words = _words(argv)
        self._reporter.emit(CommandRan(words))
        try:
            # A session of its own: Ctrl-C reaches releaser alone, which decides what its children do.
            return subprocess.Popen(
                [*_tie(words[0]), *words] if tied else words,
                stdin=_input(stdin),
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise ToolMissing(
                f"While {doing}: {words[0]} was not found", hint="releaser doctor names what is missing"
            ) from exc
        except PermissionError as exc:
            raise ToolMissing(f"While {doing}: {words[0]} may not be executed", hint=f"chmod +x {words[0]}") from exc


def _tie(program: str) -> tuple[str, ...]:
    """What goes before a program so that the kernel sends it SIGTERM when we die, SIGKILL included: PR_SET_PDEATHSIG,
    set by util-linux's setpriv. Nothing where there is no such setpriv (macOS, busybox).

    Not by preexec_fn: Python code between fork and exec can deadlock once there are threads, as a heartbeat is. The
    kernel means the thread that started the program, not the process; that one waits for the program's end.
    """
    setpriv = _setpriv()
    # Without the program setpriv's own failure would hide which one is missing.
    return (setpriv, "--pdeathsig", "TERM") if setpriv and shutil.which(program) else ()


@cache
def _setpriv() -> str | None:
    path = shutil.which("setpriv")
    if path is None or not sys.platform.startswith("linux"):
        return None
    probe = subprocess.run([path, "--pdeathsig", "TERM", "true"], capture_output=True, timeout=10, check=False)
    return path if probe.returncode == 0 else None


@contextmanager
def _appended(log: Path | None) -> Iterator[TextIO]:
    if log is None:
        yield io.StringIO()
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as sink:
        yield sink


def _input(stdin: bool | IO[bytes] | None) -> int | IO[bytes]:
    if isinstance(stdin, bool) or stdin is None:
        return subprocess.PIPE if stdin else subprocess.DEVNULL
    return stdin


def _words(argv: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(str(word) for word in argv)


def _shown(argv: Sequence[str | Path]) -> str:
    return shlex.join(_words(argv))


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    assert process.stdout is not None
    for raw in process.stdout:
        yield raw.decode(errors="replace").rstrip()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started: TERM to the group, KILL after five seconds."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()
    _close(process)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _timed_out(argv: Sequence[str | Path], doing: str, deadline_seconds: float) -> ToolTimeout:
    return ToolTimeout(
        f"While {doing}: no end after {deadline_seconds:.0f} s: {_shown(argv)}", hint="-v shows each command"
    )


def failed(finished: Finished, doing: str, hint: str) -> ToolFailed:
    """What `run` raises of a program that ended badly."""
    status = finished.exit_status
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    return ToolFailed(
        f"While {doing}: {Path(finished.argv[0]).name} {how}",
        exit_status=status,
        stdout=finished.stdout,
        stderr=finished.stderr,
        hint=hint,
    )
