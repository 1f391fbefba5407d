"""Finds the external programs: on PATH when the version there is usable, else among those that `releaser up` built.

Built tools stand in `bin_directory()`: $XDG_CACHE_HOME/releaser/bin.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from releaser.adapters.process import Process
from releaser.errors import Refused, ReleaserError, ToolMissing


@dataclass(frozen=True)
class Requirement:
    """A tool, how it tells its version, and which versions will do."""

    name: str
    version_arguments: tuple[str, ...]
    wanted: str
    usable: Callable[[tuple[int, ...]], bool]


REQUIREMENTS = {
    requirement.name: requirement
    for requirement in (
        Requirement("helm", ("version", "--template", "{{ .Version }}"), "4.x", lambda v: v[0] == 4),
        Requirement("minikube", ("version", "--short"), ">= 1.36", lambda v: v >= (1, 36)),
        Requirement("kubectl", ("version", "--client", "-o", "json"), ">= 1.34", lambda v: v >= (1, 34)),
    )
}


@dataclass(frozen=True)
class Found:
    """A usable program and its version."""

    name: str
    path: Path
    version: str


def cache_directory() -> Path:
    """Everything of releaser's that can be made again: $XDG_CACHE_HOME/releaser."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "releaser"


def bin_directory() -> Path:
    return cache_directory() / "bin"


class Tools:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._find = cache(self._look)  # a tool's version is asked once

    def path(self, name: str) -> Path:
        """The program to run. Raises ToolMissing with the command that mends it."""
        found = self._find(name)
        if found is None:
            raise ToolMissing(
                f"{name} {REQUIREMENTS[name].wanted} is needed and was found neither on PATH nor in {bin_directory()}",
                hint="releaser up builds what is missing; releaser doctor shows what was found",
            )
        return found.path

    def find(self, name: str) -> Found | None:
        return self._find(name)

    def forget(self) -> None:
        """After something was built: look again."""
        self._find.cache_clear()

    def version(self, name: str, path: Path) -> str:
        """What the program says of its own version, without a leading v; empty when it doesn't answer.

        Remembered for as long as the file stays the same: some programs take seconds to say it.
        """
        state = path.stat()
        key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
        known = _remembered()
        if key not in known:
            known[key] = self._ask_version(name, path)
            _remember(known)
        return known[key]

    def _ask_version(self, name: str, path: Path) -> str:
        try:
            finished = self._process.run(
                [path, *REQUIREMENTS[name].version_arguments],
                doing=f"asking {name} for its version",
                deadline_seconds=20,
                check=False,
            )
        except ReleaserError:
            return ""
        return _version_in(finished.stdout)

    def _look(self, name: str) -> Found | None:
        built = bin_directory() / name
        on_path = shutil.which(name)
        for path in (Path(on_path) if on_path else None, built if built.exists() else None):
            if path is None:
                continue
            version = self.version(name, path)
            if version and REQUIREMENTS[name].usable(_numbers(version)):
                return Found(name, path, version)
        return None


def _remembered() -> dict[str, str]:
    try:
        known = json.loads((cache_directory() / "versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, str]) -> None:
    """A memory only: where it can't be written, the next run asks again."""
    path = cache_directory() / "versions.json"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".versions.{os.getpid()}")
        part.write_text(json.dumps(known, indent=1), encoding="utf-8")
        part.rename(path)


def _version_in(text: str) -> str:
    match = re.search(r"v?(\d+\.\d+(?:\.\d+)?)", text)
    return match[1] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold a lock of this user's against another run of the same; it ends with the process. Raises Refused."""
    path = cache_directory() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.seek(0)
            raise Refused(
                f"another `releaser {name}` is at work (process {file.read().strip() or 'unknown'})",
                hint="wait for it to end, or end it, then repeat",
            ) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
