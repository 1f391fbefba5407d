"""What releaser writes on Helm's own release records, as labels: who, which commit, which image, and the verdict.

Helm copies labels from the revision that a rollback returns to, so the verdict names the revision that it was passed
on: `good.7` says nothing of revision 9. A revision counts as good only while its own number stands there.

Labels are short. What doesn't fit (duration, receipt, cause, incident, plan) is an entry in the ledger: a ConfigMap
beside the records, one JSON document a revision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from releaser.models import Image, LedgerEntry, Receipt, Revision, Source, Verdict

_VERDICT = "releaser/verdict"
_EXPERIMENT = "releaser/experiment"
_USER, _HOST, _COMMIT, _DIRTY = "releaser/user", "releaser/host", "releaser/commit", "releaser/dirty"
_REPOSITORY, _TAG = "releaser/image-repository", "releaser/image-tag"


@dataclass(frozen=True)
class HelmRevision:
    """One line of `helm history`. `rollback_of` is the revision that this one returned to, 0 for an upgrade."""

    number: int
    status: str
    updated: datetime
    description: str
    rollback_of: int = 0


def labels(source: Source, image: Image) -> dict[str, str]:
    """For `helm upgrade --labels`. Characters that a label can't hold become `_`."""
    given = {
        _COMMIT: source.commit,
        _DIRTY: str(source.dirty).lower(),
        _REPOSITORY: image.repository.replace("/", "__"),
        _TAG: image.tag,
    }
    return {**{key: _label(value) for key, value in given.items()}, **who(source)}


def who(source: Source) -> dict[str, str]:
    """Who works, and where: Helm copies these labels to a rollback, which may be somebody else's work."""
    return {_USER: _label(source.user), _HOST: _label(source.host)}


def verdict_label(number: int, verdict: Verdict) -> dict[str, str]:
    return {_VERDICT: f"{verdict}.{number}"}


def experiment_labels(number: int, name: str) -> dict[str, str]:
    """Of a revision that `releaser verify` makes: nobody ever returns to it, even if its maker is killed."""
    return {_EXPERIMENT: f"{name}.{number}", **verdict_label(number, Verdict.FAILED)}


def experiment_of(number: int, record: Mapping[str, str]) -> str:
    """The experiment that the revision was made for; empty for any other revision."""
    name, _, made = record.get(_EXPERIMENT, "").rpartition(".")
    return name if made == str(number) else ""


def entry_text(entry: LedgerEntry) -> str:
    """An entry as it is kept."""
    return json.dumps(asdict(entry), separators=(",", ":"))


def revisions(
    helm: tuple[HelmRevision, ...], records: Mapping[int, Mapping[str, str]], entries: Mapping[int, str]
) -> tuple[Revision, ...]:
    """Helm's history with what the labels of its records and the ledger's entries add, newest first."""
    by_number = {each.number: each for each in helm}
    return tuple(
        _revision(by_number[number], by_number, records.get(number, {}), entries.get(number, ""))
        for number in sorted(by_number, reverse=True)
    )


def newest_good(history: tuple[Revision, ...], before: Revision) -> Revision | None:
    """Where a rollback from `before` goes: the newest earlier revision proven good that differs from it."""
    for revision in history:
        if revision.number < before.number and revision.verdict is Verdict.GOOD and revision.content != before.content:
            return revision
    return None


def _revision(helm: HelmRevision, known: Mapping[int, HelmRevision], record: Mapping[str, str], entry: str) -> Revision:
    repository = record.get(_REPOSITORY, "").replace("__", "/")
    tag = record.get(_TAG, "")
    known_more = _entry(entry)
    return Revision(
        number=helm.number,
        status=helm.status,
        verdict=_verdict(helm.number, record.get(_VERDICT, "")),
        updated=helm.updated,
        source=Source(
            user=record.get(_USER, ""),
            host=record.get(_HOST, ""),
            commit=record.get(_COMMIT, ""),
            dirty=record.get(_DIRTY) == "true",
        ),
        image=known_more.image or (f"{repository}:{tag}" if tag else ""),
        description=helm.description,
        content=_content(helm, known),
        entry=known_more,
    )


def _entry(text: str) -> LedgerEntry:
    """An entry that was kept; one that can't be read (another version's, or somebody's edit) counts as empty."""
    try:
        known: dict[str, Any] = json.loads(text or "{}")
        receipt = known.pop("receipt", None)
        return LedgerEntry(**known, receipt=_receipt(receipt) if receipt else None)
    except (TypeError, ValueError, AttributeError, KeyError):
        return LedgerEntry()


def _receipt(kept: dict[str, Any]) -> Receipt:
    for key in ("versions", "pods", "errors"):
        kept[key] = tuple((str(name), int(count)) for name, count in kept[key])
    return Receipt(**kept)


def _verdict(number: int, label: str) -> Verdict:
    verdict, _, judged = label.partition(".")
    return Verdict(verdict) if judged == str(number) and verdict in set(Verdict) else Verdict.UNKNOWN


def _content(helm: HelmRevision, known: Mapping[int, HelmRevision]) -> int:
    while helm.rollback_of:
        if helm.rollback_of not in known:
            return helm.rollback_of
        helm = known[helm.rollback_of]
    return helm.number


def _label(value: str) -> str:
    """A valid label value: at most 63 of [A-Za-z0-9._-], alphanumeric at both ends."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", value)[:63].strip("._-")
