"""What stands in a Dockerfile: its instructions, and the images of others that it takes something from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<otherwise>[^}]*))?\}|(?P<plain>\w+))")
_FROM = re.compile(r"(?:^|,)from=(?P<image>[^,]+)")


def instructions(dockerfile: str) -> list[tuple[int, str]]:
    """First line and text of each instruction, as the classic builder counts them."""
    found: list[tuple[int, str]] = []
    open_line = 0
    for number, line in enumerate(dockerfile.splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if open_line:
            found[-1] = (open_line, f"{found[-1][1]} {text.removesuffix(chr(92)).strip()}")
        else:
            found.append((number, text.removesuffix("\\").strip()))
        open_line = (open_line or number) if text.endswith("\\") else 0
    return found


def defaults(dockerfile: str) -> dict[str, str]:
    """The values of the arguments that stand before the first FROM."""
    found: dict[str, str] = {}
    for _, text in instructions(dockerfile):
        verb, _, rest = text.partition(" ")
        if verb.upper() == "FROM":
            break
        for word in _words(rest) if verb.upper() == "ARG" else ():
            name, given, value = word.partition("=")
            if given:
                found[name] = _filled(value, found)
    return found


def images(dockerfile: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """What its stages are made from and what they copy or mount from, without stages of its own and `scratch`; the
    arguments are those that the build gets."""
    known = {**defaults(dockerfile), **arguments}
    stages, found = {"scratch"}, list[str]()
    for _, text in instructions(dockerfile):
        verb, _, rest = text.partition(" ")
        words = [word for word in _words(rest) if not word.startswith("--")]
        wanted = [_filled(words[0], known)] if verb.upper() == "FROM" and words else list(_sources(verb, rest))
        found += [each for each in wanted if each.lower() not in stages and not each.isdigit()]
        if verb.upper() == "FROM" and len(words) == 3 and words[1].upper() == "AS":
            stages.add(words[2].lower())
    return tuple(dict.fromkeys(found))


def _sources(verb: str, rest: str) -> Iterator[str]:
    """Of COPY --from=IMAGE and RUN --mount=...,from=IMAGE."""
    for word in _words(rest):
        name, _, value = word.partition("=")
        if not name.startswith("--"):
            return  # options come first
        if name == "--from" and verb.upper() == "COPY":
            yield value
        elif name == "--mount" and verb.upper() == "RUN" and (match := _FROM.search(value)):
            yield match["image"]


def _filled(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda each: known.get(each["braced"] or each["plain"]) or each["otherwise"] or "", text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a shell's own quotes
        return text.split()
