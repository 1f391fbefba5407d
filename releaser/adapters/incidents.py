"""Incidents as files: DIRECTORY/RELEASE-rREV/ with incident.json, report.md and logs/."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from releaser.errors import EnvironmentUnfit
from releaser.incident import Incident, report


class IncidentDirectory:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, incident: Incident, path: Path | None = None) -> Path:
        """Write an incident, or write it anew at `path`; whatever fails, none is left half written. Earlier ones are
        never written over: a revision number comes again in another environment, or after a release was removed."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".", dir=self._directory) as unfinished:
                made = _write(incident, Path(unfinished) / incident.name)
                path = path or self._free(incident.name)
                _put(made, path)
        except OSError as exc:
            raise EnvironmentUnfit(f"While keeping the incident in {self._directory}: {exc}") from exc
        return path

    def _free(self, name: str) -> Path:
        path, again = self._directory / name, 1
        while path.exists():
            again += 1
            path = self._directory / f"{name}.{again}"
        return path


def _write(incident: Incident, path: Path) -> Path:
    (path / "logs").mkdir(parents=True)
    for log in incident.logs:
        (path / "logs" / log.file_name).write_text(log.text, encoding="utf-8")
    document = json.dumps(asdict(incident), default=_plain, indent=2)
    (path / "incident.json").write_text(document + "\n", encoding="utf-8")
    (path / "report.md").write_text(report(incident), encoding="utf-8")
    return path


def _put(made: Path, path: Path) -> None:
    """The whole directory, or each file in place of the one that is there."""
    if not path.exists():
        made.rename(path)
        return
    for file in made.rglob("*"):
        if file.is_file():
            file.replace(path / file.relative_to(made))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an incident")
