"""Why a live field is as it is: what is told of it, the template's lines that write it, the revision since which it is
so. No I/O: whoever asks passes in how to render."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from releaser.deciding import Effect
from releaser.errors import InvalidInput
from releaser.located import Address, parse
from releaser.manifests import SEPARATOR, Document, counterpart, documents, field_in
from releaser.models import Source, Values
from releaser.objects import FieldOwner, Leaf, at, keyed, labelled, same
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
    if found is None or not same(at(found.object.body, address), base):
        return None
    texts = [each for each in SEPARATOR.split(manifest) if unmarked(each) == found.text]
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
            return not same(field({line.file: without(text, number)}), base)
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
        if not same(value, wanted):
            return since, False
        since = number
    return since, since > 1
