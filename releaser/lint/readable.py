"""Files that can't be read at all: said once, here; other layers leave them alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import MOST_BYTES, Unreadable, decoded
from releaser.models import Finding


def findings(subject: Subject) -> Iterator[Finding]:
    for path in (subject.chart / "Chart.yaml", subject.defaults_file):
        if not path.exists():
            yield rule("file/missing").found(subject.shown(path))
    for path in subject.yaml_files:
        shown = subject.shown(path)
        try:
            subject.load(path)
        except Unreadable as exc:
            name = "unreadable"
            if path.stat().st_size > MOST_BYTES:
                name = "too-big"
            elif "a mapping is wanted" in exc.reason:
                name = "not-a-mapping"
            yield rule(f"file/{name}").found(shown, exc.line, exc.column, exc.reason)
    for path in sorted(subject.chart.rglob("*")):
        if "templates" in path.relative_to(subject.chart).parts and path.is_file():
            yield from _template(subject, path)


def _template(subject: Subject, path: Path) -> Iterator[Finding]:
    if path.stat().st_size > MOST_BYTES:
        megabytes = f"it has {path.stat().st_size / 1e6:.1f} MB"
        yield rule("file/too-big").found(subject.shown(path), 0, 0, megabytes)
        return
    try:
        decoded(path)
    except Unreadable as exc:
        yield rule("file/unreadable").found(subject.shown(path), exc.line, exc.column, exc.reason)
