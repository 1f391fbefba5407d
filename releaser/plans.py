"""What a deploy would change, bound by hashes to what it was worked out from; and what has moved since. No I/O but the
plan's own file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from releaser.errors import InvalidInput, StalePlan
from releaser.objects import Body, FieldOwner, KubeObject, Leaf, Mark, comparable, is_secret, leaves

VERSION = 1


@dataclass(frozen=True)
class DriftedField:
    """A live field that differs from the release. An empty address is the object itself."""

    object: str
    address: str
    wanted: Leaf
    live: Leaf
    managers: tuple[FieldOwner, ...]


@dataclass(frozen=True)
class Drift:
    """Where the live objects differ from a revision. `fixed`: they did, and don't any more."""

    environment: str
    release: str
    namespace: str
    revision: int
    fields: tuple[DriftedField, ...]
    fixed: bool


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class PlannedField:
    address: str
    before: Leaf
    after: Leaf


@dataclass(frozen=True)
class ObjectChange:
    """What happens to one object. `immutable` names the fields that the API server refuses to change."""

    object: str
    action: Action
    fields: tuple[PlannedField, ...] = ()
    restarts: bool = False
    immutable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`base_revision` is 0 where nothing is installed; `image_id` is empty for an image that isn't built.

    `live` holds a short hash of every live field by object and address, so that a later change can be named. `hash` is
    that of all the rest: the same plan has the same hash.
    """

    environment: str
    context: str
    cluster_uid: str
    namespace: str
    release: str
    base_revision: int
    image: str
    image_id: str
    chart_hash: str
    values_hash: str
    manifest_hash: str
    live: dict[str, dict[str, str]]
    changes: tuple[ObjectChange, ...]
    by_hand: tuple[DriftedField, ...]
    version: int = VERSION
    hash: str = ""

    @property
    def changed(self) -> bool:
        return any(each.action is not Action.UNCHANGED for each in self.changes)


def sealed(plan: Plan) -> Plan:
    """The plan with its hash."""
    return replace(plan, hash=_hash_of(_document(plan)))


def _document(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=lambda value: value.isoformat()))
    return document


def _hash_of(document: Mapping[str, Any]) -> str:
    """Of all but the hash itself and the times at which fields were set, which decide nothing."""
    bound = {key: value for key, value in document.items() if key != "hash"}
    return digest(json.dumps(_timeless(bound), sort_keys=True))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(child) for key, child in value.items() if key != "time"}
    return [_timeless(child) for child in value] if isinstance(value, list) else value


def manifest_hash(objects: Sequence[KubeObject]) -> str:
    """Of all that a manifest says but its secrets: a chart may make up a new key each time that it is rendered. Those
    that are not made up come from chart and values, which have hashes of their own."""
    lines = [
        f"{each.identity} {address} {'' if is_secret(each.ref, address, value) else json.dumps(value)}"
        for each in objects
        for address, value in leaves(each.body).items()
    ]
    return digest("\n".join(lines))


def digest(text: str | bytes) -> str:
    return sha256(text.encode() if isinstance(text, str) else text).hexdigest()


# -- live state --------------------------------------------------------------------------------------------------------


def fingerprint(wanted: Body | None, live: Body) -> dict[str, str]:
    """A short hash of each live field. What controllers write by themselves is left out; the hash of a secret tells
    only that its object was written, never the value."""
    ref = f"{str(live['kind']).lower()}/{live['metadata']['name']}"
    written = f"{live['metadata'].get('uid')} {live['metadata'].get('resourceVersion')}"
    counted = _without_scale(wanted, comparable(live))
    return {
        address: _short(written if is_secret(ref, address, value) else json.dumps(value, sort_keys=True))
        for address, value in leaves(counted).items()
        if "deployment.kubernetes.io/" not in address
    }


def _without_scale(wanted: Body | None, live: Body) -> Body:
    """A manifest without replicas leaves them to an autoscaler, which may move them at any time."""
    spec = live.get("spec")
    if wanted is None or not isinstance(spec, dict) or (wanted.get("spec") or {}).get("replicas") is not None:
        return live
    return {**live, "spec": {key: value for key, value in spec.items() if key != "replicas"}}


def _short(text: str) -> str:
    return digest(text)[:12]


# -- files -------------------------------------------------------------------------------------------------------------


def save_plan(plan: Plan, path: Path) -> None:
    """Raises InvalidInput when the file can't be written."""
    try:
        path.write_text(json.dumps(_document(plan), indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise InvalidInput(f"While writing {path}: {exc.strerror or exc}") from exc


def load_plan(path: Path) -> Plan:
    """Raises InvalidInput for a file that is no plan, is one of another version, or was changed by hand."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"While reading {path}: {exc}", hint=_ANEW) from exc
    names = {each.name for each in fields(Plan)}
    if not isinstance(document, dict) or set(document) != names:
        raise InvalidInput(f"While reading {path}: this is no plan of releaser", hint=_ANEW)
    if document["version"] != VERSION:
        raise InvalidInput(
            f"While reading {path}: a plan of version {VERSION} is wanted, this is one of {document['version']}",
            hint=_ANEW,
        )
    if document["hash"] != _hash_of(document):
        raise InvalidInput(f"While reading {path}: it was changed after it was made: its hash is wrong", hint=_ANEW)
    try:
        return _plan(document)
    except (TypeError, KeyError, ValueError, AttributeError) as exc:
        raise InvalidInput(f"While reading {path}: this is no plan of releaser: {exc}", hint=_ANEW) from exc


_ANEW = "make it anew: releaser plan ENV -o FILE"


def _plan(document: dict[str, Any]) -> Plan:
    changes = tuple(
        ObjectChange(
            each["object"],
            Action(each["action"]),
            tuple(PlannedField(**_marked(field)) for field in each["fields"]),
            each["restarts"],
            tuple(each["immutable"]),
        )
        for each in document["changes"]
    )
    by_hand = tuple(
        DriftedField(**{**_marked(each), "managers": tuple(FieldOwner.read(owner) for owner in each["managers"])})
        for each in document["by_hand"]
    )
    return Plan(**{**document, "changes": changes, "by_hand": by_hand})


def _marked(document: Mapping[str, Any]) -> dict[str, Any]:
    """Marks, which JSON can't tell from texts."""
    marks = {mark.value: mark for mark in Mark}
    return {key: marks.get(value, value) if isinstance(value, str) else value for key, value in document.items()}


# -- what moved --------------------------------------------------------------------------------------------------------

_WORDS = {
    "environment": "the environment",
    "context": "the kube context",
    "cluster_uid": "the cluster",
    "namespace": "the namespace",
    "release": "the release",
    "chart_hash": "the chart",
    "values_hash": "the values",
    "image": "the image",
    "image_id": "the image's content",
    "base_revision": "the revision",
}


def changed_since(plan: Plan, now: Plan) -> tuple[str, ...]:
    """All that moved since the plan was made, in words; `now` is the same question asked again."""
    moved = [
        f"{word}{_from_to(getattr(plan, name), getattr(now, name))}"
        for name, word in _WORDS.items()
        if getattr(plan, name) != getattr(now, name)
    ]
    if not moved and plan.manifest_hash != now.manifest_hash:
        moved.append("what the chart renders, though chart and values did not")
    return (*moved, *_moved_live(plan, now))


def require_unchanged(plan: Plan, now: Plan) -> None:
    """Raises StalePlan, naming what moved."""
    moved = changed_since(plan, now)
    if moved:
        raise StalePlan(
            f"the plan for {plan.environment} is stale: {len(moved)} things moved since it was made",
            detail="\n".join(moved),
            hint=f"releaser plan {plan.environment} -o FILE, look at it, and deploy that",
        )


def _from_to(before: object, after: object) -> str:
    readable = isinstance(before, int) or (isinstance(before, str) and len(before) < 64)
    return f": {before} -> {after}" if readable else ""


def _moved_live(plan: Plan, now: Plan) -> list[str]:
    hands = {(each.object, each.address): each.managers for each in now.by_hand}
    moved = []
    for ref in dict.fromkeys([*plan.live, *now.live]):
        if ref not in now.live or ref not in plan.live:
            moved.append(f"{ref} {'is gone' if ref not in now.live else 'is new'}")
            continue
        before, after = plan.live[ref], now.live[ref]
        for address in dict.fromkeys([*before, *after]):
            if before.get(address) != after.get(address):
                owners = hands.get((ref, address), ())
                moved.append(f"{ref} {address}{f' ({owners[0].manager})' if owners else ''}")
    return moved
