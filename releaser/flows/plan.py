"""`releaser plan ENV`: what a deploy would change, asked of the API server by dry runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from releaser.errors import InvalidInput
from releaser.flows.build import app_version, build, load
from releaser.flows.drift import drifted, standing
from releaser.flows.ports import Live
from releaser.flows.release import history, require_no_pending
from releaser.flows.restore import released
from releaser.flows.target import Target, Workshop
from releaser.located import load_mapping
from releaser.models import Image
from releaser.objects import (
    Body,
    FieldDifference,
    KubeObject,
    Mark,
    Prediction,
    differences,
    leaves,
    masked,
    within,
)
from releaser.plans import Action, ObjectChange, Plan, PlannedField, digest, fingerprint, manifest_hash, sealed
from releaser.settings import Project
from releaser.steps import step
from releaser.values import with_image

_ROLLING = ("Deployment", "StatefulSet", "DaemonSet")


def plan(project: Project, target: Target, workshop: Workshop, live: Live, *, bind_image: bool = False) -> Plan:
    """`bind_image` builds the image, so that the plan holds its content; else it is only named.

    Raises InvalidInput when chart and values don't render, ReleasePending while another operation holds the release.
    """
    environment = target.environment
    revisions = history(target.release, target.namespace, target.helm, target.cluster)
    require_no_pending(target, revisions)
    image = _image(project, target, workshop, build_it=bind_image)
    secrets = workshop.store.pull_secrets(target.release)
    values = with_image(load_mapping(environment.values_file).data, image, secrets)
    with step(target.reporter, "render"):
        manifest = target.helm.render(target.release, target.namespace, project.chart, values)
    base = target.helm.manifest(target.release, target.namespace, standing(revisions).number) if revisions else ""
    with step(target.reporter, "compare") as running:
        wanted, last = released(target, manifest), released(target, base)
        changes, state = _changes(live, wanted, last)
        by_hand = drifted(target, live, base) if base else ()
        running.detail = f"{len(changes)} objects"
    return sealed(
        Plan(
            environment=environment.name,
            context=environment.context,
            cluster_uid=live.cluster_uid(),
            namespace=target.namespace,
            release=target.release,
            base_revision=revisions[0].number if revisions else 0,
            image=image.ref,
            image_id=image.id,
            chart_hash=_content(project.chart),
            values_hash=digest(environment.values_file.read_bytes()),
            manifest_hash=manifest_hash(wanted),
            live=state,
            changes=changes,
            by_hand=by_hand,
        )
    )


def _image(project: Project, target: Target, workshop: Workshop, *, build_it: bool) -> Image:
    """As pods will name it: what a registry gives a digest has to be there."""
    if build_it:
        image = build(project, workshop.images, target.source, target.reporter, workshop.store).image
        return load(project, image, workshop.store, target.reporter).image if workshop.store.pulled else image
    image = workshop.images.identify(project.image_repository, app_version(project), project.dockerfile)
    return workshop.store.named(image)


def _changes(
    live: Live, wanted: tuple[KubeObject, ...], last: tuple[KubeObject, ...]
) -> tuple[tuple[ObjectChange, ...], dict[str, dict[str, str]]]:
    """What happens to each object of the new manifest and of the last one, and the live state it was judged by."""
    known = {each.identity for each in wanted}
    predictions = [live.predict(each) for each in wanted]
    going = [(each, body) for each in last if each.identity not in known and (body := live.get(each)) is not None]
    changes = [*map(_change, predictions), *(_deletion(one, body) for one, body in going)]
    state = {each.wanted.ref: fingerprint(each.wanted.body, each.live) for each in predictions if each.live}
    state |= {one.ref: fingerprint(None, body) for one, body in going}
    return tuple(changes), state


def _change(predicted: Prediction) -> ObjectChange:
    ref, live = predicted.wanted.ref, predicted.live
    immutable = tuple(each.address for each in predicted.refused)
    if live is None:
        found = tuple(
            FieldDifference(ref, address, value, Mark.ABSENT)
            for address, value in leaves(predicted.wanted.body).items()
        )
        return ObjectChange(ref, Action.CREATE, _fields(found), immutable=immutable)
    if predicted.predicted is None:
        found = differences(predicted.wanted.body, live, only_wanted=True)
    else:
        found = differences(predicted.predicted, live)
    restarts = predicted.wanted.kind in _ROLLING and any(within(each.address, "spec.template") for each in found)
    action = Action.CHANGE if found or immutable else Action.UNCHANGED
    return ObjectChange(ref, action, _fields(found), restarts, immutable)


def _deletion(one: KubeObject, body: Body) -> ObjectChange:
    annotations = body["metadata"].get("annotations") or {}
    kept = annotations.get("helm.sh/resource-policy") == "keep"
    return ObjectChange(one.ref, Action.UNCHANGED if kept else Action.DELETE)


def _fields(found: Iterable[FieldDifference]) -> tuple[PlannedField, ...]:
    """Masked. What was there is `live`, what will be is `wanted`: a hidden change is told by the latter."""
    return tuple(PlannedField(each.address, *_before_after(each)) for each in masked(tuple(found)))


def _before_after(found: FieldDifference) -> tuple[object, object]:
    if found.live is Mark.CHANGED:
        return Mark.HIDDEN, Mark.CHANGED
    return found.live, found.wanted


def _content(chart: Path) -> str:
    """One hash of every file of the chart, by name and content."""
    try:
        files = sorted(path for path in chart.rglob("*") if path.is_file())
        lines = [f"{path.relative_to(chart).as_posix()} {digest(path.read_bytes())}" for path in files]
    except OSError as exc:
        raise InvalidInput(f"While reading the chart {chart}: {exc}") from exc
    return digest("\n".join(lines))
