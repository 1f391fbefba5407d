"""Files that can't be read at all: said once, here; other layers leave them alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import NoMapping, TooBig, Unreadable, decoded
from releaser.models import Finding


def findings(subject: Subject) -> Iterator[Finding]:
    for path, severity in ((subject.chart / "Chart.yaml", "error"), (subject.defaults_file, "warning")):
        if not os.path.lexists(path):
            yield rule("file/missing").found(subject.shown(path), severity=severity)
    for path in subject.yaml_files:
        try:
            subject.load(path)
        except Unreadable as exc:
            yield _told(subject, path, exc)
    try:
        templates = subject.template_files
    except Unreadable as exc:
        yield _told(subject, exc.path, exc)
        return
    for path in templates.values():
        try:
            decoded(path)
        except Unreadable as exc:
            yield _told(subject, path, exc)


def _told(subject: Subject, path: Path, exc: Unreadable) -> Finding:
    kinds = {TooBig: "too-big", NoMapping: "not-a-mapping"}
    name = kinds.get(type(exc), "unreadable")
    return rule(f"file/{name}").found(subject.shown(path), exc.line, exc.column, exc.reason)
