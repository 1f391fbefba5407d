"""How long lint takes, and what it finds: `python -m bench.lint [--rounds N] [--charts DIR...] [--corpus]`.

Side by side, in turns and in one run, as whole commands: `ct lint` and `releaser lint` of the project's chart and of
any others given, the latter with nothing kept from before and a second time. ct gets releaser's own helm, no network,
and for other charts no rules of style: it would stop at the first error and be done.
With --corpus, the broken charts of the tests are counted: how many each of the two rejects, and how many releaser names
with rule, file and line. Results go to bench/results/lint.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.record import ROOT, circumstances, save, table, tool
from checks.build import PROGRAMS, program
from tests.chart.corpus import DEFECTS, Defect

_SECONDS = 600
_NAMES = ("ct lint", "releaser lint, first", "releaser lint, again")
_CONFIGURATION = ("ct.yaml", "chart_schema.yaml", "lintconf.yaml")


class Bench:
    """Runs both on a chart of a project; `home` is where they keep what they like."""

    def __init__(self, home: Path) -> None:
        self._home = home
        tools = home / "tools"
        tools.mkdir()
        (tools / "helm").symlink_to(tool("helm"))
        self._environment = {
            **os.environ,
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "KUBECONFIG": os.devnull,
            "PYTHONPATH": str(ROOT),
        }

    def ct(self, project: Path | None, chart: Path) -> list[str]:
        configuration = [f"--{key}={ROOT / file}" for key, file in zip(_OPTIONS, _CONFIGURATION, strict=True)]
        if project is None:
            anything = self._home / "lintconf.yaml"
            anything.write_text("rules: {}\n", encoding="utf-8")
            configuration[-1] = f"--lint-conf={anything}"
        return [str(program("ct")), "lint", *configuration, "--all=false", "--charts", str(chart)]

    def releaser(self, project: Path | None, chart: Path) -> list[str]:
        where = ["--project", str(project)] if project else []
        return [
            sys.executable,
            "-m",
            "releaser",
            *where,
            "lint",
            "--format",
            "json",
            *([] if project else [str(chart)]),
        ]

    def run(self, argv: Sequence[str], cwd: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
        cache = {"XDG_CACHE_HOME": str(self._home / "cache")}
        started = time.monotonic()
        finished = subprocess.run(
            argv, cwd=cwd, env=self._environment | cache, capture_output=True, text=True, timeout=_SECONDS
        )
        return time.monotonic() - started, finished

    def forget(self) -> None:
        kept = self._home / "cache" / "releaser" / "lint"
        for path in kept.iterdir() if kept.is_dir() else ():
            path.unlink()


_OPTIONS = ("config", "chart-yaml-schema", "lint-conf")


def _times(bench: Bench, project: Path | None, chart: Path, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in _NAMES}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        bench.forget()
        for name in _NAMES:
            argv = bench.ct(project, chart) if name == "ct lint" else bench.releaser(project, chart)
            elapsed, finished = bench.run(argv, ROOT if project else chart.parent)
            seconds[name].append(elapsed)
            answers[name] = finished
    document = json.loads(answers[_NAMES[1]].stdout)
    found = document["findings"]
    counts = {grade: sum(each["severity"] == grade for each in found) for grade in ("error", "warning", "info")}
    print(f"{chart.name:32} " + "  ".join(f"{name} {statistics.median(each):.2f} s" for name, each in seconds.items()))
    return {
        "seconds": seconds,
        "ct_rejects": answers["ct lint"].returncode != 0,
        "ct_says": answers["ct lint"].stdout[-2000:],
        "found": counts,
    }


def _shown(measured: dict[str, dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for chart, each in measured.items():
        ct, first, again = (statistics.median(each["seconds"][name]) for name in _NAMES)
        found = "/".join(str(each["found"][grade]) for grade in ("error", "warning", "info"))
        rows.append([chart, ct, first, again, ct / first, "rejects" if each["ct_rejects"] else "passes", found])
    headings = ["chart", *(f"{name}, s" for name in _NAMES), "ct / first", "ct", "errors/warnings/infos"]
    return table(headings, rows)


def _corpus(bench: Bench) -> dict[str, Any]:
    rejected, found, named = [], [], []
    for number, defect in enumerate(DEFECTS, 1):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name) / "project"
            defect.make(root)
            subprocess.run(["git", "init", "--quiet", root], check=True)
            _, ct = bench.run([str(program("ct")), "lint", "--config", "ct.yaml"], root)
            _, ours = bench.run(bench.releaser(root, root), root)
            findings = json.loads(ours.stdout)["findings"]
            if ct.returncode:
                rejected.append(defect.name)
            if any(each["severity"] != "info" for each in findings):
                found.append(defect.name)
            if any(_names(defect, root, each) for each in findings):
                named.append(defect.name)
        print(f"{number}/{len(DEFECTS)} {defect.name}", flush=True)
    both = [name for name in rejected if name in found]
    print(
        f"of {len(DEFECTS)} broken charts ct rejects {len(rejected)}; releaser finds {len(both)} of these, "
        f"{len(found)} in all, and names {len(named)} with rule, file and line"
    )
    return {"defects": len(DEFECTS), "ct_rejects": rejected, "found": found, "named": named}


def _names(defect: Defect, root: Path, finding: dict[str, Any]) -> bool:
    line = defect.line(root)
    at = (finding["rule"], finding["file"]) == (defect.rule, defect.found_in)
    return at and line in (0, finding["line"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lint", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--charts", type=Path, nargs="*", default=[], metavar="DIR", help="other charts to look at")
    parser.add_argument("--corpus", action="store_true", help="count what is found of the tests' broken charts")
    options = parser.parse_args()
    document = circumstances(None, {"ct": PROGRAMS["ct"].version})
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        own = ROOT / "charts" / "flask-hello"
        document["charts"] = measured = {own.name: _times(bench, ROOT, own, options.rounds)}
        for chart in options.charts:
            measured[chart.name] = _times(bench, None, chart.resolve(), options.rounds)
        print(f"\n{_shown(measured)}")
        if options.corpus:
            document["corpus"] = _corpus(bench)
    print(f"\nwritten to {save('lint', document)}")


if __name__ == "__main__":
    main()
