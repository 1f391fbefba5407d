"""Who releases, and from which commit."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

from releaser.adapters.process import Process
from releaser.errors import ToolMissing
from releaser.models import Source


def source(process: Process, root: Path) -> Source:
    """User, host and the commit of the project; without git or a repository the commit is empty."""

    def git(*arguments: str) -> str:
        try:
            finished = process.run(
                ["git", "-C", root, *arguments], doing="asking git", deadline_seconds=20, check=False
            )
        except ToolMissing:
            return ""
        return finished.stdout.strip() if finished.exit_status == 0 else ""

    commit = git("rev-parse", "HEAD")
    commit_time = git("log", "-1", "--format=%ct") if commit else ""
    return Source(
        user=getpass.getuser(),
        host=socket.gethostname(),
        commit=commit,
        dirty=bool(commit and git("status", "--porcelain", "--untracked-files=normal")),
        commit_time=int(commit_time or 0),
    )
