"""A chart's templates as text: lines that can bear a mark, named templates, what is left to chance. No I/O.

A mark is a comment at the end of a template's line. The line that it ends up on in the manifest tells which line of the
template wrote it. Marks are taken out as text before anything reads the manifest, so that they may stand in a quoted
scalar or a block scalar as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# A comment, or an action whose texts may hold braces. Source: text/template/parse/lex.go.
_ACTION = re.compile(
    r'\{\{-?\s*/\*.*?\*/\s*-?\}\}|\{\{(?P<body>(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|[^"`])*?)\}\}', re.DOTALL
)
_TEXT_OR_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?<![\w.$])[a-z]\w*')
_BLOCK = re.compile(r"-?\s*(if|range|with|block|define|end)\b")
_STEERS = re.compile(r"-?\s*(?:(?:if|else|end|range|with|block|define|break|continue)\b|\$\w+\s*:?=)")
_NAMED = re.compile(r'-?\s*(?:define|block)\s+"([^"]+)"')
_INCLUDED = re.compile(r'\b(?:include|template)\s+"([^"]+)"')
_MARK = re.compile(r" ?#@(?P<file>[^\s@:]+):(?P<line>\d+)@")
# What differs from one rendering to the next -> what stands for it, with the same arguments; and the guards, which
# would keep a tried value from being rendered: `fail` becomes an empty text.
_STEADY = {
    **dict.fromkeys(("randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes"), 'printf "%v"'),
    "uuidv4": '"uuid"',
    "fail": "trunc 0",
}


@dataclass(frozen=True)
class TemplateLine:
    """A line of a template, counted from 1. `file` is relative to the chart."""

    file: str
    line: int


@dataclass(frozen=True)
class Definition:
    """A named template: its first and last line, those with define and end."""

    name: str
    file: str
    first: int
    last: int


def steadied(text: str) -> str:
    """The template without chance and without guards, line by line the same."""

    def word(found: re.Match[str]) -> str:
        return _STEADY.get(found[0], found[0])

    def action(found: re.Match[str]) -> str:
        return found[0] if found["body"] is None else _TEXT_OR_WORD.sub(word, found[0])

    return _ACTION.sub(action, text)


def definitions(files: Mapping[str, str]) -> dict[str, Definition]:
    """Every named template by its name."""
    return {each.name: each for file, text in files.items() for each in _definitions(file, text)}


def included(text: str) -> tuple[str, ...]:
    """The named templates that a line uses."""
    return tuple(_INCLUDED.findall(text))


def marked(files: Mapping[str, str], file: str, inside: Sequence[Definition] = ()) -> dict[str, str]:
    """The texts that change when `file` bears marks, outside of its definitions, and so do the definitions given."""
    wanted = {(each.file, line) for each in inside for line in range(each.first + 1, each.last)}
    hidden = {line for each in _definitions(file, files[file]) for line in range(each.first, each.last + 1)}
    wanted |= {(file, line) for line in range(1, files[file].count("\n") + 2) if line not in hidden}
    return {name: _marked(name, files[name], wanted) for name in {name for name, _ in wanted}}


def unmarked(manifest: str) -> str:
    return _MARK.sub("", manifest)


def writer(lines: Sequence[str], index: int) -> TemplateLine | None:
    """Which line of a template wrote a line of a marked document: the first mark on it, or else on those below, since
    what writes many lines bears its mark at the end of the last."""
    for line in lines[index:]:
        if found := _MARK.search(line):
            return TemplateLine(found["file"], int(found["line"]))
    return None


def silent(line: str) -> bool:
    """The line writes nothing by itself: blocks begin or end, a variable is set, something is remarked."""
    return not _ACTION.sub(_spoken, line).strip()


def joined_before(text: str, line: int) -> int:
    """The line before, when it writes something and its `-}}` joins this one to it; else 0."""
    lines = text.split("\n")
    before = next((number for number in range(line - 1, 0, -1) if lines[number - 1].strip()), 0)
    joins = before and lines[before - 1].rstrip().endswith("-}}") and not silent(lines[before - 1])
    return before if joins else 0


def _spoken(action: re.Match[str]) -> str:
    return "" if action["body"] is None or _STEERS.match(action["body"]) else action[0]


def without(text: str, line: int) -> str:
    """The template with an empty line instead of this one."""
    lines = text.split("\n")
    lines[line - 1] = ""
    return "\n".join(lines)


def _marked(name: str, text: str, wanted: set[tuple[str, int]]) -> str:
    lines = text.split("\n")
    for number in _markable(text):
        if (name, number) in wanted:
            lines[number - 1] += f" #@{name}:{number}@"
    return "\n".join(lines)


def _markable(text: str) -> Iterator[int]:
    """Lines whose end is the end of a line in the manifest, too: not within an action, nor eaten by its `-}}`."""
    within = {
        line
        for action in _ACTION.finditer(text)
        for line in range(_line(text, action.start()), _line(text, action.end()))
    }
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare and bare != "---" and not bare.endswith("-}}") and number not in within:
            yield number


def _definitions(file: str, text: str) -> Iterator[Definition]:
    open_blocks: list[tuple[str, int]] = []
    for action in _ACTION.finditer(text):
        block = _BLOCK.match(action["body"] or "")
        if block is None:
            continue
        if block[1] != "end":
            named = _NAMED.match(action["body"])
            open_blocks.append((named[1] if named else "", _line(text, action.start())))
        elif open_blocks:
            name, first = open_blocks.pop()
            if name:
                yield Definition(name, file, first, _line(text, action.end()))


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
