"""What every measurement here writes down: when, on which machine, with which versions; as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from releaser import __version__
from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.models import Event

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"


class Silent:
    """A reporter of adapters' events that keeps none."""

    def emit(self, event: Event, /) -> None:
        """Nothing is shown."""


def tools() -> Tools:
    return Tools(Process(Silent()))


def tool(name: str) -> Path:
    """releaser's own copy of helm, kubectl or minikube, so that all are measured with the same one."""
    return tools().path(name)


def circumstances(cluster: Cluster | None, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Date, machine and versions. `more` names the versions of what is measured besides releaser."""
    found = tools().find("helm")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": platform.platform(),
            "load_1_5_15": os.getloadavg(),
        },
        "versions": {
            "releaser": f"{__version__} ({_commit()})",
            "python": platform.python_version(),
            "kubernetes": cluster.version() if cluster else "",
            "helm": found.version if found else "",
            **(more or {}),
        },
    }


def save(name: str, document: Mapping[str, Any]) -> Path:
    """Into bench/results/NAME.json, over what stood there."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need; numbers with one decimal, to the right."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headings), *shown]) for i in range(len(headings))]
    right = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(headings), *shown]
    )


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def _commit() -> str:
    finished = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return finished.stdout.strip() or "no repository"
