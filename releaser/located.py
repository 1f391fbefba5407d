"""YAML with positions: the data as PyYAML reads it, and the line and column of every key, for errors with file:line."""

from __future__ import annotations

import re
import stat
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


class ShallowLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's, ten times as fast, where PyYAML was built with it; but no deeper than MOST_LEVELS: its composer calls
    itself for each level without a bound, so a deep document would end the process."""

    _level = 0

    # both are called at each node, and made for path resolvers, of which there are none
    def descend_resolver(self, current_node: yaml.Node | None, current_index: Any) -> None:
        self._level += 1
        if self._level > MOST_LEVELS + 1:  # one more is a leaf
            mark = current_node.start_mark if current_node else None
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)

    def ascend_resolver(self) -> None:
        self._level -= 1


class HelmLoader(ShallowLoader):
    """YAML as Helm reads it: without YAML 1.1's dates and base 60, which would turn texts into something else."""


_OTHERS = (":timestamp", ":int", ":float")
HelmLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(_OTHERS)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
HelmLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
HelmLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)
# with these, written out, a document would have what JSON, and so Helm, hasn't got
HelmLoader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
HelmLoader.add_constructor("tag:yaml.org,2002:binary", yaml.SafeLoader.construct_yaml_str)
HelmLoader.add_constructor("tag:yaml.org,2002:set", yaml.SafeLoader.construct_yaml_map)
HelmLoader.add_constructor("tag:yaml.org,2002:omap", yaml.SafeLoader.construct_yaml_seq)
HelmLoader.add_constructor("tag:yaml.org,2002:pairs", yaml.SafeLoader.construct_yaml_seq)


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
        self.path, self.reason, self.line, self.column = path, reason, line, column


class NoMapping(Unreadable):
    pass


class TooMuch(Unreadable):
    """A document that nobody writes by hand, and that some readers don't come to the end of."""


class TooBig(TooMuch):
    pass


def load(path: Path, loader: type[ShallowLoader] = HelmLoader) -> Located:
    """Read one YAML document. Raises Unreadable for a missing or too big file, for what is no file, bad encoding, bad
    YAML, duplicate keys, and aliases that name themselves or grow without end."""
    return parse(decoded(path), path, loader)


def _require_readable(path: Path) -> None:
    """Raises Unreadable for what is no file (a pipe or a device has no end) or too big a one."""
    try:
        found = path.stat()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(path, "it is a directory" if stat.S_ISDIR(found.st_mode) else "it is no regular file")
    if found.st_size > MOST_BYTES:
        size = f"{found.st_size / 1e6:.1f} MB"
        raise TooBig(path, f"it has {size}, more than {MOST_BYTES / 1e6:.0f} MB are not read")


def decoded(path: Path) -> str:
    """The file's text. Raises Unreadable: for what is no file or too big a one, and, with its place, for no UTF-8."""
    _require_readable(path)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
        line, column = before.count(b"\n") + 1, exc.start - (before.rfind(b"\n") + 1) + 1
        raise Unreadable(path, f"byte 0x{data[exc.start]:02x} is not UTF-8", line, column) from exc


def _unreadable(path: Path, exc: OSError) -> Unreadable:
    said = "there is no such file" if isinstance(exc, FileNotFoundError) else exc.strerror or str(exc)
    return Unreadable(path, said[:1].lower() + said[1:])


def parse(text: str, path: Path, loader: type[ShallowLoader] = HelmLoader) -> Located:
    """As `load`, from text; `path` only names it in errors."""
    reading: Any = None
    try:
        reading = loader(text)
        node = reading.get_single_node()
        positions: dict[Address, tuple[int, int]] = {(): (1, 1)}
        if node is not None:
            _walk(node, (), positions, path, ())
        data = reading.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        kind = TooMuch if exc.problem == _TOO_DEEP else Unreadable
        raise kind(path, exc.problem or str(exc), line, column) from exc
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: a date that no calendar has
        raise Unreadable(path, str(exc)) from exc
    finally:
        if reading:
            reading.dispose()
    return Located(path, data, positions)


def load_mapping(path: Path, loader: type[ShallowLoader] = HelmLoader) -> Located:
    """As `load`, for a document that must be a mapping; an empty one counts as {}."""
    located = load(path, loader)
    if located.data is None:
        return Located(path, {}, located.positions)
    if not isinstance(located.data, dict):
        raise NoMapping(path, f"a mapping is wanted, this is a {type(located.data).__name__}", 1, 1)
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
        raise TooMuch(path, _TOO_DEEP, *positions[address])
    if len(positions) > MOST_KEYS:
        raise TooMuch(path, f"with its aliases it has more than {MOST_KEYS} keys", *positions[address])
    inside = (*above, node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            mark = _position(key)
            if not isinstance(key, yaml.ScalarNode):
                raise Unreadable(path, "a key is a map or a list", *mark)
            child = (*address, str(key.value))
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
