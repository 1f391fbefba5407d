"""Deploys that are killed, and whether the next one puts everything right: `python -m bench.recover [--only WHAT]`.

    boundaries   SIGKILL of releaser at every step boundary
    helm         SIGKILL of helm at every write to the API server, before and after it is done there
    orphan       SIGKILL of releaser at every write of helm, which goes on alone
    both         the same of helm and releaser at once, as when a machine is switched off

Each is a deploy in mid-upgrade from a good revision; the next deploy, with no step between, must exit 0, leave the
newest revision deployed and good, and answer with its own greeting; no request from the kill on may fail. The numbers
rise until a deploy ends by itself. Figures go to bench/results/recover.json; exit code 1: one wasn't recovered.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.record import circumstances, save, table
from releaser.adapters.cluster import Cluster
from releaser.settings import load_project
from tests.cluster.broken import greeting
from tests.cluster.recovery import Death, Recovery, Victim, at_boundary, at_write, recovered
from tests.cluster.site import Site, site
from tests.conftest import ROOT

Series = Callable[[int], Death]

_MORE_THAN_THERE_ARE = 1000


def _at_writes(victim: Victim) -> tuple[Series, ...]:
    return tuple(partial(at_write, victim=victim, done=done) for done in (False, True))


SERIES: dict[str, tuple[Series, ...]] = {
    "boundaries": (at_boundary,),
    "helm": _at_writes(Victim.HELM),
    "orphan": _at_writes(Victim.RELEASER),
    "both": _at_writes(Victim.BOTH),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recover", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=SERIES, action="append", help="may be repeated; default: all")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="N", help="first boundary or write")
    parser.add_argument(
        "--to", type=int, dest="last", metavar="N", help="last one; default: until a deploy ends by itself"
    )
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    options = parser.parse_args()
    cluster = Cluster(options.context)
    names: list[str] = options.only or list(SERIES)
    numbers = range(options.first, (options.last or _MORE_THAN_THERE_ARE) + 1)

    document = circumstances(cluster)
    document["numbers"] = f"from {options.first}" + (f" to {options.last}" if options.last else " until none dies")
    runs = {name: list(_killed(cluster, SERIES[name], numbers)) for name in names}
    document["recovered"] = {name: f"{sum(run.good for run in each)}/{len(each)}" for name, each in runs.items()}
    document["runs"] = {name: [{**asdict(run), "good": run.good} for run in each] for name, each in runs.items()}
    print()
    print(table(("killed", "recovered"), list(document["recovered"].items())))
    print(f"written to {save('recover', document)}")
    sys.exit(0 if all(run.good for each in runs.values() for run in each) else 1)


def _killed(cluster: Cluster, series: tuple[Series, ...], numbers: range) -> Iterator[Recovery]:
    """One run for each number and each of the series, in a project of its own; ends when nothing dies any more."""
    with tempfile.TemporaryDirectory() as directory, site(Path(directory) / "project", cluster) as where:
        _release(where, "zero")
        texts = (f"release {count}" for count in itertools.count(1))
        for number in numbers:
            runs = [run for death in series if (run := _one(where, death(number), next(texts)))]
            yield from runs
            if not runs:
                return


def _one(where: Site, death: Death, wanted: str) -> Recovery | None:
    started = time.monotonic()
    run = recovered(where, death, wanted)
    if run is not None:
        print(f"{'ok' if run.good else 'FAIL':<4} {time.monotonic() - started:5.1f} s  {run.where}", flush=True)
        if not run.good:
            print(f"     {run}", flush=True)
            _begin_anew(where)
    return run


def _begin_anew(where: Site) -> None:
    """What wasn't recovered must not spoil the next run."""
    where.releaser("destroy", "dev")
    _release(where, "anew")


def _release(where: Site, text: str) -> None:
    greeting(where, text)
    where.releaser("deploy", "dev")


if __name__ == "__main__":
    main()
