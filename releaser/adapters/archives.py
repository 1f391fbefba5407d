"""Charts as archives, made by `helm package`, and in OCI registries, by `helm push` and `helm pull`."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import InvalidInput, ToolFailed
from releaser.models import Packaged

_DEADLINE_SECONDS = 300.0
# Helm writes the times of files into the archive, and that of the archive into the registry's manifest. 1980-01-01: the
# first day that every format of archive can hold.
_TIME = 315532800


class ChartArchives:
    """Helm logs in by itself: with what `helm registry login` or Docker has stored."""

    def __init__(self, process: Process, tools: Tools, *, plain_http: bool = False) -> None:
        self._process = process
        self._tools = tools
        self._transport = ("--plain-http",) if plain_http else ()

    def package(self, chart: Path, directory: Path) -> Packaged:
        """Raises InvalidInput with Helm's message when the chart can't be packaged."""
        with TemporaryDirectory(prefix="releaser-") as name:
            copy = Path(name) / chart.name
            shutil.copytree(chart, copy)
            for path in (copy, *copy.rglob("*")):
                os.utime(path, (_TIME, _TIME))
            made = Path(name) / "made"
            try:
                self._helm("package", str(copy), "--destination", str(made))
            except ToolFailed as exc:
                raise InvalidInput(
                    f"While packaging {chart}: Helm refuses the chart", detail=exc.stderr.strip(), hint="releaser lint"
                ) from exc
            [archive] = made.iterdir()
            directory.mkdir(parents=True, exist_ok=True)
            target = directory / archive.name
            shutil.copyfile(archive, target)
        os.utime(target, (_TIME, _TIME))
        return Packaged(target, _digest(target))

    def published(self, repository: str, chart: str, version: str) -> str:
        """Raises ToolFailed when the registry does not answer, or refuses."""
        with TemporaryDirectory(prefix="releaser-") as name:
            reference = f"{repository.rstrip('/')}/{chart}"
            try:
                self._helm("pull", reference, "--version", version, "--destination", name, *self._transport)
            except ToolFailed as exc:
                if "not found" in exc.stderr:
                    return ""
                raise
            [archive] = Path(name).iterdir()
            return _digest(archive)

    def push(self, packaged: Packaged, repository: str) -> None:
        """Raises ToolFailed when the registry does not answer, or refuses."""
        self._helm("push", str(packaged.archive), repository, *self._transport)

    def _helm(self, verb: str, *arguments: str) -> None:
        self._process.run(
            [self._tools.path("helm"), verb, *arguments],
            doing=f"running helm {verb}",
            deadline_seconds=_DEADLINE_SECONDS,
        )


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
