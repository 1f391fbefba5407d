"""YAML with positions: the data as PyYAML reads it, and the line and column of every key, for errors with file:line."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from releaser.errors import InvalidInput

Address = tuple[str | int, ...]


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


def load(path: Path) -> Located:
    """Read one YAML document. Raises InvalidInput for a missing file, bad encoding, bad YAML and duplicate keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise InvalidInput(f"While reading {path}: there is no such file") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(f"While reading {path}: {exc}") from exc
    return parse(text, path)


def parse(text: str, path: Path) -> Located:
    """As `load`, from text; `path` only names it in errors."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        positions: dict[Address, tuple[int, int]] = {(): (1, 1)}
        if node is not None:
            _walk(node, (), positions, path)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InvalidInput(f"While reading {place}: {exc.problem or exc}") from exc
    except yaml.YAMLError as exc:
        raise InvalidInput(f"While reading {path}: {exc}") from exc
    return Located(path, data, positions)


def load_mapping(path: Path) -> Located:
    """As `load`, for a document that must be a mapping; an empty one counts as {}."""
    located = load(path)
    if located.data is None:
        return Located(path, {}, located.positions)
    if not isinstance(located.data, dict):
        raise InvalidInput(f"While reading {path}:1:1: a mapping is wanted, this is a {type(located.data).__name__}")
    return located


def did_you_mean(word: str, known: object) -> str:
    """`; did you mean "x"?` when a known word is close, else nothing."""
    candidates = [str(k) for k in known] if isinstance(known, (list, tuple, set, frozenset, dict)) else []
    close = get_close_matches(word, candidates, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _walk(node: yaml.Node, address: Address, positions: dict[Address, tuple[int, int]], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*address, str(key.value))
            mark = (key.start_mark.line + 1, key.start_mark.column + 1)
            if child in positions:
                first = positions[child][0]
                raise InvalidInput(
                    f'While reading {path}:{mark[0]}:{mark[1]}: "{key.value}" stands twice, first in line {first}'
                )
            positions[child] = mark
            _walk(value, child, positions, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            positions[(*address, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
            _walk(item, (*address, index), positions, path)
