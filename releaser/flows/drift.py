"""`releaser drift ENV [--fix]`: which live fields differ from the release, who set them; and back to the release."""

from __future__ import annotations

from dataclasses import replace

from releaser.errors import ReleaseNotRestored
from releaser.flows.guard import Consent, require_consent
from releaser.flows.ports import Live
from releaser.flows.release import follow, installed, locked
from releaser.flows.restore import compare, extras, released, repair
from releaser.flows.target import Target
from releaser.models import Revision
from releaser.objects import Comparison, FieldDifference, KubeObject, extra, managers, masked
from releaser.plans import Drift, DriftedField
from releaser.steps import step


def drift(target: Target, live: Live, consent: Consent, *, fix: bool, wait: bool = True) -> Drift:
    """Raises Refused when nothing is installed; with `fix` Declined, and ReleaseNotRestored when something stays."""
    environment = target.environment
    _, found = _look(target, live)
    if not (fix and found.fields):
        return found
    require_consent(environment, f"drift {environment.name} --fix", consent)
    with locked(target, "drift --fix", wait=wait) as (target, _):
        manifests, found = _look(target, live)  # while we waited, somebody may have released
        target.still_ours()
        _fix(target, live, *manifests, found.fields)
    return replace(found, fixed=bool(found.fields))


def _look(target: Target, live: Live) -> tuple[tuple[str, str], Drift]:
    """The manifests of the revision that stands and of the newest, and how the live objects differ from the former."""
    revisions = installed(target)
    current = standing(revisions)
    manifest = target.helm.manifest(target.release, target.namespace, current.number)
    newest = target.helm.manifest(target.release, target.namespace, revisions[0].number)
    with step(target.reporter, "compare") as running:
        fields = drifted(target, live, manifest, newest)
        running.detail = f"{len(fields)} fields differ from revision {current.number}"
    found = Drift(target.environment.name, target.release, target.namespace, current.number, fields, fixed=False)
    return (manifest, newest), found


def standing(revisions: tuple[Revision, ...]) -> Revision:
    """The revision that live objects are held against: the newest that Helm calls deployed, else the newest."""
    return next((each for each in revisions if each.status == "deployed"), revisions[0])


def drifted(target: Target, live: Live, manifest: str, other: str = "") -> tuple[DriftedField, ...]:
    """As `prove_state`, with who set each field."""
    wanted = released(target, manifest)
    fields = [
        _drifted(each, compared) for compared in compare(target, live, wanted) for each in masked(compared.differences)
    ]
    left = extras(target, live, wanted, released(target, other))
    return (*fields, *map(_left, left))


def _drifted(found: FieldDifference, compared: Comparison) -> DriftedField:
    owners = managers(compared.live, found.address) if compared.live and found.address else ()
    return DriftedField(found.object_ref, found.address, found.wanted, found.live, owners)


def _left(one: KubeObject) -> DriftedField:
    found = extra(one)
    return DriftedField(found.object_ref, found.address, found.wanted, found.live, ())


def _fix(target: Target, live: Live, manifest: str, newest: str, fields: tuple[DriftedField, ...]) -> None:
    with step(target.reporter, "repair") as running:
        rest = repair(target, live, manifest, newest)
        running.detail = f"{len(fields)} fields, {len(rest)} still differ"
        running.failed = bool(rest)
    if rest:
        raise ReleaseNotRestored(
            f"{len(rest)} fields of {target.release} in {target.namespace} could not be repaired",
            detail="\n".join(f"{each.object_ref} {each.address}".strip() for each in rest),
            hint="a field that can't be changed needs its object deleted; then repeat with --fix",
        )
    if any(each.object.startswith("deployment/") for each in fields) and (problems := follow(target)):
        raise ReleaseNotRestored(
            "the fields are those of the release again, but its rollout failed: "
            f"{problems[0].cause}, {problems[0].where}",
            detail=problems[0].message,
            hint=f"releaser status {target.environment.name}; releaser logs {target.environment.name}",
        )
