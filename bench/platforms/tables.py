"""What bench/results/platforms.json says, as Markdown: medians over the rounds, with the least and the most."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_MIB, _GIB = 2**20, 2**30


def _start(document: Document) -> str:
    rows = []
    for key, each in document["contestants"].items():
        more = _figures(document, key, "scale", "seconds")
        rows.append(
            [
                each["name"],
                str(each["instances"]),
                _spread(_figures(document, key, "start", "seconds"), " s"),
                _spread(_figures(document, key, "start", "command_seconds"), " s"),
                _spread(more, " s") if more else "not without a proxy",
            ]
        )
    headings = ["", "instances", "from nothing to all answering", "its command ends after", "one instance more"]
    return markdown(headings, rows)


def _recovery(document: Document) -> str:
    rows = []
    for key, each in document["contestants"].items():
        for what, shown in (("process", "service"), ("unit", _UNITS[key])):
            phase = f"kill {what}"
            rows.append(
                [
                    each["name"],
                    shown,
                    _back(document, key, phase),
                    _lost(document, key, phase),
                    _gap(document, key, phase),
                ]
            )
    headings = ["", "killed", "all instances answer again", "requests lost", "longest gap"]
    return markdown(headings, rows)


_UNITS = {
    "kubernetes": "pod",
    "compose": "container",
    "compose-proxy": "container",
    "machine": "machine",
    "machines": "machine",
}


def _back(document: Document, key: str, phase: str) -> str:
    by_itself = [each for each in _figures(document, key, phase, "seconds")]
    rounds = len(document["rounds"])
    if len(by_itself) == rounds:
        return _spread(by_itself, " s")
    by_hand = _spread(_figures(document, key, phase, "by_hand_seconds"), " s")
    never = "not by itself" if not by_itself else f"not by itself in {rounds - len(by_itself)} of {rounds}"
    return f"{never}; {by_hand} from the command on"


def _updates(document: Document) -> str:
    rows = [
        [
            each["name"],
            what,
            _spread(_figures(document, key, what, "seconds"), " s"),
            _spread(_figures(document, key, what, "command_seconds"), " s"),
            _lost(document, key, what),
            _gap(document, key, what),
        ]
        for key, each in document["contestants"].items()
        for what in ("update", "rollback")
    ]
    headings = [
        "",
        "",
        "until only the wanted version answers",
        "its command ends after",
        "requests lost",
        "longest gap",
    ]
    return markdown(headings, rows)


def _memory(document: Document) -> str:
    rows = []
    for key, each in document["contestants"].items():
        per_instance = instance_bytes(document, key)
        rows.append(
            [
                each["name"],
                _spread([value / _MIB for value in _memories(document, key, "platform")], " MiB", 0),
                _spread([value / _MIB for value in per_instance], " MiB", 0),
                f"{_GIB / statistics.median(per_instance):.1f}",
            ]
        )
    headings = ["", "what runs the instances", "one instance", "instances in a GiB"]
    return markdown(headings, rows)


def instance_bytes(document: Document, key: str) -> list[float]:
    """What one instance more took, in each round; all of it where there was only ever one."""
    return _figures(document, key, "scale", "more_bytes") or [
        float(each[key]["memory"]["1"]["instances"]) for each in document["rounds"]
    ]


def _memories(document: Document, key: str, what: str) -> list[float]:
    instances = str(document["contestants"][key]["instances"])
    return [float(each[key]["memory"][instances][what]) for each in document["rounds"]]


def _load(document: Document) -> str:
    best = max(_middle(document, key, "load", "closed", "per_second") for key in document["contestants"])
    rows = []
    for key, each in document["contestants"].items():
        rate = _figures(document, key, "load", "closed", "per_second")
        rows.append(
            [
                each["name"],
                _spread(rate, "/s", 0),
                f"{statistics.median(rate) / best:.2f}",
                *(_milliseconds(document, key, "load", "open", f"p{rank}_seconds") for rank in (50, 99)),
            ]
        )
    at = f"{document['settings']['latency_requests_per_second']:.0f}/s"
    return markdown(["", "throughput", "to the best", f"p50 at {at}", f"p99 at {at}"], rows)


def _synthesis(document: Document) -> str:
    """Platforms as columns, what was measured as rows."""
    keys = list(document["contestants"])

    def row(name: str, cell: Callable[[str], str]) -> list[str]:
        return [name, *map(cell, keys)]

    def kill(phase: str) -> Callable[[str], str]:
        def cell(key: str) -> str:
            back = _figures(document, key, phase, "seconds")
            return f"{statistics.median(back):.1f} s" if len(back) == len(document["rounds"]) else "by hand"

        return cell

    def change(phase: str) -> Callable[[str], str]:
        return lambda key: f"{_middle(document, key, phase, 'seconds'):.1f} s, {_lost(document, key, phase)} lost"

    rows = [
        row("start", lambda key: f"{_middle(document, key, 'start', 'seconds'):.1f} s"),
        row("service killed: back after", kill("kill process")),
        row("unit killed: back after", kill("kill unit")),
        row("update", change("update")),
        row("rollback", change("rollback")),
        row("one instance", lambda key: f"{statistics.median(instance_bytes(document, key)) / _MIB:.0f} MiB"),
        row("around them", lambda key: f"{statistics.median(_memories(document, key, 'platform')) / _MIB:.0f} MiB"),
        row("throughput", lambda key: f"{_middle(document, key, 'load', 'closed', 'per_second'):.0f}/s"),
        row("p99", lambda key: f"{_middle(document, key, 'load', 'open', 'p99_seconds') * 1e3:.0f} ms"),
    ]
    return markdown(["", *(each["name"] for each in document["contestants"].values())], rows)


def _accelerator(document: Document) -> str:
    used = document.get("accelerator")
    if used is None:
        return "no machine took part in this run"
    if used["name"] == "kvm":
        return "virtual machines with KVM"
    return (
        f"virtual machines with TCG, every instruction translated by software, because {used['reason']}: of their "
        "seconds, throughput and latency only the order of events means something elsewhere"
    )


def _rounds(document: Document) -> str:
    count = len(document["rounds"])
    return f"{count} round{'s' if count != 1 else ''}"


def _said(key: str, figure: Callable[[Document], str]) -> Callable[[Document], str]:
    """A figure for a sentence; it is said when its contestant had no part in the run."""
    return lambda document: figure(document) if key in document["contestants"] else "not in this run"


def _words(key: str, *path: str) -> Callable[[Document], str]:
    """Seconds, unless there was a round in which it never happened."""

    def words(document: Document) -> str:
        figures = _figures(document, key, *path)
        return (
            f"{statistics.median(figures):.1f} s" if len(figures) == len(document["rounds"]) else "not always by itself"
        )

    return _said(key, words)


def _around(key: str) -> Callable[[Document], str]:
    return _said(key, lambda document: f"{statistics.median(_memories(document, key, 'platform')) / _MIB:.0f} MiB")


def _instance(key: str) -> Callable[[Document], str]:
    return _said(key, lambda document: f"{statistics.median(instance_bytes(document, key)) / _MIB:.0f} MiB")


def _changes(key: str) -> Callable[[Document], str]:
    """Requests lost in updates and rollbacks together."""

    def words(document: Document) -> str:
        lost, sent = (
            sum(sum(_figures(document, key, phase, name)) for phase in ("update", "rollback"))
            for name in ("failed", "sent")
        )
        return f"{lost:.0f} of {sent:.0f} requests"

    return _said(key, words)


TABLES: Mapping[str, Callable[[Document], str]] = {
    "start": _start,
    "recovery": _recovery,
    "updates": _updates,
    "memory": _memory,
    "load": _load,
    "synthesis": _synthesis,
    "accelerator": _accelerator,
    "rounds": _rounds,
    "pod-back": _words("kubernetes", "kill unit", "seconds"),
    "gap-compose": _words("compose", "update", "longest_gap_seconds"),
    "gap-machine": _words("machine", "update", "longest_gap_seconds"),
    "changes-kubernetes": _changes("kubernetes"),
    "changes-compose": _changes("compose-proxy"),
    "changes-machines": _changes("machines"),
    "around-kubernetes": _around("kubernetes"),
    "around-compose": _around("compose"),
    "instance-kubernetes": _instance("kubernetes"),
    "instance-compose": _instance("compose-proxy"),
    "instance-machines": _instance("machines"),
}


# -- cells -------------------------------------------------------------------------------------------------------------


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figures(document: Document, key: str, *path: str) -> list[float]:
    """One a round; without those in which there was none."""
    found = []
    for each in document["rounds"]:
        value = each[key]
        for name in path:
            value = value.get(name) if value else None
        if value is not None:
            found.append(float(value))
    return found


def _middle(document: Document, key: str, *path: str) -> float:
    return statistics.median(_figures(document, key, *path))


def _spread(figures: Sequence[float], unit: str, digits: int = 1) -> str:
    """The median, and what it lies between when there are several."""
    if not figures:
        return "-"
    middle = f"{statistics.median(figures):.{digits}f}{unit}"
    if len(figures) == 1:
        return middle
    return f"{middle} ({min(figures):.{digits}f}-{max(figures):.{digits}f})"


def _milliseconds(document: Document, key: str, *path: str) -> str:
    return _spread([value * 1000 for value in _figures(document, key, *path)], " ms")


def _gap(document: Document, key: str, phase: str) -> str:
    return _spread(_figures(document, key, phase, "longest_gap_seconds"), " s", 2)


def _lost(document: Document, key: str, phase: str) -> str:
    """Of all rounds together: one lost request in three rounds is not none."""
    lost, sent = (sum(_figures(document, key, phase, name)) for name in ("failed", "sent"))
    return f"{lost:.0f} of {sent:.0f}"
