"""The branches of the chart's templates, and copies of the chart that tell which of them are taken."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ACTION = re.compile(r"\{\{-?\s*(?:/\*.*?\*/|(if|else if|else|with|range|define|end)\b.*?)\s*-?\}\}", re.DOTALL)
_OPENING = ("if", "with", "range", "define")
TAKEN = "this branch is taken"


@dataclass(frozen=True)
class Branch:
    """What an action leads to: what is put into the file's text at `offset`, after `otherwise`, is rendered then."""

    file: str
    line: int
    action: str
    offset: int
    otherwise: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.action}"

    @property
    def leaves_a_mark(self) -> bool:
        """Whether a comment there comes out as it is: what a define makes may be piped on, NOTES.txt isn't shown."""
        return self.file.endswith(".yaml")

    @property
    def mark(self) -> str:
        return f"# taken {self.file} {self.offset}"


def marked(chart: Path, copy: Path) -> Path:
    """A copy of the chart that writes the mark of each branch that is taken, where a branch can leave one."""
    shutil.copytree(chart, copy)
    for branch in reversed(branches(chart)):  # from the end, for offsets to stay right
        if branch.leaves_a_mark:
            _put(
                copy, branch, f'\n{branch.mark}\n{{{{ "" }}}}'
            )  # the action keeps the end of the line from a trim after it
    return copy


def refusing(chart: Path, copy: Path, branch: Branch) -> Path:
    """A copy of the chart whose rendering fails with TAKEN if this branch is taken."""
    shutil.copytree(chart, copy)
    _put(copy, branch, f'{{{{ fail "{TAKEN}" }}}}')
    return copy


def _put(chart: Path, branch: Branch, text: str) -> None:
    file = chart / "templates" / branch.file
    old = file.read_text(encoding="utf-8")
    file.write_text(old[: branch.offset] + branch.otherwise + text + old[branch.offset :], encoding="utf-8")


def branches(chart: Path) -> list[Branch]:
    """Of every template but _contracts.tpl, whose branches are refusals."""
    templates = chart / "templates"
    files = sorted(path for path in templates.rglob("*") if path.suffix in (".yaml", ".tpl", ".txt"))
    return [
        branch
        for path in files
        if path.name != "_contracts.tpl"
        for branch in _branches_of(path.read_text(encoding="utf-8"), str(path.relative_to(templates)))
    ]


def _branches_of(text: str, file: str) -> Iterator[Branch]:
    opened: list[tuple[str, str, bool]] = []  # word, whole action, whether an else has come
    for match in _ACTION.finditer(text):
        word, action = match[1], " ".join(match[0].strip("{}- ").split())
        line = text.count("\n", 0, match.start()) + 1
        if word in _OPENING:
            opened.append((word, action, False))
            if word != "define":
                yield Branch(file, line, action, match.end())
        elif word in ("else", "else if"):
            first, begun, _ = opened.pop()
            opened.append((first, begun, word == "else"))
            yield Branch(file, line, f"{action} of {begun}", match.end())
        elif word == "end":
            first, begun, has_else = opened.pop()
            if first in ("if", "with") and not has_else:
                yield Branch(file, line, f"not {begun}", match.start(), "{{ else }}")
