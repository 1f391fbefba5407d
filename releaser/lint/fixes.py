"""What can be mended safely: style that no reader of YAML sees, and the order of maintainers. A file whose data would
be another afterwards, or that can't be read, is left as it is. No I/O."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from releaser.located import Unreadable, parse


def mended(text: str, path: Path) -> str:
    """The text, mended; the same one where nothing is to be mended, or nothing safely can be."""
    try:
        data = parse(text, path).data
    except Unreadable:
        return text
    for mend in (_line_ends, _spaces, _comments, _empty_lines, _end_of_file):
        tried = mend(text)
        if _data(tried, path) == data:
            text = tried
    return _sorted_maintainers(text, data, path) if path.name == "Chart.yaml" else text


def diff(before: str, after: str, shown: str) -> str:
    """As `diff -u` has it; a CR is shown as what it is."""
    old, new = ([line.replace("\r", "\\r") for line in text.split("\n")] for text in (before, after))
    return "\n".join(difflib.unified_diff(old, new, f"a/{shown}", f"b/{shown}", lineterm=""))


_BROKEN = object()


def _data(text: str, path: Path) -> Any:
    try:
        return parse(text, path).data
    except Unreadable:
        return _BROKEN


def _line_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def _spaces(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _comments(text: str) -> str:
    """Two spaces before #, one behind. A # within a text isn't seen as a comment: where one is changed, so is the data,
    and nothing is."""
    text = re.sub(r"^(\s*#+)(?=[^\s#!])", r"\1 ", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=\S) (#+)(?=[^\s#])", r" \1 ", text)
    return re.sub(r"(?<=[^\s#]) (?=# )", "  ", text)


def _empty_lines(text: str) -> str:
    """None at the start and the end, at most two elsewhere."""
    return re.sub(r"\n{4,}", "\n\n\n", text.lstrip("\n").rstrip("\n") + ("\n" if text.endswith("\n") else ""))


def _end_of_file(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _sorted_maintainers(text: str, data: Any, path: Path) -> str:
    maintainers = data.get("maintainers") if isinstance(data, dict) else None
    if not isinstance(maintainers, list) or not all(isinstance(each, dict) for each in maintainers):
        return text
    match = re.search(r"^maintainers:[ \t]*\n((?:[ \t]*(?:-|#| ).*\n)+)", text, re.MULTILINE)
    if match is None:
        return text
    items = [item for item in re.split(r"(?m)^(?=[ \t]*- )", match[1]) if item]
    if len(items) != len(maintainers):
        return text
    ordered = sorted(zip(maintainers, items, strict=True), key=lambda each: str(each[0].get("name", "")).casefold())
    tried = text[: match.start(1)] + "".join(item for _, item in ordered) + text[match.end(1) :]
    wanted = {**data, "maintainers": [each for each, _ in ordered]}
    return tried if _data(tried, path) == wanted else text
