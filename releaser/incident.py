"""The black box of a failed release: what is kept before anything is rolled back, and how it reads. Pure.

`Incident` is what incident.json holds; `report` is what report.md says.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from releaser.models import Image, ObjectEvent, PodProblem, PodState, Receipt, Revision

_TRACEBACK = "Traceback (most recent call last):"
# The first line after a traceback's indented ones: the exception itself.
_BLOCK = re.compile(rf"^[^\n]*{re.escape(_TRACEBACK)}\n(?:[ \t]+[^\n]*\n|\n)+[^\s][^\n]*", re.M)
# of an error on the screen, which is indented by two
_LINE = 78
_TROUBLE = re.compile(r"error|critical|fatal|exception|\bfail|refused|denied", re.I)


@dataclass(frozen=True)
class ContainerLog:
    """What one container wrote; `previous`: in its run before the last restart."""

    pod: str
    container: str
    previous: bool
    text: str

    @property
    def file_name(self) -> str:
        return f"{self.pod}.{self.container}{'.previous' if self.previous else ''}.log"


@dataclass(frozen=True)
class ValueChange:
    """A value that differs from the last good revision; None: it isn't there."""

    address: str
    before: str | None
    after: str | None

    @property
    def line(self) -> str:
        return f"{self.address}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True)
class Changes:
    """What the failed revision changed against the last good one."""

    good: Revision
    image_before: str
    image_after: str
    values: tuple[ValueChange, ...]
    manifest: str
    """Unified diff of the manifests, secrets masked."""

    @property
    def line(self) -> str:
        """In one line, for the screen: as many values as fit, one at least. The image is named by its tag alone."""
        new_image = self.image_before != self.image_after
        image = f"image {self.image_after.rpartition(':')[2]}" if new_image else ""
        names = [each.address for each in self.values if not (new_image and each.address.startswith("image."))]
        line = ""
        for count in range(len(names), -1, -1):
            more = f" and {len(names) - count} more" if count < len(names) else ""
            said = "; ".join(part for part in (", ".join(names[:count]) + more, image) if part)
            line = f"changed since revision {self.good.number}: {said or ('the chart' if self.manifest else 'nothing')}"
            if len(line) <= _LINE or count == 1:
                break
        return line


@dataclass(frozen=True)
class Incident:
    """One failed revision, as it was found."""

    environment: str
    release: str
    namespace: str
    context: str
    revision: Revision
    image: Image
    at: datetime
    problem: PodProblem
    problems: tuple[PodProblem, ...]
    telling_line: str
    traceback: str
    changes: Changes | None
    pods: tuple[PodState, ...]
    events: tuple[ObjectEvent, ...]
    logs: tuple[ContainerLog, ...]
    receipt: Receipt | None = None
    done: str = ""

    @property
    def name(self) -> str:
        return f"{self.release}-r{self.revision.number}"


def last_traceback(text: str) -> str:
    """The last Python traceback in a log, also when it stands inside a JSON record; empty when there is none.

    A container's two streams are one log: records on stdout may stand amid a traceback on stderr.
    """
    lines = (_Line.read(line) for line in text.splitlines())
    plain = "\n".join(line.text for line in lines if not line.recorded)
    found = ""
    for match in _BLOCK.finditer(plain + "\n"):
        found = match[0]
    return found.strip()


def telling_line(text: str) -> str:
    """The line of a log that says most about a failure: the exception, else the last line of trouble, else the last."""
    if traceback := last_traceback(text):
        return traceback.splitlines()[-1]
    lines = [_Line.read(line).text.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _TROUBLE.search(line)), lines[-1] if lines else "")


def value_changes(before: dict[str, str], after: dict[str, str]) -> tuple[ValueChange, ...]:
    """Leaves by address that differ."""
    addresses = [*before, *(address for address in after if address not in before)]
    return tuple(
        ValueChange(address, before.get(address), after.get(address))
        for address in addresses
        if before.get(address) != after.get(address)
    )


def manifest_diff(before: str, after: str, names: tuple[str, str]) -> str:
    """Unified diff of two masked manifests."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=3)
    return "\n".join(lines)


def report(incident: Incident) -> str:
    """report.md: first what an operator wants to know at night, then the evidence."""
    revision, problem = incident.revision, incident.problem
    parts = [
        f"# {incident.release}: revision {revision.number} failed in {incident.environment}",
        _bullets(
            ("cause", f"**{problem.cause}**, {problem.where}"),
            ("message", problem.message),
            ("telling line", f"`{incident.telling_line}`" if incident.telling_line else ""),
            ("done", incident.done or "nothing yet"),
            ("what to do", problem.cause.link),
            ("at", f"{incident.at:%Y-%m-%d %H:%M:%S} UTC"),
            ("by", f"{revision.source.user or '?'}@{revision.source.host or '?'}, commit {revision.source.revision}"),
            ("image", f"{incident.image.ref} ({incident.image.id or 'digest unknown'})"),
            ("where", f"namespace {incident.namespace}, context {incident.context}"),
            ("requests", incident.receipt.line if incident.receipt else ""),
        ),
    ]
    others = [each for each in incident.problems if each != problem]
    if others:
        parts += ["## Other signs", _bullets(*((str(p.cause), f"{p.where}: {p.message}") for p in others))]
    if incident.traceback:
        parts += ["## Last traceback", _fenced(incident.traceback)]
    parts += _changes(incident.changes)
    parts += ["## Pods", _pods(incident.pods), "## Events", _events(incident.events)]
    if incident.logs:
        parts += ["## Logs", "\n".join(f"- [{log.file_name}](logs/{log.file_name})" for log in incident.logs)]
    for log in incident.logs:
        if log.pod in _troubled(incident):
            parts += [f"The last lines of {log.file_name}:", _fenced(_tail(log.text))]
    return "\n\n".join(part for part in parts if part) + "\n"


# -- inside ------------------------------------------------------------------------------------------------------------


def _changes(changes: Changes | None) -> list[str]:
    if changes is None:
        return ["## What changed", "No good revision to compare with."]
    parts = [f"## What changed since revision {changes.good.number}", f"image: {changes.image_before or '?'}"]
    if changes.image_before != changes.image_after:
        parts[-1] += f" -> {changes.image_after or '?'}"
    else:
        parts[-1] += " (the same)"
    values = "\n".join(f"- `{change.line}`" for change in changes.values)
    return [*parts, values or "values: the same", _fenced(changes.manifest, "diff") if changes.manifest else ""]


def _pods(pods: Sequence[PodState]) -> str:
    rows = [
        (
            pod.name,
            pod.progress,
            str(pod.restarts),
            pod.node or "-",
            "; ".join(
                f"{c.name}: {c.waiting_reason or c.terminated_reason or ('running' if c.running else '-')}"
                + (
                    f", last exit {c.last_exit_code} {c.last_terminated_reason}".rstrip()
                    if c.last_exit_code is not None
                    else ""
                )
                for c in (*pod.init_containers, *pod.containers)
            ),
        )
        for pod in pods
    ]
    return _table(("pod", "state", "restarts", "node", "containers"), rows) if rows else "none"


def _events(events: Sequence[ObjectEvent]) -> str:
    rows = [
        (
            f"{event.last_seen:%H:%M:%S}" if event.last_seen else "",
            "warning" if event.warning else "",
            event.where,
            event.reason,
            f"{event.message}{f' (x{event.count})' if event.count > 1 else ''}",
        )
        for event in events
    ]
    return _table(("time", "", "object", "reason", "message"), rows) if rows else "none"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(headings), "|" + " --- |" * len(headings), *map(line, rows)])


def _bullets(*pairs: tuple[str, str]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in pairs if text)


def _fenced(text: str, language: str = "") -> str:
    return f"~~~{language}\n{text}\n~~~"


def _troubled(incident: Incident) -> set[str]:
    """The pods whose last words belong into the report; those of all others are in their files."""
    return {problem.pod for problem in incident.problems} | {pod.name for pod in incident.pods if pod.phase == "Failed"}


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-15:])


def _shown(value: str | None) -> str:
    return "(not set)" if value is None else value


@dataclass(frozen=True)
class _Line:
    """A line of a log: as it is, or what a JSON record says."""

    text: str
    recorded: bool

    @classmethod
    def read(cls, line: str) -> _Line:
        document = _record(line)
        if document is None:
            return cls(line, recorded=False)
        traceback = next((v for v in document.values() if isinstance(v, str) and _TRACEBACK in v), None)
        if traceback is not None:
            return cls(traceback, recorded=False)
        level, message = (_first(document, keys) for keys in (("level", "severity", "levelname"), ("message", "msg")))
        return cls(f"{level}: {message}" if level and message else message or line, recorded=True)


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _first(document: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(document[key]) for key in keys if document.get(key)), "")
