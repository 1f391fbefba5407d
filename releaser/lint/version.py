"""The chart's version must rise when the chart changed since a commit of git: what it is to be merged into, or was last
released as. Without git, or without such a commit, there is nothing to compare with."""

from __future__ import annotations

from collections.abc import Iterator

import semver

from releaser.errors import InvalidInput
from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import Unreadable, parse
from releaser.models import Finding


def findings(subject: Subject) -> Iterator[Finding]:
    path = subject.chart / "Chart.yaml"
    repository = subject.repository
    commit = repository.base(subject.base) if repository else ""
    if repository is None or not commit:
        return
    before_text = repository.text(commit, path)
    if before_text is None:  # a new chart
        return
    changed = repository.changed(commit, subject.chart)
    try:
        located, before = subject.load(path), parse(before_text, path).data
    except (Unreadable, InvalidInput):
        return
    version, old = (_version(each) for each in (located.data, before))
    if not changed or version is None or old is None:
        return
    place = (subject.shown(path), *located.position(("version",)))
    if version < old:
        yield rule("version/lowered").found(*place, f"the version is {version}, in {commit[:9]} it was {old}")
    elif version == old:
        names = ", ".join(changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        text = f"the chart was changed since {commit[:9]} ({names}{more}), and its version is still {version}"
        yield rule("version/not-raised").found(*place, text)


def _version(chart: object) -> semver.Version | None:
    text = chart.get("version") if isinstance(chart, dict) else None
    text = text.removeprefix("v") if isinstance(text, str) else ""
    return semver.Version.parse(text) if semver.Version.is_valid(text) else None
