"""The only printing module. Progress and errors go to stderr, results to stdout.

Three faces for progress: Rich on a terminal (running steps with their elapsed time), plain lines in a pipe (with a sign
of life every 15 s), JSON lines with --output json.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from releaser.errors import LintFailed, ReleaseFailed, ReleaseNotRestored, ReleaserError
from releaser.models import (
    CommandRan,
    Event,
    Linted,
    Note,
    PodsChanged,
    PodState,
    Probed,
    Receipt,
    StepEnded,
    StepProgressed,
    StepStarted,
)
from releaser.render import duration, rendered, shown_findings

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.live import Live

HEARTBEAT_SECONDS = 15.0
# Lost requests come in bursts: plain lines speak of them only so often.
LOST_SECONDS = 5.0
# A receipt that isn't renewed for so long is no news any more and leaves the terminal.
STALE_SECONDS = 3.0


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


class Form(StrEnum):
    """For whom findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


class Printer:
    """What cli prints through: progress by `emit`, one `result` or one `error` at the end."""

    def __init__(
        self, output: Output, *, verbose: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._output = output
        self._verbose = verbose
        self._lock = threading.RLock()
        self._progress: _Progress
        if output is Output.JSON:
            self._progress = _JsonLines(self._stderr)
        elif self._stderr.isatty():
            self._progress = _Terminal(self._stderr)
        else:
            self._progress = _Lines(self._stderr)

    def emit(self, event: Event, /) -> None:
        if isinstance(event, CommandRan) and not self._verbose:
            return
        with self._lock:
            self._progress.show(event)

    def result(self, result: object) -> None:
        """Print what a flow returned."""
        with self._lock:
            self._progress.close()
            if self._output is Output.JSON:
                print(json.dumps(result, default=_plain, indent=2), file=self._stdout)
                return
            for part in rendered(result):
                self._text(part, self._stdout)

    def linted(self, linted: Linted, form: Form) -> None:
        """Print findings, for people or for other programs."""
        from releaser.lint import formats

        with self._lock:
            self._progress.close()
            if form is Form.TEXT and self._output is Output.TEXT:
                for part in rendered(linted):
                    self._text(part, self._stdout)
                return
            writers = {Form.GITHUB: formats.as_github, Form.SARIF: formats.as_sarif}
            print(writers.get(form, formats.as_json)(linted), file=self._stdout)

    def close(self) -> None:
        """No more progress: leave the terminal as it was."""
        with self._lock:
            self._progress.close()

    def raw(self, text: str) -> None:
        """Print a line of somebody else's text (pods' logs) as it is."""
        with self._lock:
            print(text, file=self._stdout, flush=True)

    def error(self, error: ReleaserError) -> None:
        with self._lock:
            self._progress.close()
            if self._output is Output.JSON:
                document: dict[str, Any] = {
                    "error": type(error).__name__,
                    "message": error.message,
                    "detail": error.detail,
                    "hint": error.hint,
                }
                if isinstance(error, LintFailed):
                    document["findings"] = error.findings
                if isinstance(error, (ReleaseFailed, ReleaseNotRestored)):
                    document |= {"cause": error.cause, "incident": error.incident}
                print(json.dumps({**document, "exit_code": error.exit_code}, default=_plain), file=self._stderr)
                return
            if isinstance(error, LintFailed):
                for part in shown_findings(error.findings):
                    self._text(part, self._stderr)
            self._text(_styled("error: ", "bold red", error.message), self._stderr)
            for line in error.detail.splitlines():
                self._text(f"  {line}", self._stderr)
            if error.hint:
                self._text(_styled("next:  ", "bold", error.hint), self._stderr)

    def ask(self, question: str) -> str:
        """Ask on the terminal; cli has made sure that there is one."""
        with self._lock:
            self._progress.close()
            print(question, end="", file=self._stderr, flush=True)
            return sys.stdin.readline().strip()

    def _text(self, part: RenderableType, file: TextIO) -> None:
        _rich(file).print(part, soft_wrap=True)


def _plain(value: object) -> Any:
    """JSON for what asdict leaves: enums, dates, paths. Properties that users rely on stand in the dataclass."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not for users")


def _rich(file: TextIO) -> RichConsole:
    from rich.console import Console

    # Without a terminal there is no width to fit: lines stay whole for grep.
    return Console(file=file, highlight=False, markup=False, emoji=False, width=None if file.isatty() else 200)


def _styled(word: str, style: str, rest: str) -> RenderableType:
    from rich.text import Text

    return Text.assemble((word, style), rest)


# -- progress ----------------------------------------------------------------------------------------------------------


class _Progress:
    def show(self, event: Event) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """No more progress: leave the stream fit for a result."""


class _JsonLines(_Progress):
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, event: Event) -> None:
        document = {"event": type(event).__name__, **asdict(event)}
        print(json.dumps(document, default=_plain), file=self._file, flush=True)


@dataclass
class _Running:
    started: float
    text: str
    log: Path | None
    said: float


class _Lines(_Progress):
    """Plain lines: a step when it ends, a sign of life while it lasts, a rollout when it moves."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._running: dict[str, _Running] = {}
        self._pods = ""
        self._lost: Probed | None = None
        self._closed = threading.Event()
        self._heart: threading.Thread | None = None

    def show(self, event: Event) -> None:
        match event:
            case StepStarted(name, log):
                now = time.monotonic()
                self._running[name] = _Running(now, "", log, now)
                if self._heart is None:
                    self._heart = threading.Thread(target=self._beat, daemon=True)
                    self._heart.start()
            case StepProgressed(name, text):
                if name in self._running:
                    self._running[name].text = text
            case StepEnded(name):
                self._running.pop(name, None)
                self._print(_ended(event))
            case PodsChanged(summary, pods, elapsed):
                line = f"{summary}{_pods_line(pods)}"
                if line != self._pods:
                    self._pods = line
                    self._print(f"     {elapsed:6.1f} s  {line}")
            case Probed(receipt, elapsed):
                if self._news(event):
                    self._lost = event
                    self._print(f"     {elapsed:6.1f} s  {receipt.line}")
            case Note(text, warning):
                self._print(f"{'warn' if warning else 'note'}  {text}")
            case CommandRan(argv):
                self._print(f"$ {shlex.join(argv)}")

    def close(self) -> None:
        self._closed.set()

    def _news(self, probed: Probed) -> bool:
        """More requests were lost than was last said."""
        if self._lost is not None and probed.elapsed_seconds < self._lost.elapsed_seconds:
            self._lost = None  # another probing
        if self._lost is None:
            return probed.receipt.failed > 0
        return (
            probed.receipt.failed > self._lost.receipt.failed
            and probed.elapsed_seconds >= self._lost.elapsed_seconds + LOST_SECONDS
        )

    def _print(self, line: str) -> None:
        print(line, file=self._file, flush=True)

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            now = time.monotonic()
            for name, step in list(self._running.items()):
                log = f"  (log: {step.log})" if step.log and step.said == step.started else ""
                step.said = now
                self._print(f" ..  {name}  {duration(now - step.started)}  {step.text}{log}".rstrip())


class _Terminal(_Progress):
    """Finished steps scroll up; running ones stay below with a spinner, elapsed time, the rollout's pods
    and what the service's clients see."""

    def __init__(self, file: TextIO) -> None:
        self._console = _rich(file)
        self._running: dict[str, _Running] = {}
        self._pods: PodsChanged | None = None
        self._receipt: Receipt | None = None
        self._probed = 0.0
        self._live: Live | None = None

    def show(self, event: Event) -> None:
        match event:
            case StepStarted(name, log):
                self._running[name] = _Running(time.monotonic(), "", log, 0)
                self._open()
            case StepProgressed(name, text):
                if name in self._running:
                    self._running[name].text = text
            case StepEnded(name, failed=failed):
                self._running.pop(name, None)
                if self._pods is not None:
                    self._console.print(_pods_table(self._pods.pods))
                    self._pods = None
                self._console.print(_ended(event), style="red" if failed else None, soft_wrap=True)
                if not self._running:
                    self.close()
            case PodsChanged():
                self._pods = event
            case Probed(receipt):
                self._receipt, self._probed = receipt, time.monotonic()
            case Note(text, warning):
                self._console.print(
                    f"{'warn' if warning else 'note'}  {text}", style="yellow" if warning else None, soft_wrap=True
                )
            case CommandRan(argv):
                self._console.print(f"$ {shlex.join(argv)}", style="dim", soft_wrap=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _open(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, get_renderable=self._now, refresh_per_second=8, transient=True)
            self._live.start()

    def _now(self) -> RenderableType:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, step in list(self._running.items()):
            table.add_row(
                Spinner("dots"),
                name,
                duration(time.monotonic() - step.started),
                step.text[-60:] or (f"log: {step.log}" if step.log else ""),
            )
        parts: list[RenderableType] = [table]
        if self._pods is not None:
            parts += [_pods_table(self._pods.pods), f"  {self._pods.summary}"]
        if self._receipt and time.monotonic() < self._probed + STALE_SECONDS:
            parts.append(Text(f"  {self._receipt.line}", style="red" if self._receipt.failed else "green"))
        return Group(*parts)


def _ended(event: StepEnded) -> str:
    mark = "FAIL" if event.failed else "ok"
    log = f"  (log: {event.log})" if event.failed and event.log else ""
    return f"{mark:<4} {event.name:<20} {duration(event.elapsed_seconds):>8}  {event.detail}{log}".rstrip()


def _pods_line(pods: tuple[PodState, ...]) -> str:
    return "".join(f"  {_short(pod.name)}={pod.progress}" for pod in pods)


def _short(pod: str) -> str:
    """The pod's own suffix: what tells it from its siblings."""
    return pod.rsplit("-", 1)[-1]


def _pods_table(pods: tuple[PodState, ...]) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for pod in pods:
        marks = [
            f"[{'x' if reached else ' '}] {word}"
            for word, reached in (
                ("scheduled", pod.scheduled),
                ("pulled", pod.pulled),
                ("started", pod.started),
                ("ready", pod.ready),
            )
        ]
        trouble = pod.progress if pod.progress not in ("pending", "scheduled", "pulled", "started", "ready") else ""
        table.add_row(" ", _short(pod.name), *marks, trouble)
    return table
