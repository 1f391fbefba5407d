"""Manifests as Helm writes them, with the template that each object comes from; and how an object and a field are found
by what people call them. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from releaser.errors import UsageError
from releaser.located import did_you_mean
from releaser.objects import Body, KubeObject, Leaf, Mark, at, comparable, keyed, labelled, parse_manifest


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
    for text in SEPARATOR.split(manifest):
        source = SOURCE.search(text)
        path = source[1] if source else ""
        objects = parse_manifest(text, namespace) if only in ("", path) else ()
        found += ranked([Document(path, 0, one, text) for one in objects], found)
    return tuple(found)


def ranked(new: Sequence[Document], before: Sequence[Document]) -> list[Document]:
    """The documents with their ranks behind those before."""
    counts = Counter((each.source, each.object.kind) for each in before)
    found = []
    for each in new:
        key = (each.source, each.object.kind)
        found.append(replace(each, rank=counts[key]))
        counts[key] += 1
    return found


SEPARATOR = re.compile(r"(?m)^---[^\S\n]*$")
SOURCE = re.compile(r"(?m)^# Source: [^/\n]+/(\S+)")


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
    """Another object's spec refers to it: configMapRef.name, serviceAccountName and the like say the kind."""
    others = (each.object.body for each in known if each.object.kind != one.object.kind)
    return any(
        value == one.object.name and address.endswith("ame") and one.object.kind.lower() in address.lower()
        for body in others
        for address, _, value in walk(body.get("spec", {}))
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
