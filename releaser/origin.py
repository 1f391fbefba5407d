"""Why a live field is as it is: the values that decide it, the template lines that write it, and how an object and a
field are found by what people call them. No I/O: whoever asks passes in how to render.

Which values decide a field is found by trying: they are changed, many at a time, and the field is looked at. That holds
for whatever the templates do with a value. What is missed: a value whose effect is hidden, without a trace, by another
one that is changed with it; and a text that a template compares with one that isn't tried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from releaser.errors import InvalidInput, UsageError
from releaser.located import Address, did_you_mean, parse
from releaser.models import Source, Values
from releaser.objects import Body, FieldOwner, KubeObject, Leaf, Mark, at, comparable, keyed, labelled, parse_manifest
from releaser.templates import (
    TemplateLine,
    definitions,
    included,
    joined_before,
    marked,
    silent,
    unmarked,
    without,
    writer,
)

Draft = Callable[[Values, Mapping[str, str]], str]
"""Renders values with the chart; the mapping holds other texts for some of its files."""

MOST = 5
"""So many values are named; of the rest only the number is told."""


class Origin(StrEnum):
    """Whose the live value is."""

    RELEASE = "release"
    FOREIGN = "foreign"
    SERVER = "server"
    MISSING = "missing"


class Effect(StrEnum):
    """What a value has to do with a field."""

    VALUE = "its value"
    PART = "part of it"
    INPUT = "goes into it"
    SWITCH = "whether it is there"


@dataclass(frozen=True)
class DecidingValue:
    """A leaf of the values. `place` is file:line; empty for what releaser itself sets: the image that was built."""

    address: str
    value: Leaf
    effect: Effect
    place: str


@dataclass(frozen=True)
class WrittenBy:
    """A template's line: file:line, or the file alone where the line isn't sure."""

    place: str
    text: str = ""


@dataclass(frozen=True)
class Since:
    """The oldest revision from which on the release has had the field so. `content` is the revision that it returned
    to, itself otherwise; `or_earlier`: Helm keeps no older one to look at."""

    revision: int
    content: int
    updated: datetime
    source: Source
    or_earlier: bool


@dataclass(frozen=True)
class Why:
    """All that is known of a live field. `released` is what the revision says, Mark.ABSENT where it says nothing.

    `owners` are the field's managers, newest first. `values` and `written_by` are those of the working tree;
    `written_by` goes from the template's line to the innermost helper's. `note` says what can't be told, and why.
    """

    environment: str
    release: str
    namespace: str
    revision: int
    object: str
    address: str
    live: Leaf
    released: Leaf
    origin: Origin
    owners: tuple[FieldOwner, ...]
    values: tuple[DecidingValue, ...]
    more_values: int
    written_by: tuple[WrittenBy, ...]
    since: Since | None
    working_tree: Leaf
    undeployed: bool
    note: str = ""


# -- manifests as Helm writes them -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """An object of a manifest, the template that it comes from ("" where the manifest doesn't say), and its text."""

    source: str
    rank: int
    object: KubeObject
    text: str


def documents(manifest: str, namespace: str, only: str = "") -> tuple[Document, ...]:
    """`rank` counts objects of one kind from one template, from 0: it tells which is which when names change.

    `only` is a template: what comes from others is not even parsed.
    """
    found: list[Document] = []
    for text in _SEPARATOR.split(manifest):
        source = _SOURCE.search(text)
        path = source[1] if source else ""
        for one in parse_manifest(text, namespace) if only in ("", path) else ():
            rank = sum((each.source, each.object.kind) == (path, one.kind) for each in found)
            found.append(Document(path, rank, one, text))
    return tuple(found)


_SEPARATOR = re.compile(r"(?m)^---[^\S\n]*$")
_SOURCE = re.compile(r"(?m)^# Source: [^/\n]+/(\S+)")


def counterpart(wanted: Document, others: Sequence[Document]) -> Document | None:
    """The same object in another manifest. A chart may put a hash into a name: then its place in the template tells,
    for the first of its kind; the others are known by name only."""
    same = [each for each in others if each.object.kind == wanted.object.kind]
    placed = [each for each in same if (each.source, each.rank) == (wanted.source, 0)]
    if wanted.rank == 0 and placed:
        return placed[0]
    return next((each for each in same if each.object.name == wanted.object.name), None)


def field_in(wanted: Document, address: str, others: Sequence[Document]) -> Leaf:
    found = counterpart(wanted, others)
    return Mark.ABSENT if found is None else at(found.object.body, address)


# -- which object, which field -----------------------------------------------------------------------------------------

_SHORT = {
    "cm": "configmap",
    "deploy": "deployment",
    "hpa": "horizontalpodautoscaler",
    "netpol": "networkpolicy",
    "pdb": "poddisruptionbudget",
    "sa": "serviceaccount",
    "svc": "service",
}


def find_object(word: str, known: Sequence[Document]) -> Document:
    """By kind and name, by kind and the name's beginning, or by kind alone. Of several, the one that another object
    names is meant: the ConfigMap that the Deployment uses, not those that are kept for its old pods.

    Raises UsageError, naming those that there are.
    """
    kind, slash, name = word.partition("/")
    kind = _SHORT.get(kind.lower(), kind.lower())
    of_kind = [each for each in known if each.object.kind.lower() == kind]
    exact = [each for each in of_kind if each.object.name == name]
    found = exact or [each for each in of_kind if each.object.name.startswith(name if slash else "")]
    if len(found) > 1:
        found = [each for each in found if _named_elsewhere(each, known)] or found
    if len(found) == 1:
        return found[0]
    refs = [each.object.ref for each in known]
    if found:
        raise UsageError(f'"{word}" is {len(found)} objects', hint=_listed([each.object.ref for each in found]))
    close = did_you_mean(word.lower(), refs) or did_you_mean(kind, [each.object.kind.lower() for each in known])
    raise UsageError(f'the release has no object "{word}"{close}', hint=f"it has {_listed(refs)}")


def _named_elsewhere(one: Document, known: Sequence[Document]) -> bool:
    others = (each.object.body for each in known if each.object.kind != one.object.kind)
    return any(
        value == one.object.name
        for body in others
        for address, _, value in walk(body.get("spec", {}))
        if address.endswith("ame")
    )


def find_field(word: str, released: Body, live: Body) -> str:
    """The address that is meant: the whole of it, or an end that no other field has, with a list's items by name or by
    index; or the end of a key, as GREETING for data.APP_GREETING. What the release sets goes before what is live only,
    and that before the status.

    Raises UsageError, naming candidates.
    """
    layers = (list(walk(released)), list(walk(comparable(live))), list(walk({"status": live.get("status", {})})))
    for matches in (_is, _ends, _ends_key):
        for layer in layers:
            found = [named for named, indexed, _ in layer if matches(word, named) or matches(word, indexed)]
            if len(found) == 1:
                return found[0]
            if found:
                raise UsageError(f'"{word}" is {len(found)} fields', hint=_listed(found))
    known = list(dict.fromkeys(named for named, _, _ in (*layers[0], *layers[1])))
    below = [each for each in known if _ends_branch(word, each)]
    if len(below) == 1:
        return below[0]
    if below:
        raise UsageError(f'"{word}" is not a field but {len(below)} fields', hint=_listed(below))
    ends = {each.rpartition(".")[2]: each for each in reversed(known)}
    close = did_you_mean(word, known) or did_you_mean(word.rpartition(".")[2], ends)
    raise UsageError(f'there is no field "{word}"{close}', hint=f"it has {_listed(_likely(word, known))}")


def walk(value: Any, named: str = "", indexed: str = "") -> Iterator[tuple[str, str, Leaf]]:
    """Every leaf with its address, and with its address by indexes only."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from walk(child, keyed(named, str(key)), keyed(indexed, str(key)))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from walk(child, labelled(named, value, index), f"{indexed}[{index}]")
    else:
        yield named, indexed, value


def _is(word: str, address: str) -> bool:
    return word == address


def _ends(word: str, address: str) -> bool:
    """A key in brackets and quotes may be written like any other."""
    end, whole = (_QUOTED.sub(r".\1", each) for each in (word, address))
    return bool(end) and (f".{whole}".endswith(f".{end}") or (end[0] in ".[" and whole.endswith(end)))


_QUOTED = re.compile(r'\["([^"]*)"\]')


def _ends_key(word: str, address: str) -> bool:
    return bool(word) and re.search(rf'[._/"-]{re.escape(word)}("\])?$', address, re.IGNORECASE) is not None


def _ends_branch(word: str, address: str) -> bool:
    return bool(word) and re.search(rf"(^|\.){re.escape(word)}[.\[]", address) is not None


def _likely(word: str, known: Sequence[str]) -> list[str]:
    part = re.split(r"[.\[\]]+", word.strip("]."))[-1].lower()
    near = [each for each in known if part and part in each.lower()]
    return near or list(known)


def _listed(names: Sequence[str]) -> str:
    """At most ten."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


# -- which values ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deciding:
    """A leaf of the values that decides a field."""

    path: Address
    value: Leaf
    effect: Effect


def deciding(values: Values, field: Callable[[Values], Leaf]) -> tuple[Deciding, ...]:
    """The leaves of the values without which the field would be another, the most direct first.

    `field` renders; it may raise InvalidInput for what can't be rendered.
    """
    base = field(values)
    rounds = [{path: tried[turn] for path, tried in _tries(values) if turn < len(tried)} for turn in range(3)]
    found: dict[Address, Deciding] = {}
    for changes in rounds:
        left = [path for path in changes if path not in found]
        # A switch hides what others do, so those are tried apart.
        switches = [path for path in left if _may_switch(_value(values, path))]
        for group in (switches, [path for path in left if path not in switches]):
            for path, after in _tried(group, changes, values, field, base):
                value = _value(values, path)
                found[path] = Deciding(path, value, _effect(base, after, value, changes[path]))
    order = {path: index for index, (path, _) in enumerate(_tries(values))}
    return tuple(sorted(found.values(), key=lambda each: (list(Effect).index(each.effect), order[each.path])))


def _tried(
    group: Sequence[Address],
    changes: Mapping[Address, Leaf],
    values: Values,
    field: Callable[[Values], Leaf],
    base: Leaf,
) -> Iterator[tuple[Address, Leaf]]:
    """By halves: a group that changes nothing needs one rendering only. One that doesn't render may hide anything."""
    if not group:
        return
    changed = deepcopy(values)
    for path in group:
        _put(changed, path, changes[path])
    try:
        after = field(changed)
    except InvalidInput:
        if len(group) == 1:
            return
    else:
        if _same(after, base):
            return
        if len(group) == 1:
            yield group[0], after
            return
    middle = len(group) // 2
    yield from _tried(group[:middle], changes, values, field, base)
    yield from _tried(group[middle:], changes, values, field, base)


def _effect(base: Leaf, after: Leaf, value: Leaf, tried: Leaf) -> Effect:
    if after is Mark.ABSENT:
        return Effect.SWITCH
    if _text(after) == _text(tried):
        return Effect.VALUE
    if base is Mark.ABSENT:
        return Effect.SWITCH
    if _text(value) and _text(base).replace(_text(value), _text(tried), 1) == _text(after):
        return Effect.PART
    return Effect.INPUT


def _same(one: Leaf, other: Leaf) -> bool:
    return type(one) is type(other) and bool(one == other)


def _text(value: Leaf) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _may_switch(value: Leaf) -> bool:
    return isinstance(value, bool) or value is None or value in ("", [], {})


def _tries(values: Values) -> Iterator[tuple[Address, list[Leaf]]]:
    for path, value in _value_leaves(values, ()):
        yield path, _others(value)


def _others(value: Leaf) -> list[Leaf]:
    """What is tried instead, of the same type; then what is nothing, since templates ask for that."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, 0 if value else 2]
    if isinstance(value, str) and value:
        return [_altered(value), "", f"{value}z"]
    if isinstance(value, str):
        return ["zz", "1"]
    if isinstance(value, Mapping):
        return [{"zz": "zz"}]
    if isinstance(value, list):
        return [["zz"], [{"zz": "zz"}]]
    return [1, "zz", ["zz"]]


def _altered(text: str) -> str:
    """Another text of the same make: 50m -> 60m, debug -> eebug."""
    for index, sign in enumerate(text):
        if sign.isascii() and sign.isalnum():
            alphabet = next(each for each in ("0123456789", _LOWER, _LOWER.upper()) if sign in each)
            other = alphabet[(alphabet.index(sign) + 1) % len(alphabet)]
            return text[:index] + ("1" if other == "0" else other) + text[index + 1 :]
    return f"{text}z"


_LOWER = "abcdefghijklmnopqrstuvwxyz"


def _value_leaves(value: Any, path: Address) -> Iterator[tuple[Address, Leaf]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _value_leaves(child, (*path, str(key)))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from _value_leaves(child, (*path, index))
    else:
        yield path, value


def _value(values: Values, path: Address) -> Leaf:
    found: Any = values
    for step in path:
        found = found[step]
    return found


def _put(values: Values, path: Address, value: Leaf) -> None:
    parent: Any = values
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = deepcopy(value)


def dotted(path: Address) -> str:
    """A values leaf's address as people write it."""
    address = ""
    for step in path:
        address = keyed(address, step) if isinstance(step, str) else f"{address}[{step}]"
    return address


# -- which lines -------------------------------------------------------------------------------------------------------

_DEEP = 5


def writers(
    wanted: Document, address: str, files: Mapping[str, str], values: Values, draft: Draft
) -> tuple[TemplateLine, ...]:
    """The template's line that writes the field, then the lines of the helpers that it calls, inwards. Each is proven:
    without it, the field isn't there or is another. Empty where none can be.

    `files` are the chart's templates, by their paths in the chart.
    """
    if wanted.source not in files:
        return ()
    known = definitions(files)

    def field(edited: Mapping[str, str]) -> Leaf:
        return field_in(wanted, address, documents(draft(values, edited), wanted.object.namespace, wanted.source))

    base = field({})
    chain: list[TemplateLine] = []
    inside: list[str] = []
    for _ in range(_DEEP):
        helpers = [known[name] for name in inside if name in known]
        try:
            manifest = draft(values, marked(files, wanted.source, helpers))
        except InvalidInput:
            break
        line = _writer(wanted, address, manifest, base)
        if line is None or line in chain or not _proven(line, files, field, base):
            break
        chain.append(line)
        more = [name for name in included(_line(files, line)) if name not in inside]
        if not more:
            break
        inside += more
    return tuple(chain)


def _writer(wanted: Document, address: str, manifest: str, base: Leaf) -> TemplateLine | None:
    clean = documents(unmarked(manifest), wanted.object.namespace, wanted.source)
    found = counterpart(wanted, clean)
    if found is None or not _same(at(found.object.body, address), base):
        return None
    texts = [each for each in _SEPARATOR.split(manifest) if unmarked(each) == found.text]
    line = line_of(found, address)
    return writer(texts[0].split("\n"), line - 1) if texts and line else None


def line_of(document: Document, address: str) -> int:
    """In the document's text, counted from 1; 0 for a field that isn't there."""
    paths = {named: path for named, path in _paths(document.object.body, "", ())}
    positions = parse(document.text, Path(document.source)).positions
    return positions[paths[address]][0] if paths.get(address) in positions else 0


def _paths(value: Any, named: str, path: Address) -> Iterator[tuple[str, Address]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _paths(child, keyed(named, str(key)), (*path, str(key)))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from _paths(child, labelled(named, value, index), (*path, index))
    else:
        yield named, path


def _proven(
    line: TemplateLine, files: Mapping[str, str], field: Callable[[Mapping[str, str]], Leaf], base: Leaf
) -> bool:
    """Without the line the field is another; and it isn't the line before, joined to this one, that writes it."""
    text = files[line.file]

    def needed(number: int) -> bool:
        try:
            return not _same(field({line.file: without(text, number)}), base)
        except InvalidInput:
            return True  # nothing can be rendered without it

    before = joined_before(text, line.line)
    return not silent(_line(files, line)) and needed(line.line) and not (before and needed(before))


def _line(files: Mapping[str, str], line: TemplateLine) -> str:
    return files[line.file].split("\n")[line.line - 1]


# -- since when --------------------------------------------------------------------------------------------------------


def newest_run(wanted: Leaf, older: Iterator[tuple[int, Leaf]], since: int) -> tuple[int, bool]:
    """The oldest revision of the unbroken run that has the value, and whether all that is kept has it. `older` goes
    from the newest before `since` to the oldest; it is read only as far as needed."""
    for number, value in older:
        if not _same(value, wanted):
            return since, False
        since = number
    return since, since > 1
