"""The commands in README.md and docs/: found, run as a reader would, and their output compared with what is written.

A command stands in a block that begins with ```console, behind `$ `, with what it prints below it:

- All commands of a block are run by one bash, in the project's directory. One that ends otherwise than with 0 is to be
  followed by `$ echo $?`, so that its reader knows.
- `...` stands for any lines where it is alone on a line, and for any text elsewhere. What no two runs have the same
  (times, dates, hashes, addresses, names of pods, numbers of requests) need not be the same.
- <!-- not run: REASON --> above a block keeps it from being run; <!-- before: COMMAND --> is run first, unseen.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_COMMENT = re.compile(r"<!-- (not run|before): (.+) -->")
_FENCE = re.compile(r"( *)(`{3,}|~{3,})\s*(\w*)")
_SHELLS = ("sh", "bash", "shell", "shell-session")
_DEADLINE_SECONDS = 400
_MARK = "-- ended with "
_ANY = "..."


@dataclass(frozen=True)
class Command:
    """What is typed, and what is printed then. `line` is where it stands in its file."""

    text: str
    output: tuple[str, ...]
    line: int

    @property
    def shows_exit_code(self) -> bool:
        return self.text == "echo $?"


@dataclass(frozen=True)
class Block:
    """Commands that follow one another. `reason`: why they aren't run; empty when they are."""

    file: Path
    line: int
    commands: tuple[Command, ...]
    before: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"

    def with_text(self, old: str, new: str) -> Block:
        """With other commands: `new` in the place of `old`."""
        commands = tuple(replace(each, text=each.text.replace(old, new)) for each in self.commands)
        return replace(self, commands=commands, before=tuple(text.replace(old, new) for text in self.before))


@dataclass(frozen=True)
class Printed:
    """What a command really printed, and its exit code."""

    lines: tuple[str, ...]
    code: int


def blocks(file: Path) -> tuple[Block, ...]:
    """All blocks with commands. Raises ValueError with the place of one that nobody could run."""
    found: list[Block] = []
    notes: list[tuple[str, str]] = []
    lines = iter(enumerate(file.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            inside = _inside(lines, fence[1], fence[2])
            if fence[3] in _SHELLS:
                raise ValueError(f"{file}:{number}: a block of commands is ```console, each behind `$ `")
            if fence[3] == "console":
                reasons = [text for kind, text in notes if kind == "not run"]
                before = tuple(text for kind, text in notes if kind == "before")
                found.append(Block(file, number, _commands(file, inside), before, " ".join(reasons)))
            notes = []
        elif note := _COMMENT.fullmatch(line.strip()):
            notes.append((note[1], note[2]))
        elif line.startswith("    $ "):
            raise ValueError(f"{file}:{number}: a command stands in a block that begins with ```console")
        elif line.strip():
            notes = []
    return tuple(found)


def run(block: Block, directory: Path, environment: Mapping[str, str]) -> tuple[Printed, ...]:
    """What each command printed, in one bash. Raises CalledProcessError when one of `before` fails."""
    for text in block.before:
        subprocess.run(
            ["bash", "-euc", text], cwd=directory, env=environment, check=True, timeout=_DEADLINE_SECONDS, text=True
        )
    script = "".join(
        # the next command may ask for $? of this one
        f"{command.text}\n__code=$?; printf '\\n{_MARK}%d\\n' $__code; (exit $__code)\n"
        for command in block.commands
    )
    finished = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEADLINE_SECONDS,
        text=True,
    )
    *parts, rest = re.split(rf"\n{_MARK}(\d+)\n", finished.stdout)
    printed = [Printed(tuple(text.splitlines()), int(code)) for text, code in zip(parts[::2], parts[1::2], strict=True)]
    if len(printed) != len(block.commands):
        raise ValueError(f"{block}: bash ended before all commands were run: {rest}")
    return tuple(printed)


def faults(block: Block, printed: Sequence[Printed], seen: Callable[[str], str] = str) -> list[str]:
    """In what the block is wrong; `seen` makes of a printed line what the page's reader would see."""
    found = []
    for index, (command, actual) in enumerate(zip(block.commands, printed, strict=True)):
        place = f"{block.file.name}:{command.line}: $ {command.text}"
        lines = [seen(line) for line in actual.lines]
        told = index + 1 < len(block.commands) and block.commands[index + 1].shows_exit_code
        if actual.code != 0 and not told:
            found.append(f"{place}\n  ended with {actual.code}; it printed:\n" + _indented(lines))
        elif not matches(command.output, lines):
            found.append(f"{place}\n  printed:\n{_indented(lines)}\n  written is:\n{_indented(command.output)}")
    return found


def matches(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether a page may say so. Nothing below a command says nothing of its output."""
    if not expected:
        return True
    lines = [line for line in map(_alike, printed) if line]
    pattern = ""
    for line in (each for each in map(_alike, expected) if each):
        if line == _ANY:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*?".join(re.escape(part) for part in line.split(_ANY)) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def environment(programs: Path, tools: Sequence[Path], python: Sequence[str]) -> dict[str, str]:
    """For bash: `releaser` is what is tested here, and the tools are the ones that it would use."""
    programs.mkdir(exist_ok=True)
    releaser = programs / "releaser"
    releaser.write_text(f'#!/bin/sh\nexec {shlex.join(python)} -m releaser "$@"\n')
    releaser.chmod(0o755)
    places = [programs, *{tool.parent: None for tool in tools}]
    return {**os.environ, "PATH": os.pathsep.join([*map(str, places), os.environ["PATH"]])}


# -- inside ------------------------------------------------------------------------------------------------------------

# What no two runs have the same, and what stands for it in both texts.
_LOOSE = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "DATE"),
        (r"\b\d\d-\d\d \d\d:\d\d\b", "DATE"),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (r"<?\b\d+(\.\d+)? ?(ms|s|min|kB|MB)\b", "AMOUNT"),
        (r"\b\d+ requests\b", "N requests"),
        (r"\b0/\d+ lost", "0/N lost"),
        (r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b", "ADDRESS"),
        (r"\b([a-z-]+)-[a-z0-9]{8,10}-[a-z0-9]{5}\b", r"\1-POD"),
        (r"\b[0-9a-f]{7,64}\b\+?", "HASH"),
        (r"\s+", " "),
    )
)


def _alike(line: str) -> str:
    for pattern, word in _LOOSE:
        line = pattern.sub(word, line)
    return line.strip()


def _inside(lines: Iterator[tuple[int, str]], indent: str, fence: str) -> list[tuple[int, str]]:
    found = []
    for number, line in lines:
        if line.strip() == fence:
            break
        found.append((number, line.removeprefix(indent)))
    return found


def _commands(file: Path, lines: Sequence[tuple[int, str]]) -> tuple[Command, ...]:
    found: list[Command] = []
    for number, line in lines:
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ").strip(), (), number))
        elif not found:
            raise ValueError(f"{file}:{number}: a block of commands begins with `$ `")
        elif found[-1].text.endswith("\\"):
            found[-1] = Command(f"{found[-1].text}\n{line}", (), found[-1].line)
        else:
            last = found[-1]
            found[-1] = Command(last.text, (*last.output, line), last.line)
    return tuple(found)


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
