"""YAML with positions: the data as PyYAML reads it, and the line and column of every key, for errors with file:line."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from releaser.errors import InvalidInput

Address = tuple[str | int, ...]

# Helm itself reads no bigger file of a chart (helm pkg/chart/loader/archive: MaxDecompressedFileSize).
MOST_BYTES = 5 * 1024 * 1024
MOST_KEYS = 200_000
MOST_LEVELS = 200
_TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep"
# libyaml's, ten times as fast, where PyYAML was built with it
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Located:
    """A YAML document. `positions` maps the address of each key or list item to (line, column), counted from 1."""

    path: Path
    data: Any
    positions: dict[Address, tuple[int, int]]

    def place(self, address: Address) -> str:
        """`file:line:column` of the address, or of its nearest ancestor that has one."""
        line, column = self.position(address)
        return f"{self.path}:{line}:{column}"

    def position(self, address: Address) -> tuple[int, int]:
        for length in range(len(address), -1, -1):
            if address[:length] in self.positions:
                return self.positions[address[:length]]
        return (1, 1)


class Unreadable(InvalidInput):
    """What keeps a YAML document from being read: the reason, and where (0: the place isn't known)."""

    def __init__(self, path: Path, reason: str, line: int = 0, column: int = 0, *, hint: str = "") -> None:
        place = f"{path}:{line}:{column}" if line else str(path)
        super().__init__(f"While reading {place}: {reason}", hint=hint)
        self.reason, self.line, self.column = reason, line, column


def load(path: Path) -> Located:
    """Read one YAML document. Raises Unreadable for a missing or too big file, bad encoding, bad YAML, duplicate keys,
    and aliases that name themselves or grow without end."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise Unreadable(path, f"it has {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB are not read")
        return parse(decoded(path), path)
    except FileNotFoundError as exc:
        raise Unreadable(path, "there is no such file") from exc
    except OSError as exc:
        raise Unreadable(path, str(exc)) from exc


def decoded(path: Path) -> str:
    """The file's text. Raises Unreadable, with the place, where it isn't UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
        line, column = before.count(b"\n") + 1, exc.start - (before.rfind(b"\n") + 1) + 1
        raise Unreadable(path, f"byte 0x{data[exc.start]:02x} is not UTF-8", line, column) from exc


def parse(text: str, path: Path) -> Located:
    """As `load`, from text; `path` only names it in errors."""
    loader: Any = None
    try:
        loader = _LOADER(text)
        node = loader.get_single_node()
        positions: dict[Address, tuple[int, int]] = {(): (1, 1)}
        if node is not None:
            _walk(node, (), positions, path, ())
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise Unreadable(path, exc.problem or str(exc), line, column) from exc
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: a date that no calendar has
        raise Unreadable(path, str(exc)) from exc
    except RecursionError as exc:
        raise Unreadable(path, _TOO_DEEP) from exc
    finally:
        if loader:
            loader.dispose()
    return Located(path, data, positions)


def load_mapping(path: Path) -> Located:
    """As `load`, for a document that must be a mapping; an empty one counts as {}."""
    located = load(path)
    if located.data is None:
        return Located(path, {}, located.positions)
    if not isinstance(located.data, dict):
        raise Unreadable(path, f"a mapping is wanted, this is a {type(located.data).__name__}", 1, 1)
    return located


def did_you_mean(word: str, known: object) -> str:
    """`; did you mean "x"?` when a known word is close, else nothing."""
    candidates = [str(k) for k in known] if isinstance(known, (list, tuple, set, frozenset, dict)) else []
    close = get_close_matches(word, candidates, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _walk(
    node: yaml.Node,
    address: Address,
    positions: dict[Address, tuple[int, int]],
    path: Path,
    above: tuple[yaml.Node, ...],
) -> None:
    if not isinstance(node, (yaml.MappingNode, yaml.SequenceNode)):
        return
    if any(node is each for each in above):
        raise Unreadable(path, "an alias names what it is in", *positions[address])
    if len(above) >= MOST_LEVELS:
        raise Unreadable(path, _TOO_DEEP, *positions[address])
    if len(positions) > MOST_KEYS:
        raise Unreadable(path, f"with its aliases it has more than {MOST_KEYS} keys", *positions[address])
    inside = (*above, node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*address, str(key.value))
            mark = _position(key)
            if child in positions:
                first = positions[child][0]
                raise Unreadable(path, f'"{key.value}" stands twice, first in line {first}', *mark)
            positions[child] = mark
            _walk(value, child, positions, path, inside)
    else:
        for index, item in enumerate(node.value):
            positions[(*address, index)] = _position(item)
            _walk(item, (*address, index), positions, path, inside)


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
