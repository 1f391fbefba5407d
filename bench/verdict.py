"""How long until a release is known to be bad, and what a good one costs: `python -m bench.verdict [OPTIONS]`.

Side by side on one cluster, each in a namespace of its own, with the same chart, values and image:

    helm upgrade --wait                 ends when it knows
    helm upgrade --rollback-on-failure  ends when it is back
    helmfile apply (or sync)            Helm's --wait behind it
    releaser deploy                     verdict and end are told apart

Part 1 breaks releases (tests/cluster/broken.py) after a good one; beside releaser, pods are watched for the first sign
that no waiting mends (bench/signs.py). Part 2 releases good ones by `helm upgrade --wait`,
by the same with `helm test`, and by releaser, in turns, with pods that really roll; for releaser the part from the
upgrade to the end of the rollout is told too, since that is what `helm upgrade --wait` does.
Helm is given --helm-timeout (its own default is 300 s) and only it: the figures say which. Results go to
bench/results/verdict.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.contestants import Attempt, Contestant, Helm, Helmfile, Releaser, helm_diff_installed, helmfile_version
from bench.record import circumstances, save, table
from releaser.adapters.cluster import Cluster
from releaser.settings import load_project
from tests.cluster.broken import BROKEN, Broken, greeting, named
from tests.cluster.site import RELEASE, Site, site
from tests.conftest import ROOT

DEFAULT_BROKEN = ("crash at start", "image of no registry", "Secret without the key", "more CPU than any node has")
# It needs releaser's own record of the image.
_NOT_FOR_OTHERS = "image of an older build"
# What `helm upgrade --wait` does, as releaser's steps.
_UPGRADE, _ROLL_OUT = "upgrade", "end of roll out"


def main() -> None:
    options = _options()
    cluster = Cluster(options.context)
    image = _image(cluster)
    helmfile = helmfile_version()
    document = circumstances(cluster, {"helmfile": helmfile} if helmfile else None)
    document["helm_timeout_seconds"] = options.helm_timeout

    contestants = [Releaser()] if options.releaser_only else _contestants(image, options.helm_timeout, helmfile)
    bad = [_broken_round(cluster, contestants, each) for each in _chosen(options)]
    document["broken"] = bad
    print(_broken_table(bad, contestants, options.helm_timeout))

    if options.rounds:
        good = _good_rounds(cluster, image, options.helm_timeout, options.rounds)
        document["good"] = good
        print(_good_table(good))
    print(f"\nwritten to {save('verdict', document)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.verdict", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--broken", action="append", metavar="NAME", help=f"default: {', '.join(DEFAULT_BROKEN)}")
    parser.add_argument("--all-broken", action="store_true", help="the whole catalogue")
    parser.add_argument("--releaser-only", action="store_true", help="break releases with releaser alone")
    parser.add_argument("--no-broken", action="store_true", help="only the good ones")
    parser.add_argument("--rounds", type=int, default=5, help="good upgrades of each kind")
    parser.add_argument("--helm-timeout", type=int, default=300, metavar="SECONDS", help="default: 300, as Helm's own")
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Broken]:
    if options.no_broken:
        return []
    if options.all_broken:
        return [broken for broken in BROKEN if broken.name != _NOT_FOR_OTHERS]
    return [named(name) for name in options.broken or DEFAULT_BROKEN]


def _contestants(image: str, timeout: int, helmfile: str) -> list[Contestant]:
    wait = ("--wait", "--timeout", f"{timeout}s")
    found: list[Contestant] = [
        Helm("helm upgrade --wait", wait, image),
        Helm("helm upgrade --rollback-on-failure", ("--rollback-on-failure", *wait), image),
    ]
    if helmfile:
        verb = "apply" if helm_diff_installed() else "sync"
        found.append(Helmfile(f"helmfile {verb}", verb, timeout, image))
    return [*found, Releaser()]


def _image(cluster: Cluster) -> str:
    """Built and loaded once, by releaser: nobody is measured at that."""
    with _project(cluster) as where:
        image = where.json("load", "dev")["image"]
        return f"{image['repository']}:{image['tag']}"


@contextmanager
def _project(cluster: Cluster) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as directory, site(Path(directory) / "project", cluster) as where:
        yield where


# -- broken ones -------------------------------------------------------------------------------------------------------


def _broken_round(cluster: Cluster, contestants: Sequence[Contestant], broken: Broken) -> dict[str, Any]:
    figures: dict[str, Any] = {"release": broken.name, "cause": broken.cause, "contestants": {}}
    for contestant in contestants:
        with _project(cluster) as where:
            greeting(where, "Good")
            _require_good(contestant.release(where), contestant)
            greeting(where, "Broken")
            broken.make(where)
            attempt = contestant.release(where)
            figures["contestants"][contestant.name] = {
                **asdict(attempt),
                "recorded": _recorded(where),
                "greeting_afterwards": where.get()["message"],
            }
            print(f"{broken.name}: {contestant.name}: {attempt.code}, {attempt.verdict_seconds:.1f} s", flush=True)
    return figures


def _require_good(attempt: Attempt, contestant: Contestant) -> None:
    assert attempt.code == 0, f"{contestant.name} failed at a good release: {attempt.said}"


def _recorded(where: Site) -> list[str]:
    """Status of each revision as Helm has it, newest first."""
    return [f"{revision['number']} {revision['status']}" for revision in where.history()]


def _broken_table(figures: list[dict[str, Any]], contestants: Sequence[Contestant], timeout: int) -> str:
    rows = [
        (
            each["release"],
            name,
            seen["sign_to_verdict_seconds"],
            seen["upgrade_to_verdict_seconds"],
            seen["whole_seconds"],
            seen["code"],
            seen["cause"] or "-",
        )
        for each in figures
        for name, seen in each["contestants"].items()
    ]
    medians = [_medians([row for row in rows if row[1] == contestant.name]) for contestant in contestants if rows]
    headings = ("broken release", "tool", "sign to verdict s", "upgrade to verdict s", "end s", "exit", "cause named")
    return f"\ntime to verdict (helm --timeout {timeout} s)\n{table(headings, [*rows, *medians])}"


def _medians(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    columns = ([row[column] for row in rows if row[column] is not None] for column in (2, 3, 4))
    return ("median", rows[0][1], *(statistics.median(each) if each else None for each in columns), None, "")


# -- good ones ---------------------------------------------------------------------------------------------------------


def _good_rounds(cluster: Cluster, image: str, timeout: int, rounds: int) -> dict[str, Any]:
    wait = ("--wait", "--timeout", f"{timeout}s")
    contestants: list[Contestant] = [
        Helm("helm upgrade --wait", wait, image),
        Helm("helm upgrade --wait, helm test", wait, image, tested=True),
        Releaser(),
    ]
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    seconds["releaser, upgrade to rolled out"] = []
    with ExitStack() as stack:
        sites = {contestant.name: stack.enter_context(_project(cluster)) for contestant in contestants}
        for number in range(rounds + 1):  # the first is the installation, which isn't counted
            turn = number % len(contestants)
            for contestant in [*contestants[turn:], *contestants[:turn]]:
                attempt = _good_release(sites[contestant.name], contestant, number)
                if number == 0:
                    continue
                seconds[contestant.name].append(attempt.whole_seconds)
                if isinstance(contestant, Releaser):
                    begun = attempt.steps[f"end of {_UPGRADE}"] - attempt.steps[_UPGRADE]
                    seconds["releaser, upgrade to rolled out"].append(attempt.steps[_ROLL_OUT] - begun)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    base = medians["helm upgrade --wait"]
    return {
        "rounds": rounds,
        "seconds": seconds,
        "medians": medians,
        "ratio_to_helm_upgrade_wait": {name: median / base for name, median in medians.items()},
        "ratio_of_whole_to_upgrade_and_test": medians["releaser deploy"] / medians["helm upgrade --wait, helm test"],
    }


def _good_release(where: Site, contestant: Contestant, number: int) -> Attempt:
    """A release with another greeting. Every pod must be a new one, else nothing was measured."""
    before = {pod.name for pod in where.cluster.pods(where.namespace, RELEASE)}
    greeting(where, f"Number {number}")
    attempt = contestant.release(where)
    _require_good(attempt, contestant)
    ready = {pod.name for pod in where.cluster.pods(where.namespace, RELEASE) if pod.ready and not pod.terminating}
    assert ready and not ready & before, f"{contestant.name} left old pods: {ready & before}"
    print(f"good {number}: {contestant.name}: {attempt.whole_seconds:.1f} s", flush=True)
    return attempt


def _good_table(good: dict[str, Any]) -> str:
    rows = [
        (name, median, min(good["seconds"][name]), max(good["seconds"][name]), f"{ratio:.2f}")
        for (name, median), ratio in zip(
            good["medians"].items(), good["ratio_to_helm_upgrade_wait"].values(), strict=True
        )
    ]
    headings = ("good upgrade", "median s", "min s", "max s", "to helm --wait")
    share = good["ratio_of_whole_to_upgrade_and_test"]
    return (
        f"\n{good['rounds']} rounds in turns\n{table(headings, rows)}\n"
        f"releaser deploy to helm upgrade --wait with helm test: {share:.2f}"
    )


if __name__ == "__main__":
    main()
