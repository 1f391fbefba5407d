"""`releaser package` and `releaser push`: the chart as an archive made of its content alone, and into a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from releaser.errors import InvalidInput, Refused
from releaser.located import load_mapping
from releaser.models import Packaged, Pushed, Reporter
from releaser.settings import Project
from releaser.steps import step


class Archives(Protocol):
    """Charts as archives, here and in OCI registries. A repository is oci://HOST/PATH, without the chart's name."""

    def package(self, chart: Path, directory: Path) -> Packaged: ...

    def published(self, repository: str, chart: str, version: str) -> str:
        """Digest of the archive that the registry has under this version; empty when it has none."""
        ...

    def push(self, packaged: Packaged, repository: str) -> None: ...


def package(project: Project, archives: Archives, directory: Path, reporter: Reporter) -> Packaged:
    """NAME-VERSION.tgz in the directory. The same chart makes the same bytes, wherever and whenever it is packaged."""
    with step(reporter, "package chart") as running:
        packaged = archives.package(project.chart, directory)
        running.detail = f"{packaged.archive.name}  {packaged.digest}"
    return packaged


def push(project: Project, archives: Archives, repository: str, packaged: Packaged, reporter: Reporter) -> Pushed:
    """The chart into an OCI registry. What is there already isn't sent again.

    Raises InvalidInput for what isn't an OCI repository, Refused when this version is there with other content.
    """
    if not repository.startswith("oci://"):
        raise InvalidInput(
            f"While pushing the chart: {repository} is not an OCI repository", hint="releaser push oci://HOST/PATH"
        )
    name, version = _identity(project)
    reference = f"{repository.rstrip('/')}/{name}:{version}"
    with step(reporter, "push chart") as running:
        there = archives.published(repository, name, version)
        if there and there != packaged.digest:
            raise Refused(
                f"While pushing the chart: {reference} is there already, with other content",
                detail=f"there: {there}\nhere:  {packaged.digest}",
                hint=f"raise version in {project.chart / 'Chart.yaml'}",
            )
        if not there:
            archives.push(packaged, repository)
        running.detail = f"{'already at' if there else 'to'} {reference}"
    return Pushed(reference, packaged.digest, sent=not there)


def _identity(project: Project) -> tuple[str, str]:
    data = load_mapping(project.chart / "Chart.yaml").data
    return str(data["name"]), str(data["version"])
