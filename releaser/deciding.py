"""Which values decide a field of the manifest. No I/O: whoever asks passes in how to render.

That is found by trying: values are changed, many at a time, and the field is looked at. It holds for whatever the
templates do with a value. What is missed: a value whose effect is hidden, without a trace, by another one that is
changed with it; and a text that a template compares with one that isn't tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from releaser.errors import InvalidInput
from releaser.located import Address
from releaser.models import Values
from releaser.objects import Leaf, Mark, keyed, same


class Effect(StrEnum):
    """What a value has to do with a field."""

    VALUE = "its value"
    PART = "part of it"
    INPUT = "goes into it"
    SWITCH = "whether it is there"


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
        if same(after, base):
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


def _text(value: Leaf) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _may_switch(value: Leaf) -> bool:
    return isinstance(value, bool) or value is None or value in ("", [], {})


def _tries(values: Values) -> Iterator[tuple[Address, list[Leaf]]]:
    for path, value in _value_leaves(values, ()):
        yield path, alternatives(value)


def alternatives(value: Leaf) -> list[Leaf]:
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
