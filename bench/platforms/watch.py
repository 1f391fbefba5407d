"""When a service is as it should be, seen by asking it; and what its users get meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from releaser import prober

_IN_A_ROW = 10
# a translated machine answers some tens of requests a second in all
_PAUSE_SECONDS = 0.1
_ANSWER_SECONDS = 2.0
_ENDING_SECONDS = 30


@dataclass(frozen=True)
class Wanted:
    """So many different instances answer, all of them with this version, and none of them is `gone`."""

    version: str
    instances: int
    gone: str = ""

    def met_by(self, answers: list[dict[str, Any]]) -> bool:
        """By the newest answers, of which none failed."""
        names = {str(answer.get("pod")) for answer in answers}
        new = all(answer.get("version") == self.version for answer in answers)
        return len(answers) >= _IN_A_ROW and new and len(names) >= self.instances and self.gone not in names


def seconds_until(
    url: str, wanted: Wanted, started: float, most_seconds: float, over: threading.Event | None = None
) -> float | None:
    """Seconds from `started` (monotonic) to the first of the answers in a row that meet what is wanted; None when that
    took longer than `most_seconds`, or nobody waits for it any more (`over`). Each question has a connection of its
    own, since Services balance connections."""
    over = over or threading.Event()
    row: list[tuple[float, dict[str, Any]]] = []
    while time.monotonic() < started + most_seconds and not over.is_set():
        asked = time.monotonic()
        try:
            answer = requests.get(f"{url}/version", timeout=_ANSWER_SECONDS)
            said = answer.json() if answer.status_code == 200 else {}
        except (requests.RequestException, ValueError):
            said = {}
        fits = said.get("version") == wanted.version and said.get("pod") != wanted.gone
        row = [*row, (asked, said)] if fits else []
        if wanted.met_by([each for _, each in row]):
            return _complete(row, wanted.instances) - started
        over.wait(_PAUSE_SECONDS)
    return None


def _complete(row: list[tuple[float, dict[str, Any]]], instances: int) -> float:
    """When the last of the instances was first heard of."""
    first: dict[str, float] = {}
    for asked, said in row:
        first.setdefault(str(said.get("pod")), asked)
    return sorted(first.values())[instances - 1]


@dataclass
class Done:
    """A command and what was wanted of it."""

    command_seconds: float = 0.0
    wanted_seconds: float | None = None


def run_and_watch(command: Callable[[], None], url: str, wanted: Wanted, most_seconds: float) -> Done:
    """Run the command, and see beside it when what is wanted of it is there: from the command's start.

    Raises SystemExit when it never is.
    """
    done, over = Done(), threading.Event()
    started = time.monotonic()

    def watch() -> None:
        done.wanted_seconds = seconds_until(url, wanted, started, most_seconds, over)

    # the command stays in this thread: machines that it starts end with the thread that started them
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        command()
        done.command_seconds = time.monotonic() - started
    except BaseException:
        over.set()
        raise
    finally:
        watcher.join()
    if done.wanted_seconds is None:
        raise SystemExit(f"{url}: {wanted} was not reached within {most_seconds:.0f} s")
    return done


@dataclass
class Receipt:
    """What releaser/prober.py counted; empty while it runs."""

    counted: dict[str, Any] = field(default_factory=dict)


@contextmanager
def asking(url: str, rate: float) -> Iterator[Receipt]:
    """Requests at a fixed rate, whatever comes of them, as long as the context lasts."""
    receipt = Receipt()
    argv = [sys.executable, "-I", prober.__file__, url, "--rate", str(rate), "--path", "/version"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        lines.extend(process.stdout)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield receipt
    finally:
        process.send_signal(signal.SIGTERM)
        reader.join(_ENDING_SECONDS)
        process.kill()
        process.communicate()
    receipt.counted = final(lines)


def final(lines: list[str]) -> dict[str, Any]:
    """The last line's counters, by the names that results have. Raises SystemExit when the prober never came to it."""
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if not last.get("final"):
        raise SystemExit(f"the prober ended without its last line: {lines[-1:]}")
    names = ("sent", "failed", "longest_gap_seconds", "p50_seconds", "p99_seconds", "errors")
    return {name: last[name] for name in names}
