"""The promises of `releaser verify`, tried once and kept for docs/: `python -m bench.verify [EXPERIMENT...]`.

A copy of the project is released into a namespace of its own, and `releaser verify` runs its experiments on it. Results
go to bench/results/verify.json without the timelines, which belong to a run's report. Exit code 1: one does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.platforms.tables import markdown
from bench.record import circumstances, save
from releaser.adapters.cluster import Cluster
from releaser.settings import load_project
from tests.cluster.site import site
from tests.conftest import ROOT

_BROKEN = 10  # releaser's exit code when a promise doesn't hold


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all")
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    options = parser.parse_args()
    cluster = Cluster(options.context)
    document = circumstances(cluster)
    with tempfile.TemporaryDirectory() as directory, site(Path(directory) / "project", cluster) as where:
        where.releaser("deploy", "dev")
        running = where.start("verify", "dev", *options.experiments)
        for event in running.events():
            if event["event"] == "StepEnded":
                print(f"{event.get('name')}: {event.get('detail', '')}", flush=True)
        ended = running.end()
    if ended.code not in (0, _BROKEN):
        raise SystemExit(f"releaser verify ended with {ended.code}:\n{ended.stderr}")
    document |= kept(json.loads(ended.stdout))
    print(f"\n{TABLES['promises'](document)}\n\nwritten to {save('verify', document)}")
    return int(not document["holds"])


def kept(said: Mapping[str, Any]) -> dict[str, Any]:
    """Of what releaser said: each promise, what came of it, and its figures."""
    names = ("promise", "outcome", "measurements", "reason", "elapsed_seconds")
    return {
        "holds": said["holds"],
        "sent": said["sent"],
        "lost": said["lost"],
        "conclusions": [{name: each[name] for name in names} for each in said["conclusions"]],
    }


def _promises(document: Mapping[str, Any]) -> str:
    rows = [
        [
            f"`{each['promise']['name']}`",
            _cell(each["promise"]["hypothesis"]),
            each["outcome"],
            _cell("; ".join(map(_figure, each["measurements"])) or each["reason"]),
        ]
        for each in document["conclusions"]
    ]
    return markdown(["experiment", "what is believed", "", "measured"], rows)


def _figure(measured: Mapping[str, Any]) -> str:
    value = measured["value"]
    if value is None:
        return f"{measured['name']}: never"
    shown = f"{value:.0f}" if value == int(value) else f"{value:.3g}"
    return f"{measured['name']} {shown} {measured['unit']}".rstrip()


def _cell(text: str) -> str:
    """A table's cell must not hold its border."""
    return text.replace("|", "\\|")


TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"promises": _promises}


if __name__ == "__main__":
    sys.exit(main())
