"""The files of a chart, as Helm finds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from releaser.located import Unreadable


def chart_files(chart: Path) -> dict[str, Path]:
    """All but directories, by their paths in the chart, in order; those behind symlinks too, but not git's own. Some of
    them may be no regular files, or lead nowhere.

    Raises Unreadable for a directory that can't be read, or that a symlink in it leads back to, and for a name that is
    no text.
    """
    return dict(_below(chart, "", ()))


def _below(directory: Path, inside: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Path]]:
    try:
        found = directory.stat()
        identity = (found.st_dev, found.st_ino)
        entries = sorted(os.scandir(directory), key=lambda each: each.name)
        if identity in above:
            raise Unreadable(directory, "a symlink leads back to a directory that it is in")
        for entry in entries:
            path = directory / entry.name
            if entry.name != os.fsencode(entry.name).decode("utf-8", "replace"):
                raise Unreadable(directory, f"a file's name is not UTF-8: {os.fsencode(entry.name)!r}")
            if not _is_directory(entry):
                yield f"{inside}{entry.name}", path
            elif entry.name != ".git":
                yield from _below(path, f"{inside}{entry.name}/", (*above, identity))
    except OSError as exc:
        raise Unreadable(directory, f"it can't be listed: {exc.strerror}") from exc


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself
        return False
