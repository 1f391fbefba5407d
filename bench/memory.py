"""What processes take in memory: proportional set sizes, so that a page that several share is counted once."""

from __future__ import annotations

from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and all below it; empty when it is gone."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(each for child in below for each in family(child))]


def resident(pid: int) -> int:
    """Bytes; 0 when it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def total(pids: set[int]) -> int:
    return sum(map(resident, pids))


def parent(pid: int) -> int:
    """0 when it is gone."""
    try:
        # the name stands in parentheses and may hold anything
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return 0
    return int(after_name.split()[1])


def command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []
