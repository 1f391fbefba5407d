"""Kubernetes objects field by field: a manifest's objects, the address of every leaf, what differs, who set it. No I/O.

An address is written as people write it: dotted keys; list items by their `name` when every item has one and no two
are the same (`spec.template.spec.containers[web].image`), else by index (`spec.ports[0].port`); a key that holds a dot,
a bracket or a slash is quoted in brackets (`metadata.annotations["checksum/config"]`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from releaser.errors import InvalidInput

Body = dict[str, Any]
"""An object as the API's JSON has it."""

Leaf = Any
"""A scalar, or an empty map or list."""


class Mark(StrEnum):
    """What stands where a value can't: told from values by identity, shown as text."""

    ABSENT = "(absent)"
    PRESENT = "(present)"
    HIDDEN = "(hidden)"
    CHANGED = "(hidden, changed)"


@dataclass(frozen=True)
class KubeObject:
    """One object of a manifest. `namespace` is the release's where the manifest names none."""

    api_version: str
    kind: str
    namespace: str
    name: str
    body: Body

    @property
    def ref(self) -> str:
        """As kubectl's users say it: deployment/flask-hello."""
        return reference(self.body)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Group, kind, namespace and name. A new version of the same group is still the same object."""
        return (self.api_version.rpartition("/")[0], self.kind, self.namespace, self.name)


@dataclass(frozen=True)
class FieldDifference:
    """One leaf that differs. An empty address is the object itself; Mark.ABSENT tells a missing field from a null."""

    object_ref: str
    address: str
    wanted: Leaf
    live: Leaf


@dataclass(frozen=True)
class FieldOwner:
    """Who set a field, by the API server's own account (metadata.managedFields)."""

    manager: str
    operation: str
    time: datetime | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FieldOwner:
        """Of an entry of managedFields, or of the JSON that releaser writes."""
        time = document.get("time")
        return cls(
            str(document.get("manager", "")),
            str(document.get("operation", "")),
            datetime.fromisoformat(time) if time else None,
        )


# -- manifests ---------------------------------------------------------------------------------------------------------


def parse_manifest(text: str, namespace: str) -> tuple[KubeObject, ...]:
    """The objects of a multi-document manifest, in its order; the items of a List count as its documents.

    Raises InvalidInput for what is no manifest.
    """
    import yaml

    from releaser.located import HelmLoader

    try:
        documents = [document for document in yaml.load_all(text, HelmLoader) if document is not None]
    except yaml.YAMLError as exc:
        raise InvalidInput(f"While reading a manifest: {exc}") from exc
    if _levels(documents) > _MOST_LEVELS:
        raise InvalidInput(f"While reading a manifest: it is nested more than {_MOST_LEVELS} levels deep")
    return tuple(_object(body, namespace) for document in documents for body in _items(document))


def as_released(objects: Sequence[KubeObject], release: str, namespace: str) -> tuple[KubeObject, ...]:
    """The objects as Helm sends them: with the label and annotations by which it knows its own.

    Source: helm pkg/action/validate.go (setMetadataVisitor).
    """
    return tuple(replace(each, body=_with_owner(each.body, release, namespace)) for each in objects)


def _with_owner(body: Body, release: str, namespace: str) -> Body:
    metadata = body["metadata"]
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: "Helm"}
    annotations = {
        **(metadata.get("annotations") or {}),
        RELEASE_NAME: release,
        RELEASE_NAMESPACE: namespace,
    }
    return {**body, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


MANAGED_BY = "app.kubernetes.io/managed-by"
RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


def reference(body: Body) -> str:
    return f"{str(body['kind']).lower()}/{body['metadata']['name']}"


def _items(document: Any) -> list[Any]:
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
        return list(document["items"] or [])
    return [document]


_MOST_LEVELS = 200


def _levels(value: Any) -> int:
    """How deeply maps and lists are nested, as far as it matters."""
    level, count = [value], 0
    while level and count <= _MOST_LEVELS:
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level, count = [child for children in inner for child in children], count + 1
    return count


def _object(body: Any, namespace: str) -> KubeObject:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict) or not all((body.get("apiVersion"), body.get("kind"), metadata.get("name"))):
        raise InvalidInput(
            f"While reading a manifest: apiVersion, kind and metadata.name are wanted, this has not all of them: "
            f"{json.dumps(body, default=str)[:200]}"
        )
    own = metadata.get("namespace") or namespace
    return KubeObject(str(body["apiVersion"]), str(body["kind"]), own, str(metadata["name"]), body)


# -- addresses ---------------------------------------------------------------------------------------------------------


def leaves(body: Any) -> dict[str, Leaf]:
    """Every leaf by its address, in the body's order. Empty maps and lists count as leaves."""
    return dict(_leaves(body, ""))


def _leaves(value: Any, address: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, keyed(address, str(key)))
    elif isinstance(value, list) and value:
        for label, child in zip(_labels(value), value, strict=True):
            yield from _leaves(child, f"{address}[{label}]")
    else:
        yield address, value


def keyed(address: str, key: str) -> str:
    if not key or re.search(r'[.\[\]/"]', key):
        return f"{address}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{address}.{key}" if address else key


def labelled(address: str, items: list[Any], index: int) -> str:
    """The address of a list's item."""
    return f"{address}[{_labels(items)[index]}]"


def _labels(items: list[Any]) -> list[str]:
    """What stands in the brackets: names when they tell all items apart, else indexes."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
        return [str(name) for name in names]
    return [str(index) for index in range(len(items))]


@dataclass(frozen=True)
class _Key:
    """A key of a map."""

    name: str


@dataclass(frozen=True)
class _Item:
    """A list item, by name or by index."""

    label: str


_TOKEN = re.compile(r'\[(?P<quoted>"(?:[^"\\]|\\.)*")\]|\[(?P<item>[^\]]*)\]|\.?(?P<key>[^.\[\]]+)')


def _steps(address: str) -> list[_Key | _Item]:
    steps: list[_Key | _Item] = []
    end = 0
    while end < len(address):
        token = _TOKEN.match(address, end)
        if token is None:
            raise InvalidInput(f'"{address}" is not the address of a field', hint=ADDRESS_HINT)
        if token["quoted"] is not None:
            steps.append(_Key(str(json.loads(token["quoted"]))))
        elif token["item"] is not None:
            steps.append(_Item(token["item"]))
        else:
            steps.append(_Key(token["key"]))
        end = token.end()
    return steps


ADDRESS_HINT = 'written like spec.template.spec.containers[web].image or metadata.annotations["checksum/config"]'


def at(body: Any, address: str) -> Any:
    """The value at an address, Mark.ABSENT where there is none."""
    value = body
    for step in _steps(address):
        value = _below(value, step)
    return value


def _below(value: Any, step: _Key | _Item) -> Any:
    if isinstance(step, _Key):
        return value.get(step.name, Mark.ABSENT) if isinstance(value, Mapping) else Mark.ABSENT
    labels = _labels(value) if isinstance(value, list) else []
    return value[labels.index(step.label)] if step.label in labels else Mark.ABSENT


# -- what differs ------------------------------------------------------------------------------------------------------

# What the API server writes itself: no manifest's business.
_SERVERS = ("managedFields", "generation", "resourceVersion", "uid", "creationTimestamp", "selfLink")


def comparable(body: Body) -> Body:
    """The body without what the API server writes itself."""
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in _SERVERS}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def differences(wanted: Body, live: Body, *, only_wanted: bool = False) -> tuple[FieldDifference, ...]:
    """The leaves that differ, those of `wanted` first. `only_wanted` leaves out what stands in `live` alone."""
    ours, theirs = leaves(comparable(wanted)), leaves(comparable(live))
    addresses = list(ours) if only_wanted else list(dict.fromkeys([*ours, *theirs]))
    return tuple(
        FieldDifference(reference(wanted), address, ours.get(address, Mark.ABSENT), theirs.get(address, Mark.ABSENT))
        for address in addresses
        if _differ(address, ours, theirs) and not _said_below(address, ours, theirs)
    )


def _differ(address: str, ours: Mapping[str, Leaf], theirs: Mapping[str, Leaf]) -> bool:
    if address not in ours or address not in theirs:
        return True
    mine, other = ours[address], theirs[address]
    # True == 1 in Python, not in Kubernetes
    return mine != other or isinstance(mine, bool) != isinstance(other, bool)


def _said_below(address: str, ours: Mapping[str, Leaf], theirs: Mapping[str, Leaf]) -> bool:
    """An empty map or list on one side whose content on the other side is reported leaf by leaf."""
    for here, there in ((ours, theirs), (theirs, ours)):
        if address in here and address not in there and here[address] in ({}, []):
            return any(other.startswith((f"{address}.", f"{address}[")) for other in there)
    return False


def same(one: Leaf, other: Leaf) -> bool:
    """Of one type and equal."""
    return type(one) is type(other) and bool(one == other)


@dataclass(frozen=True)
class Refusal:
    """A field whose wanted value the API server refuses, as a rule because it can't be changed. `field` is the API's
    own way to write the address."""

    address: str
    message: str
    field: str = ""


@dataclass(frozen=True)
class Comparison:
    """A manifest's object beside the live one (None: not there), read at the same moment.

    `expected` is what the live object would be if the manifest alone counted, with the API server's defaults and
    allocations; refused fields stand in it as they are. `inexact` says why there is no such answer: then only the
    manifest's own fields can be compared.
    """

    wanted: KubeObject
    live: Body | None
    expected: Body | None = None
    refused: tuple[Refusal, ...] = ()
    inexact: str = ""

    @property
    def differences(self) -> tuple[FieldDifference, ...]:
        if self.live is None:
            return (missing(self.wanted),)
        by_manifest = differences(self.wanted.body, self.live, only_wanted=True)
        if self.expected is None:
            return by_manifest
        refused = tuple(each for each in by_manifest if any(within(each.address, r.address) for r in self.refused))
        return refused + tuple(each for each in differences(self.expected, self.live) if each not in refused)


@dataclass(frozen=True)
class Prediction:
    """What Helm would make of a manifest's object (None: nothing, since `refused` fields stand in the way)."""

    wanted: KubeObject
    live: Body | None
    predicted: Body | None
    refused: tuple[Refusal, ...] = ()


def within(address: str, root: str) -> bool:
    return not root or address == root or address.startswith((f"{root}.", f"{root}["))


def missing(wanted: KubeObject) -> FieldDifference:
    """The whole object is not there."""
    return FieldDifference(wanted.ref, "", Mark.PRESENT, Mark.ABSENT)


def extra(live: KubeObject) -> FieldDifference:
    """The whole object is there and should not be."""
    return FieldDifference(live.ref, "", Mark.ABSENT, Mark.PRESENT)


# -- secrets -----------------------------------------------------------------------------------------------------------

_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|token|secret|credential|(api|private|access|signing|encryption)[-_.]?key", re.IGNORECASE
)
# Keys that only speak of secrets: the name of one, a path to it, its checksum, how long a token lasts.
_ABOUT_SECRETS = re.compile(r"^(existing|checksum|automount)|(name|ref|keyref|seconds|path|enabled)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(passw(or)?d|token|secret|credential|api[-_.]?key)[\w.-]*[\"']?\s*[=:]\s*\S|://[^/\s:@]*:[^/\s@]+@|PRIVATE KEY",
    re.IGNORECASE,
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def masked(found: Sequence[FieldDifference]) -> tuple[FieldDifference, ...]:
    """The differences with secret values hidden; that one changed stays to be seen."""
    return tuple(_masked(each) for each in found)


def _masked(found: FieldDifference) -> FieldDifference:
    if not (is_secret(found.object_ref, found.address, found.wanted) or _secret_live(found)):
        return found
    live = Mark.CHANGED if not isinstance(found.wanted, Mark) else Mark.HIDDEN
    return replace(
        found,
        wanted=found.wanted if isinstance(found.wanted, Mark) else Mark.HIDDEN,
        live=found.live if isinstance(found.live, Mark) else live,
    )


def _secret_live(found: FieldDifference) -> bool:
    return is_secret(found.object_ref, found.address, found.live)


def is_secret(object_ref: str, address: str, value: Leaf) -> bool:
    """The value must not be shown: a Secret's data, a key or environment variable so named, a text that tells one.

    `object_ref` is empty for Helm values.
    """
    if not address or isinstance(value, (bool, Mark)):
        return False
    steps = _steps(address)
    keys = [step.name for step in steps if isinstance(step, _Key)]
    if object_ref.startswith("secret/") and keys[0] in ("data", "stringData"):
        return True
    if _LAST_APPLIED in keys:
        return True
    if isinstance(value, str) and _SECRET_TEXT.search(value):
        return True
    return names_secret(_name(steps))


def _name(steps: Sequence[_Key | _Item]) -> str:
    """What the value is called: its key; for `env[NAME].value` the variable; for a list item the list's key."""
    last = steps[-1]
    if isinstance(last, _Key):
        before = steps[-2] if len(steps) > 1 else None
        return before.label if last.name == "value" and isinstance(before, _Item) else last.name
    return next((step.name for step in reversed(steps) if isinstance(step, _Key)), "")


def names_secret(name: str) -> bool:
    """Whether what stands under such a name (of values, or an environment variable) is a secret."""
    return bool(_SECRET_KEY.search(name)) and not _ABOUT_SECRETS.search(name)


# -- who set it --------------------------------------------------------------------------------------------------------


def managers(live: Body, address: str) -> tuple[FieldOwner, ...]:
    """Who owns the field, or anything below it, newest first; nobody for a field that is not there.

    Source: the API's fieldsV1 format, sigs.k8s.io/structured-merge-diff/fieldpath (f: a field, k: a list item by its
    keys, v: an item of a set).
    """
    if at(live, address) is Mark.ABSENT:
        return ()
    path = list(_path(live, address))
    entries = [
        entry
        for entry in live.get("metadata", {}).get("managedFields") or []
        if _owns(entry.get("fieldsV1") or {}, path)
    ]
    owners = [FieldOwner.read(entry) for entry in entries]
    return tuple(sorted(owners, key=lambda owner: owner.time.timestamp() if owner.time else 0.0, reverse=True))


def _path(body: Any, address: str) -> Iterator[tuple[_Key | _Item, Any]]:
    """Each step with the value that it leads to."""
    value = body
    for step in _steps(address):
        value = _below(value, step)
        yield step, value


def _owns(fields: Mapping[str, Any], path: Sequence[tuple[_Key | _Item, Any]]) -> bool:
    for position, (step, value) in enumerate(path):
        child = _child(fields, step, value)
        if child is None:
            # a leaf of the owner's set above us is an atomic map or list: what is inside is owned with it
            return position > 0 and not fields
        fields = child
    return True


def _child(fields: Mapping[str, Any], step: _Key | _Item, value: Any) -> Mapping[str, Any] | None:
    if isinstance(step, _Key):
        return fields.get(f"f:{step.name}")
    for key, child in fields.items():
        sort, _, text = key.partition(":")
        if sort == "k" and isinstance(value, Mapping) and _has(value, json.loads(text)):
            return dict(child)
        if sort == "v" and json.loads(text) == value:
            return dict(child)
        if sort == "i" and text == step.label:
            return dict(child)
    return None


def _has(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    return all(item.get(name) == value for name, value in keys.items())
