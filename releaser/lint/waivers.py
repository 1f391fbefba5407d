"""Waivers: findings that are known and borne, until a day. One that has expired, or that nothing needs, is a finding
itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from fnmatch import fnmatchcase

from releaser.lint.rules import rule, rules
from releaser.located import did_you_mean
from releaser.models import Finding
from releaser.settings import FILE, Waiver


def apply(
    found: Sequence[Finding], waivers: Sequence[Waiver], today: date, *, whole: bool
) -> tuple[list[Finding], list[Finding]]:
    """What is left, with findings about the waivers themselves, and what is waived. Not `whole`: not all layers ran, so
    a waiver that nothing needs may be needed."""
    valid = [each for each in waivers if each.expires >= today]
    waived = [finding for finding in found if any(_covers(each, finding) for each in valid)]
    known = set(waived)
    left = [finding for finding in found if finding not in known]
    return [*left, *_about(waivers, found, today, whole)], waived


def _covers(waiver: Waiver, finding: Finding) -> bool:
    if not fnmatchcase(finding.rule, waiver.rule):
        return False
    return not waiver.where or any(fnmatchcase(each, waiver.where) for each in (finding.file, finding.object) if each)


def _about(waivers: Sequence[Waiver], found: Sequence[Finding], today: date, whole: bool) -> Iterator[Finding]:
    for each in waivers:
        place = (FILE, each.line, each.column)
        needed = any(_covers(each, finding) for finding in found)
        if not any(fnmatchcase(known, each.rule) for known in rules()):
            text = f'there is no rule "{each.rule}"{did_you_mean(each.rule, list(rules()))}'
            yield rule("waiver/unknown-rule").found(*place, text)
        elif each.expires < today:
            text = f"the waiver of {each.rule} ended on {each.expires:%Y-%m-%d} ({each.reason})"
            yield rule("waiver/expired").found(*place, text)
        elif whole and not needed:
            yield rule("waiver/unused").found(*place, f"nothing needs the waiver of {each.rule} any more")
