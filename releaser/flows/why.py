"""`releaser why ENV OBJECT FIELD`: the values, the template and the revision that a live field comes from, or who else
set it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from releaser.deciding import Effect, deciding, dotted
from releaser.errors import InvalidInput
from releaser.flows.drift import standing
from releaser.flows.ports import Drafts
from releaser.flows.release import installed
from releaser.flows.restore import compare
from releaser.flows.target import Target
from releaser.located import Address, Located, load_mapping
from releaser.manifests import Document, documents, field_in, find_field, find_object
from releaser.models import Image, Revision, Values
from releaser.objects import (
    Comparison,
    FieldOwner,
    KubeObject,
    Leaf,
    Mark,
    as_released,
    at,
    is_secret,
    managers,
    same,
)
from releaser.origin import MOST, DecidingValue, Origin, Since, Why, WrittenBy, newest_run, writers
from releaser.settings import Project
from releaser.steps import step
from releaser.templates import TemplateLine, steadied
from releaser.values import merge, with_image

_IMAGE: tuple[Address, ...] = (("image", "repository"), ("image", "tag"), ("image", "digest"))
_HELM = "helm"


def why(project: Project, target: Target, drafts: Drafts, object_name: str, field: str) -> Why:
    """Raises Refused when nothing is installed, UsageError for an object or a field that isn't known."""
    environment = target.environment
    revisions = installed(target)
    current = standing(revisions)
    with step(target.reporter, "compare"):
        known = _documents(target, current.number)
        wanted = find_object(object_name, known)
        [compared] = compare(target, target.live, _sent(target, wanted))
        live = compared.live or {}
        address = find_field(field, compared.wanted.body, live)
    released, now = at(compared.wanted.body, address), at(live, address)
    origin, owners = _origin(compared, address)
    with step(target.reporter, "try values") as running:
        trial = _Trial(project, target, drafts, _given(target, current))
        found, written, trouble = _tried(trial, wanted, address)
        running.detail = f"{trial.renderings} renderings"
        running.failed = bool(trouble)
    tree, refused = _working_tree(project, target, wanted, address, trial.given)
    trouble = refused or trouble
    secret = any(is_secret(wanted.object.ref, address, each) for each in (released, now))
    return Why(
        environment=environment.name,
        release=target.release,
        namespace=target.namespace,
        revision=current.number,
        object=wanted.object.ref,
        address=address,
        live=_hidden(now, secret),
        released=_hidden(released, secret),
        origin=origin,
        owners=owners,
        values=tuple(_masked(each, secret) for each in found[:MOST]),
        more_values=len(found[MOST:]),
        written_by=written,
        since=_since(target, revisions, current, wanted, address),
        working_tree=_hidden(tree, secret),
        undeployed=not trouble and not same(tree, at(wanted.object.body, address)),
        note=trouble or _note(wanted, address, released),
    )


def _documents(target: Target, number: int) -> tuple[Document, ...]:
    return documents(target.helm.manifest(target.release, target.namespace, number), target.namespace)


def _tried(
    trial: _Trial, wanted: Document, address: str
) -> tuple[tuple[DecidingValue, ...], tuple[WrittenBy, ...], str]:
    """The values, the lines, and why there are none. A broken chart in the working tree keeps nobody from asking what
    runs."""
    try:
        values = trial.values(wanted, address)
        return values, () if at(wanted.object.body, address) is Mark.ABSENT else trial.lines(wanted, address), ""
    except InvalidInput as exc:
        return (), (), _unrendered(exc)


def _note(wanted: Document, address: str, released: Leaf) -> str:
    if at(wanted.object.body, address) is Mark.ABSENT and released is not Mark.ABSENT:
        return "Helm itself sets it on all that it installs"
    if wanted.rank:
        return "the chart made it from what is in the cluster, so no values of the working tree decide it"
    return ""


def _sent(target: Target, wanted: Document) -> tuple[KubeObject, ...]:
    return as_released([wanted.object], target.release, target.namespace)


# -- whose it is -------------------------------------------------------------------------------------------------------


def _origin(compared: Comparison, address: str) -> tuple[Origin, tuple[FieldOwner, ...]]:
    """Whose the live value is, and the managers that own it, those that are not Helm first where it isn't Helm's."""
    live = compared.live
    if live is None:
        return Origin.MISSING, ()
    owners = managers(live, address)
    others = tuple(each for each in owners if each.manager != _HELM)
    if _as_expected(compared, address):
        if at(compared.wanted.body, address) is not Mark.ABSENT:
            return Origin.RELEASE, owners
        return (Origin.FOREIGN, others) if others else (Origin.SERVER, owners)
    return Origin.FOREIGN, (*others, *(each for each in owners if each not in others))


def _as_expected(compared: Comparison, address: str) -> bool:
    """As the manifest alone would make it. The API server has its own way to write some values, so it was asked."""
    return not any(each.address == address for each in compared.differences)


# -- where it comes from -----------------------------------------------------------------------------------------------


def _given(target: Target, current: Revision) -> Image | None:
    """The image that releaser gave to the revision; None when it was made by plain Helm."""
    given = target.helm.values(target.release, target.namespace, current.number).get("image") or {}
    return Image(given["repository"], given["tag"]) if current.image and given.get("tag") else None


class _Trial:
    """The working tree's chart and values, rendered again and again without chance and guards."""

    def __init__(self, project: Project, target: Target, drafts: Drafts, image: Image | None) -> None:
        self._root, self._chart = project.root, project.chart
        self._target, self._drafts, self._image = target, drafts, image
        defaults = project.chart / "values.yaml"
        self._defaults = load_mapping(defaults) if defaults.exists() else Located(defaults, {}, {})
        self._own = load_mapping(target.environment.values_file)
        self._texts = _templates(project.chart)
        self._files = {name: steadied(text) for name, text in self._texts.items()}
        self.given = with_image(self._own.data, image) if image else self._own.data
        self._merged = merge(self._defaults.data, self.given)
        self.renderings = 0

    def values(self, wanted: Document, address: str) -> tuple[DecidingValue, ...]:
        """The values that decide the field, the most direct first."""

        def field(values: Values) -> Leaf:
            found = documents(self._draft(values, {}), self._target.namespace, wanted.source)
            return field_in(wanted, address, found)

        return tuple(
            DecidingValue(dotted(each.path), each.value, each.effect, self._place(each.path))
            for each in deciding(self._merged, field)
        )

    def lines(self, wanted: Document, address: str) -> tuple[WrittenBy, ...]:
        found = writers(wanted, address, self._files, self._merged, self._draft)
        if not found:
            return (WrittenBy(self._shown(self._chart / wanted.source)),) if wanted.source else ()
        return tuple(map(self._written_by, found))

    def _written_by(self, line: TemplateLine) -> WrittenBy:
        text = self._texts[line.file].split("\n")[line.line - 1].strip()
        return WrittenBy(f"{self._shown(self._chart / line.file)}:{line.line}", text)

    def _draft(self, values: Values, edited: Mapping[str, str]) -> str:
        self.renderings += 1
        texts = {**self._files, **edited}
        return self._drafts.draft(self._target.release, self._target.namespace, self._chart, values, texts)

    def _place(self, path: Address) -> str:
        """Where the value stands: the environment's file goes before the chart's; empty for the image's."""
        if self._image and path in _IMAGE:
            return ""
        located = self._own if path in self._own.positions else self._defaults
        return f"{self._shown(located.path)}:{located.position(path)[0]}"

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self._root) if path.is_relative_to(self._root) else path)


def _templates(chart: Path) -> dict[str, str]:
    """The texts of the chart's templates and helpers, its subcharts' included, by their paths in the chart."""
    try:
        paths = sorted(path for path in chart.rglob("*") if path.is_file() and "templates" in path.parts)
        return {path.relative_to(chart).as_posix(): path.read_text() for path in paths if path.suffix in _SUFFIXES}
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"While reading the chart {chart}: {exc}") from exc


_SUFFIXES = (".yaml", ".yml", ".tpl")


def _working_tree(project: Project, target: Target, wanted: Document, address: str, given: Values) -> tuple[Leaf, str]:
    """What a deploy of the same image would make of the field now; and why that can't be told."""
    try:
        manifest = target.helm.render(target.release, target.namespace, project.chart, given)
    except InvalidInput as exc:
        return Mark.ABSENT, _unrendered(exc)
    return field_in(wanted, address, documents(manifest, target.namespace, wanted.source)), ""


def _unrendered(exc: InvalidInput) -> str:
    return f"the working tree does not render: {exc.detail or exc.message}"


def _masked(each: DecidingValue, secret: bool) -> DecidingValue:
    hide = is_secret("", each.address, each.value) or (secret and each.effect in (Effect.VALUE, Effect.PART))
    return DecidingValue(each.address, _hidden(each.value, hide), each.effect, each.place)


def _hidden(value: Leaf, secret: bool) -> Leaf:
    return Mark.HIDDEN if secret and not isinstance(value, Mark) else value


# -- since when --------------------------------------------------------------------------------------------------------


def _since(
    target: Target, revisions: tuple[Revision, ...], current: Revision, wanted: Document, address: str
) -> Since | None:
    """The oldest revision of the unbroken run that ends with the one that stands; None where it doesn't set the
    field."""
    value = at(wanted.object.body, address)
    if value is Mark.ABSENT:
        return None
    older = [each for each in revisions if each.number < current.number]

    def values() -> Iterator[tuple[int, Leaf]]:
        for each in older:
            yield each.number, field_in(wanted, address, _documents(target, each.number))

    number, or_earlier = newest_run(value, values(), current.number)
    found = next(each for each in revisions if each.number == number)
    return Since(number, found.content, found.updated, found.source, or_earlier)
