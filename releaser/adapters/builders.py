"""The two ways in which Docker builds: BuildKit, through the CLI's plug-in buildx, and the classic builder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Protocol, TextIO, cast

import docker

from releaser.adapters.dockerfile import instructions
from releaser.adapters.process import Process
from releaser.errors import ToolFailed

_BUILD_SECONDS = 1800.0
_SHOWN_LINES = 30
# "Step 3/9 : RUN make" of the classic builder, "#7 [app 2/3] RUN make" of BuildKit
_STEP = re.compile(r"(?:Step (?P<number>\d+/\d+) : |#\d+ \[(?P<stage>[^\]]+)\] )(?P<instruction>.*)")
# What BuildKit says at the end of the step that failed; a newer one shows the place in the Dockerfile as well.
_FAILED = re.compile(r" > \[[^\]]+\] (?P<instruction>.*):$")
_PLACE = ">>>"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class StepFailed(Exception):
    """A step of the Dockerfile ended the build, or the Dockerfile itself did. `reason` is the builder's last word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def told(self, dockerfile: Path, output: Output) -> str:
        """The failing instruction with its place, what it wrote, and the reason."""
        place = output.place_in(dockerfile)
        return "\n".join(filter(None, [place, *output.of_step[-_SHOWN_LINES:], self.reason]))


class Output:
    """What a build writes: every line goes into the log, the step and its newest line to whoever looks on."""

    def __init__(self, log: TextIO, on_line: Callable[[str], None]) -> None:
        self._log = log
        self._on_line = on_line
        self._step = ""
        self._number = 0
        self._failed = ""
        self._placed = False
        self.of_step: list[str] = []

    def write(self, text: str) -> None:
        for raw in text.splitlines():
            line = _COLOUR.sub("", raw).rstrip()
            if not line:
                continue
            self._log.write(line + "\n")
            self._log.flush()
            if match := _STEP.match(line):
                number = match["number"] or match["stage"]
                self._step, self.of_step = f"{number} {match['instruction']}", []
                self._number = int(match["number"].partition("/")[0]) if match["number"] else 0
                self._on_line(self._step)
            else:
                if match := _FAILED.match(line):
                    self._failed = " ".join(match["instruction"].split())
                self._placed = self._placed or _PLACE in line
                self.of_step.append(line)
                self._on_line(f"{self._step.split(' ')[0]} {line}" if self._step else line)

    def place_in(self, dockerfile: Path) -> str:
        """FILE:LINE >>> INSTRUCTION of the step that failed; nothing where the builder has shown it."""
        found = instructions(dockerfile.read_text(encoding="utf-8"))
        if self._placed:
            found = []
        elif 0 < self._number <= len(found):
            found = [found[self._number - 1]]
        else:
            found = [each for each in found if self._failed and " ".join(each[1].split()) == self._failed]
        return "".join(f"{dockerfile.name}:{line} {_PLACE} {text}" for line, text in found[:1])


@dataclass(frozen=True)
class Wanted:
    """The tag to give, the Dockerfile's name in the context, arguments, labels, and whether layers may be reused."""

    ref: str
    dockerfile: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    cache: bool = True


class Builder(Protocol):
    def build(self, wanted: Wanted, context: IO[bytes], output: Output) -> None:
        """Build what the archive holds, and tag the image. Raises StepFailed."""
        ...


class Classic:
    def __init__(self, client: docker.DockerClient) -> None:
        self._docker = client

    def build(self, wanted: Wanted, context: IO[bytes], output: Output) -> None:
        for part in self._docker.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile=wanted.dockerfile,
            tag=wanted.ref,
            buildargs=dict(wanted.arguments),
            labels=dict(wanted.labels),
            nocache=not wanted.cache,
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        ):
            if "error" in part:
                raise StepFailed(str(part["error"]).strip())
            output.write(str(part.get("stream", "")))


class BuildKit:
    def __init__(self, process: Process) -> None:
        self._process = process

    def build(self, wanted: Wanted, context: IO[bytes], output: Output) -> None:
        argv = [
            *("docker", "buildx", "build", "--load", "--progress=plain", "--network=host", "--provenance=false"),
            *("--tag", wanted.ref, "--file", wanted.dockerfile),
            *(["--no-cache"] if not wanted.cache else []),
            *(f"--build-arg={name}={value}" for name, value in wanted.arguments.items()),
            *(f"--label={name}={value}" for name, value in wanted.labels.items()),
            "-",
        ]
        with NamedTemporaryFile() as file:  # a program's input has to be a real file
            shutil.copyfileobj(context, file)
            file.seek(0)
            try:
                self._process.stream(
                    argv,
                    doing=f"building {wanted.ref}",
                    deadline_seconds=_BUILD_SECONDS,
                    on_line=output.write,
                    input=cast("IO[bytes]", file),
                )
            except ToolFailed as exc:
                raise StepFailed("") from exc


def has_buildx(process: Process) -> bool:
    finished = process.run(
        ["docker", "buildx", "version"], doing="looking for buildx", deadline_seconds=20, check=False
    )
    return finished.exit_status == 0 and "buildx" in finished.stdout
