"""The proof that the live objects are those of a manifest, field by field; and how they are made so."""

from __future__ import annotations

from collections.abc import Sequence

from releaser.errors import ReleaserError
from releaser.flows.ports import Live
from releaser.flows.target import Target
from releaser.models import Note
from releaser.objects import (
    Comparison,
    FieldDifference,
    KubeObject,
    as_released,
    extra,
    masked,
    parse_manifest,
)


def prove_state(target: Target, live: Live, manifest: str, other: str = "") -> tuple[FieldDifference, ...]:
    """All in which the live objects differ from the manifest, secrets masked; empty is the proof.

    Objects that the release owns and the manifest lacks count, of the kinds of this manifest and of `other`, as a rule
    that of the revision that failed.
    """
    wanted = released(target, manifest)
    found = [each for compared in compare(target, live, wanted) for each in compared.differences]
    return masked([*found, *map(extra, extras(target, live, wanted, released(target, other)))])


def repair(target: Target, live: Live, manifest: str, other: str = "") -> tuple[FieldDifference, ...]:
    """Make the live objects what the manifest says, and prove it: what still differs, secrets masked.

    A repaired Deployment may roll new pods: that is the caller's to follow.
    """
    wanted = released(target, manifest)
    for compared in compare(target, live, wanted):
        if compared.differences:
            _try(target, compared, live)
    for one in reversed(extras(target, live, wanted, released(target, other))):
        live.delete(one)
    return prove_state(target, live, manifest, other)


def released(target: Target, manifest: str) -> tuple[KubeObject, ...]:
    """The manifest's objects as Helm sends them."""
    return as_released(parse_manifest(manifest, target.namespace), target.release, target.namespace)


def compare(target: Target, live: Live, wanted: Sequence[KubeObject]) -> tuple[Comparison, ...]:
    """Each object beside the live one. Where the API server can't say what it would be, so is said."""
    comparisons = tuple(live.compare(each) for each in wanted)
    for compared in comparisons:
        if compared.inexact:
            text = f"{compared.wanted.ref}: only the fields of its manifest were compared: {compared.inexact}"
            target.reporter.emit(Note(text, warning=True))
    return comparisons


def extras(
    target: Target, live: Live, wanted: Sequence[KubeObject], others: Sequence[KubeObject]
) -> tuple[KubeObject, ...]:
    """Live objects of the release that are none of the wanted ones."""
    known = {each.identity for each in wanted}
    owned = live.owned(target.release, target.namespace, [*wanted, *others])
    return tuple(each for each in owned if each.identity not in known)


def _try(target: Target, compared: Comparison, live: Live) -> None:
    """One object that can't be repaired must not keep the others from it; the proof names it afterwards."""
    try:
        live.restore(compared)
    except ReleaserError as exc:
        target.reporter.emit(Note(f"{exc.message}{f': {exc.detail}' if exc.detail else ''}", warning=True))
