"""What the chart was before, by git: for the rule that its version rises when it changes."""

from __future__ import annotations

from pathlib import Path

from releaser.adapters.process import Process
from releaser.errors import ToolMissing, UsageError

_SECONDS = 60.0
# What is merged into, most likely first. A branch is not compared with itself.
_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


class GitRepository:
    """The repository that a directory is in; no commit is known where there is none, or no git."""

    def __init__(self, process: Process, directory: Path) -> None:
        self._process, self._directory = process, directory

    def base(self, wanted: str) -> str:
        """The commit to compare with: where `wanted` and HEAD parted; without it, where HEAD left the branch that is
        merged into (the remote's, or the local main), or else the newest tag before HEAD. Empty when there is none.

        Raises UsageError for a wanted one that isn't there.
        """
        if wanted:
            found = self._git("merge-base", "HEAD", wanted)
            if not found:
                raise UsageError(
                    f'git knows no "{wanted}" that HEAD has a commit in common with', hint="git fetch; git log"
                )
            return found
        own = self._git("symbolic-ref", "--short", "HEAD")
        for branch in _BRANCHES:
            if branch != own and (found := self._git("merge-base", "HEAD", branch)):
                return found
        tag = self._git("describe", "--tags", "--abbrev=0")
        return self._git("rev-parse", f"{tag}^{{commit}}") if tag else ""

    def changed(self, base: str, directory: Path) -> tuple[str, ...]:
        """The files below a directory that differ from the commit's, by their paths in it; new ones too, unless git
        ignores them."""
        there = ("--", str(directory.resolve()))  # git names its root without symlinks
        tracked = self._git("diff", "--name-only", "--no-renames", base, *there).splitlines()
        new = self._git("ls-files", "--others", "--exclude-standard", "--full-name", *there).splitlines()
        inside = self.within(directory)
        return tuple(sorted(name.removeprefix(f"{inside}/") for name in {*tracked, *new}))

    def text(self, base: str, path: Path) -> str | None:
        return self._run("show", f"{base}:{path.resolve().relative_to(self._root()).as_posix()}")

    def within(self, directory: Path) -> str:
        """Where a directory stands in the repository; empty for its root, and for one that isn't in it."""
        root, inside = self._root(), directory.resolve()
        return inside.relative_to(root).as_posix() if inside != root and inside.is_relative_to(root) else ""

    def _root(self) -> Path:
        return Path(self._git("rev-parse", "--show-toplevel"))

    def _git(self, *arguments: str) -> str:
        return (self._run(*arguments) or "").strip()

    def _run(self, *arguments: str) -> str | None:
        """None when git refuses."""
        try:
            finished = self._process.run(
                ["git", "-C", self._directory, "-c", "core.quotePath=false", *arguments],
                doing="asking git",
                deadline_seconds=_SECONDS,
                check=False,
            )
        except ToolMissing:
            return None
        return finished.stdout if finished.exit_status == 0 else None
