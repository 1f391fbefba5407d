"""Where the field of a rendered object is written: the value that it is, or else the template's line that writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from releaser.errors import InvalidInput
from releaser.lint.subject import Subject, Variant, leaves
from releaser.located import Address, parse
from releaser.manifests import SEPARATOR, Document, counterpart, documents
from releaser.objects import at, keyed, labelled
from releaser.templates import TemplateLine, definitions, marked, unmarked, writer

_VALUE = re.compile(r"\.Values((?:\.\w+)+)")
Place = tuple[str, int, int]


class Places:
    """Of all variants; the marked renderings that it needs are made when the first finding asks for them."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._marked: dict[Variant, tuple[tuple[Document, str], ...]] = {}

    def of(self, variant: Variant, document: Document, address: str) -> Place:
        """File, line and column. For a field that isn't there: of what it would be in."""
        line = self._line(variant, document, address)
        file = self._subject.chart / (line.file if line else document.source)
        shown = self._subject.shown(file)
        offending = at(document.object.body, address)
        if line and isinstance(offending, (str, int, float, bool)):
            text = self._subject.templates[line.file].split("\n")[line.line - 1]
            if found := self._value(variant, text, address, offending):
                path, number, column = self._subject.position(variant, found)
                return self._subject.shown(path), number, column
        if line:
            return shown, line.line, 0
        return shown, self._mentioned(document, address), 0

    def _value(self, variant: Variant, text: str, address: str, offending: Any) -> Address | None:
        """The leaf of the values that the line writes and that the field is, or is made of. A line that names none,
        in a `with` or `range`, is taken to write the only leaf that has the field's text."""
        merged = self._subject.merged(variant)
        references = [tuple(each.strip(".").split(".")) for each in _VALUE.findall(text)]
        if not references:
            alike = [leaf for leaf, value in leaves(merged) if value == offending and isinstance(value, str)]
            return alike[0] if len(alike) == 1 else None
        last = re.split(r"[.\[]", address)[-1].rstrip("]").strip('"')
        candidates = [
            (str(leaf[-1]) != last, leaf)
            for root in references
            for leaf, value in leaves(_below(merged, root), root)
            if value not in (None, "", {}, []) and _made_of(offending, value) and (leaf == root or value == offending)
        ]
        return min(candidates, key=lambda each: each[0])[1] if candidates else None

    def _line(self, variant: Variant, document: Document, address: str) -> TemplateLine | None:
        for found, text in self._marks(variant):
            if counterpart(document, [found]) is None or found.source != document.source:
                continue
            if line := _line_in(found, address):
                return writer(text.split("\n"), line - 1)
        return None

    def _marks(self, variant: Variant) -> tuple[tuple[Document, str], ...]:
        """The objects of a rendering in which every line bears its template's mark, each with its marked text."""
        if variant not in self._marked:
            self._marked[variant] = self._render(variant)
        return self._marked[variant]

    def _render(self, variant: Variant) -> tuple[tuple[Document, str], ...]:
        subject = self._subject
        files = subject.templates
        every = list(definitions(files).values())
        edited: dict[str, str] = {}
        for file in files:
            edited |= marked(files, file, every)
        for attempt in (edited, {k: v for k, v in edited.items() if not k.endswith(".tpl")}):
            try:
                manifest = subject.draft(variant, subject.merged(variant), attempt).result()
                return tuple(
                    (document, text)
                    for text in SEPARATOR.split(manifest)
                    for document in documents(unmarked(text), variant.namespace)
                )
            except InvalidInput:
                continue
        return ()

    def _mentioned(self, document: Document, address: str) -> int:
        """Where nothing is proven: the first line of the template that has the field's key, or its kind."""
        lines = self._subject.templates.get(document.source, "").split("\n")
        keys = [re.split(r"[.\[]", address)[-1].rstrip("]").strip('"'), "kind"]
        for key in filter(None, keys):
            for number, line in enumerate(lines, 1):
                if re.match(rf"\s*(?:- )?{re.escape(key)}:", line):
                    return number
        return 1


def _made_of(offending: Any, value: Any) -> bool:
    return value == offending or (isinstance(offending, str) and offending.endswith(str(value)))


def _below(values: Any, address: Address) -> Any:
    for step in address:
        values = values.get(step) if isinstance(values, dict) else None
    return values


def _line_in(document: Document, address: str) -> int:
    """In the object's text: of the field, or of what it would be in; 0 where that can't be told."""
    try:
        positions = parse(document.text, Path(document.source)).positions
    except InvalidInput:
        return 0
    known = dict(_nodes(document.object.body, "", ()))
    while address not in known and address:
        address = re.sub(r"(?:\.?[^.\[\]]+|\[[^\]]*\])$", "", address)
    path = known[address] if address else ("kind",)
    return positions[path][0] if path in positions else 0


def _nodes(value: Any, address: str, path: Address) -> Iterator[tuple[str, Address]]:
    """Every key and item: its address, and its path in the YAML document."""
    yield address, path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _nodes(child, keyed(address, str(key)), (*path, str(key)))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _nodes(child, labelled(address, value, index), (*path, index))
