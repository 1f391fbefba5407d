"""Figures in docs come from bench/results, and tables say what the rounds say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import tables, verify
from bench.platforms.tables import TABLES as PLATFORMS
from bench.record import RESULTS

PLACE = "We saw <!-- bench:platforms/rounds -->old<!-- /bench -->."
BLOCK = "<!-- bench:platforms/start -->\n\nold\n\n<!-- /bench -->\n"


def _killed(seconds: float | None, failed: int, by_hand: float | None = None) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "by_hand_seconds": by_hand,
        "sent": 100,
        "failed": failed,
        "longest_gap_seconds": 0.25,
    }


def _turn(seconds: float, *, alone: bool) -> dict[str, Any]:
    """One contestant's figures in a round; each is `seconds` or made from it."""
    changed = {**_killed(seconds, 0), "command_seconds": seconds + 1}
    turn: dict[str, Any] = {
        "start": {"seconds": seconds, "command_seconds": seconds + 1},
        "memory": {"1": {"platform": 100 * 2**20, "instances": 64 * 2**20}},
        "kill process": _killed(seconds, 2),
        "kill unit": _killed(None, 90, by_hand=seconds) if alone else _killed(seconds, 0),
        "update": changed,
        "rollback": changed,
        "load": {
            "closed": {"per_second": 100 * seconds},
            "open": {"p50_seconds": seconds / 1000, "p99_seconds": seconds / 100},
        },
    }
    if not alone:
        turn["memory"]["2"] = {"platform": 100 * 2**20, "instances": 160 * 2**20}
        turn["scale"] = {"seconds": seconds, "more_bytes": 32 * 2**20}
    return turn


def _document(*seconds: float) -> dict[str, Any]:
    """A run with one round for each of `seconds`."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"cores": 2, "memory_bytes": 24 * 2**30, "system": "Linux", "load_1_5_15": [0.5, 0.4, 0.3]},
        "versions": {"kubernetes": "1.35.4", "helm": ""},
        "settings": {"latency_requests_per_second": 50.0},
        "accelerator": {"name": "tcg", "reason": "there is no /dev/kvm"},
        "contestants": {
            "kubernetes": {"name": "Kubernetes", "instances": 2},
            "compose": {"name": "Compose, one", "instances": 1},
        },
        "rounds": [
            {"kubernetes": _turn(each, alone=False), "compose": _turn(each / 2, alone=True)} for each in seconds
        ],
    }


def _row(figure: str, name: str, *seconds: float) -> list[str]:
    """The cells of the first row that begins with the name."""
    lines = PLATFORMS[figure](_document(*seconds)).splitlines()
    return next(cells for line in lines if (cells := [cell.strip() for cell in line.split("|")[1:-1]])[0] == name)


def _saved(directory: Path, document: dict[str, Any]) -> Path:
    (directory / "platforms.json").write_text(json.dumps(document))
    return directory


# -- places in documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: path.name)
def test_documents_say_what_the_committed_results_give(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert tables.filled(text, RESULTS, tables.link(path)) == text, "python -m bench.tables brings it up to date"


def test_words_become_a_link_to_their_run(tmp_path: Path) -> None:
    said = tables.filled(PLACE, _saved(tmp_path, _document(1.0, 2.0)), "../r")
    assert said == "We saw <!-- bench:platforms/rounds -->[2 rounds](../r/platforms.json)<!-- /bench -->."


def test_a_table_stands_on_lines_of_its_own_above_the_run_that_made_it(tmp_path: Path) -> None:
    said = tables.filled(BLOCK, _saved(tmp_path, _document(1.0)), "../r")
    lines = said.splitlines()
    assert lines[0] == "<!-- bench:platforms/start -->" and lines[-1] == "<!-- /bench -->"
    assert lines[2].startswith("|") and "old" not in said
    [run] = [line for line in lines if line.startswith("*[The run](../r/platforms.json)")]
    assert "2026-01-02 03:04 UTC: 2 cores, 24 GiB, load 0.5" in run and "kubernetes 1.35.4" in run
    assert "helm" not in run  # it has no version in this document


def test_filling_twice_changes_nothing(tmp_path: Path) -> None:
    results = _saved(tmp_path, _document(1.0))
    once = tables.filled(PLACE + "\n" + BLOCK, results, "r")
    assert tables.filled(once, results, "r") == once


def test_a_place_without_results_names_the_command_that_makes_them(tmp_path: Path) -> None:
    assert "`python -m bench.platforms`" in tables.filled(BLOCK, tmp_path, "r")


def test_a_place_for_no_known_figure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        tables.filled("<!-- bench:platforms/beauty --><!-- /bench -->", tmp_path, "r")


# -- what the tables say -----------------------------------------------------------------------------------------------


def test_figures_are_the_median_and_what_it_lies_between() -> None:
    assert _row("start", "Kubernetes", 9.0, 1.0, 2.0)[2] == "2.0 s (1.0-9.0)"


def test_one_round_has_no_spread() -> None:
    assert _row("start", "Kubernetes", 2.0)[2] == "2.0 s"


def test_one_more_is_not_measured_where_there_can_be_only_one() -> None:
    assert _row("start", "Kubernetes", 2.0)[4] == "2.0 s"
    assert _row("start", "Compose, one", 2.0)[4] == "not without a proxy"


def test_what_did_not_come_back_by_itself_is_said_to() -> None:
    lines = PLATFORMS["recovery"](_document(2.0, 4.0)).splitlines()
    [unit] = [line for line in lines if "Compose, one | container" in line]
    assert "not by itself; 1.5 s (1.0-2.0) from the command on" in unit


def test_what_came_back_by_itself_in_some_rounds_only_is_told_as_that() -> None:
    document = _document(2.0, 4.0)
    document["rounds"][0]["kubernetes"]["kill unit"] = _killed(None, 90, by_hand=7.0)
    lines = PLATFORMS["recovery"](document).splitlines()
    [unit] = [line for line in lines if "Kubernetes | pod" in line]
    assert "not by itself in 1 of 2; 7.0 s from the command on" in unit


def test_lost_requests_are_those_of_all_rounds() -> None:
    assert _row("recovery", "Kubernetes", 2.0, 3.0)[3] == "4 of 200"


def test_an_instances_memory_is_what_one_more_took() -> None:
    row = _row("memory", "Kubernetes", 2.0)
    assert row[1:] == ["100 MiB", "32 MiB", "32.0"]


def test_a_single_instance_takes_all_that_was_measured() -> None:
    assert _row("memory", "Compose, one", 2.0)[2:] == ["64 MiB", "16.0"]


def test_throughput_is_told_beside_the_best() -> None:
    assert _row("load", "Kubernetes", 2.0)[1:3] == ["200/s", "1.00"]
    assert _row("load", "Compose, one", 2.0)[1:3] == ["100/s", "0.50"]


def test_the_synthesis_has_a_column_for_each() -> None:
    assert _row("synthesis", "unit killed: back after", 2.0) == ["unit killed: back after", "2.0 s", "by hand"]


def test_translated_machines_are_told_with_the_reason() -> None:
    assert "there is no /dev/kvm" in PLATFORMS["accelerator"](_document(1.0))


def test_a_sentence_about_one_that_had_no_part_in_the_run_says_so() -> None:
    assert PLATFORMS["instance-machines"](_document(1.0)) == "not in this run"
    assert PLATFORMS["instance-kubernetes"](_document(1.0)) == "32 MiB"


def test_a_sentence_gives_no_seconds_for_what_did_not_always_come_back() -> None:
    document = _document(2.0, 4.0)
    assert PLATFORMS["pod-back"](document) == "3.0 s"
    document["rounds"][0]["kubernetes"]["kill unit"] = _killed(None, 90, by_hand=7.0)
    assert PLATFORMS["pod-back"](document) == "not always by itself"


def test_promises_are_told_with_what_was_measured() -> None:
    def measured(name: str, value: float | None, unit: str = "") -> dict[str, Any]:
        return {"name": name, "value": value, "unit": unit, "at_most": 60, "at_least": None, "note": ""}

    def conclusion(name: str, outcome: str, reason: str, *figures: dict[str, Any]) -> dict[str, Any]:
        promise = {"name": name, "hypothesis": "a | b", "criterion": "", "about_seconds": 5}
        conclusion = {"promise": promise, "outcome": outcome, "reason": reason, "measurements": list(figures)}
        return {**conclusion, "elapsed_seconds": 9.5, "timeline": {"requests": []}}

    killed = conclusion("pod-delete", "holds", "", measured("ready again", 2.345, "s"), measured("lost", 0))
    never = conclusion("autoscale", "does not hold", "", measured("scaled up", None, "s"))
    skipped = conclusion("drain", "skipped", "one node alone")
    kept = verify.kept({"holds": False, "sent": 10, "lost": 0, "conclusions": [killed, never, skipped], "other": 1})
    assert "timeline" not in kept["conclusions"][0] and "other" not in kept
    rows = verify.TABLES["promises"](kept).splitlines()[2:]
    assert rows == [
        "| `pod-delete` | a \\| b | holds | ready again 2.35 s; lost 0 |",
        "| `autoscale` | a \\| b | does not hold | scaled up: never |",
        "| `drain` | a \\| b | skipped | one node alone |",
    ]
