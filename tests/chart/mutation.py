"""Breaks the chart in one place at a time and sees whether its tests notice: python -m tests.chart.mutation --help

A line of a template or of values.yaml is taken out, or one thing in it is turned round: true and false, a condition, a
comparison, a number. A mutant that doesn't render is thrown away, for everyone would notice. The score is the share of
the rest that a test notices. Who survives stands in survivors.yaml with a reason, or is a hole in the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

import yaml

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.chart.helm import CHART, CI_VALUES, ROOT, Helm, Refused
from tests.fakes import Recorder

HERE = Path(__file__).parent
SURVIVORS = HERE / "survivors.yaml"
# Where a change is likely to be noticed is looked first.
FIRST = {
    "_contracts.tpl": "test_contracts.py",
    "configmap.yaml": "test_old_settings.py",
    "dashboard.yaml": "test_monitoring.py",
    "extraobjects.yaml": "test_extras.py",
    "hpa.yaml": "test_network_and_scale.py",
    "httproute.yaml": "test_outside.py",
    "ingress.yaml": "test_outside.py",
    "networkpolicy.yaml": "test_network_and_scale.py",
    "NOTES.txt": "test_project.py",
    "pdb.yaml": "test_network_and_scale.py",
    "preflight.yaml": "test_extras.py",
    "prometheusrule.yaml": "test_checks_rules.py",
    "secret.yaml": "test_secret_key.py",
    "serviceaccount.yaml": "test_network_and_scale.py",
    "servicemonitor.yaml": "test_monitoring.py",
    "check.yaml": "test_pods.py",
}
# The tests of what is rendered; not those that compare the chart's files with its documents.
TESTS = (
    "test_kustomize.py",
    "test_checks_schema.py",
    "test_objects.py",
    "test_pods.py",
    "test_network_and_scale.py",
    "test_extras.py",
    "test_outside.py",
    "test_monitoring.py",
    "test_checks_rules.py",
    "test_secret_key.py",
    "test_old_settings.py",
    "test_project.py",
    "test_contracts.py",
    "test_schema.py",
)
_PASSED, _FAILED = 0, 1
# So many of the tests that noticed something in a file are run before all others.
_LIKELY = 8
_LEFT_OUT = "not table and not descriptions and not comment and not lint and not helm_3"

_COMMENT = re.compile(r"\s*(#|\{\{- /\*|\{\{/\*)")
_TURNED = {"eq": "ne", "ne": "eq", "gt": "ge", "ge": "gt", "lt": "le", "le": "lt", "and": "or", "or": "and"}


class Outcome(Enum):
    STILLBORN = "doesn't render"
    NOTICED = "noticed"
    SURVIVED = "survived"


@dataclass(frozen=True)
class Mutant:
    """One line of a file of the chart, and what stands there instead; None: nothing."""

    file: str
    line: int
    old: str
    new: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.old.strip()} -> {self.new.strip() if self.new else '(nothing)'}"

    @property
    def known_as(self) -> str:
        """Without the line's number, which changes with every edit."""
        return f"{self.file} {self.old.strip()} -> {self.new.strip() if self.new else '(nothing)'}"


def mutants(chart: Path = CHART) -> list[Mutant]:
    files = [chart / "values.yaml", *sorted(p for p in (chart / "templates").rglob("*") if p.is_file())]
    return [
        Mutant(str(path.relative_to(chart)), number, line, new)
        for path in files
        for number, line in _lines(path.read_text(encoding="utf-8"))
        for new in (None, *_turned(line))
    ]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Those that aren't blank and no part of a comment."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        comment = inside or _COMMENT.match(line) is not None
        inside = (comment and "/*" in line.rpartition("*/")[2]) or (inside and "*/" not in line)
        if line.strip() and not comment:
            yield number, line


def _turned(line: str) -> Iterator[str]:
    for word, other in (("true", "false"), ("false", "true")):
        if re.search(rf"\b{word}\b", line):
            yield re.sub(rf"\b{word}\b", other, line, count=1)
            return
    if match := re.search(r"(\{\{-? (?:else )?if )(.*?)( -?\}\})", line):
        yield line[: match.start()] + f"{match[1]}not ({match[2]}){match[3]}" + line[match.end() :]
    if match := re.search(r"[ (](eq|ne|gt|ge|lt|le|and|or) (?=[(.$])", line):
        yield line[: match.start(1)] + _TURNED[match[1]] + line[match.end(1) :]
    # not how far something is indented
    if match := re.search(r"(?<!nindent )(?<![\w./\"$:-])(\d+)(?![\w.])", line):
        yield line[: match.start(1)] + str(int(match[1]) + 1) + line[match.end(1) :]


class Suite:
    """The chart's tests, run again and again. Those that noticed a mutant of a file are run first for the next one."""

    def __init__(self) -> None:
        self._noticed_by: dict[str, list[str]] = {}
        self._mine = threading.local()
        self._stack = ExitStack()
        self._home = self._stack.enter_context(tempfile.TemporaryDirectory())

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def notices(self, chart: Path, file: str = "") -> bool:
        """Whether a test fails with the chart, of which the file was changed."""
        known = self._noticed_by.setdefault(file, [])
        if known and self._run(chart, known[:_LIKELY])["status"] == _FAILED:
            return True
        first = FIRST.get(Path(file).name)
        ordered = sorted(TESTS, key=lambda name: name != first)
        answer = self._run(chart, [str(HERE / name) for name in ordered])
        assert answer["status"] in (_PASSED, _FAILED), answer["output"]
        if answer["failed"]:
            known.insert(0, answer["failed"])
        return bool(answer["status"] == _FAILED)

    def _run(self, chart: Path, tests: list[str]) -> dict[str, Any]:
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-k", _LEFT_OUT, *tests]
        stdin, stdout = self._pipes()
        stdin.write(json.dumps({"chart": str(chart), "arguments": arguments}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        """To and from the process that is this thread's."""
        if not hasattr(self._mine, "pipes"):
            process = self._stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.chart.forking"],
                    cwd=ROOT,
                    env=os.environ | {"PYTEST_DEBUG_TEMPROOT": self._home},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert process.stdin is not None and process.stdout is not None
            self._mine.pipes = process.stdin, process.stdout
        pipes: tuple[IO[str], IO[str]] = self._mine.pipes
        return pipes


def try_out(mutant: Mutant, helm: Helm, suite: Suite) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        chart = Path(name) / CHART.name
        shutil.copytree(CHART, chart)
        _write(mutant, chart)
        if not _renders(chart, helm):
            return Outcome.STILLBORN
        return Outcome.NOTICED if suite.notices(chart, mutant.file) else Outcome.SURVIVED


def _write(mutant: Mutant, chart: Path) -> None:
    path = chart / mutant.file
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[mutant.line - 1 : mutant.line] = [] if mutant.new is None else [mutant.new + "\n"]
    path.write_text("".join(lines), encoding="utf-8")


def _renders(chart: Path, helm: Helm) -> bool:
    """With its own values and with those that ask for most."""
    try:
        for values in (None, *(path for path in CI_VALUES if path.stem in ("full-values", "gateway-values"))):
            helm.render(values, chart=chart)
    except Refused:
        return False
    return True


def explained() -> dict[str, str]:
    """Survivors that are meant to survive, and why."""
    listed = yaml.safe_load(SURVIVORS.read_text(encoding="utf-8")) or []
    return {entry["mutant"]: entry["why"] for entry in listed}


def kept(log: Path, chosen: list[Mutant]) -> dict[Mutant, Outcome]:
    """Those of a run before that no later test can change: what a test noticed, and what doesn't render."""
    known = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        outcome = next((each for each in (Outcome.NOTICED, Outcome.STILLBORN) if line.startswith(each.value)), None)
        if outcome is not None:
            known[line.removeprefix(f"{outcome.value:15} ")] = outcome
    return {mutant: known[str(mutant)] for mutant in chosen if str(mutant) in known}


def helm(home: Path) -> Helm:
    return Helm(str(os.environ.get("HELM") or Tools(Process(Recorder())).path("helm")), home)


def report(outcomes: dict[Mutant, Outcome], seconds: float, *, kept: int = 0) -> str:
    counts = {outcome: sum(each is outcome for each in outcomes.values()) for outcome in Outcome}
    lived = counts[Outcome.NOTICED] + counts[Outcome.SURVIVED]
    why = explained()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    rows = [
        f"| `{str(mutant).replace('|', chr(92) + '|')}` | {why.get(mutant.known_as, '**a hole in the tests**')} |"
        for mutant, outcome in outcomes.items()
        if outcome is Outcome.SURVIVED
    ]
    return "\n".join(
        [
            "# What the chart's tests notice",
            "",
            f"`make mutation`, {day}, {seconds / 60:.0f} min on {os.cpu_count()} cores"
            f"{f', {kept} mutants of them in a run before' if kept else ''}.",
            "",
            f"Of {len(outcomes)} mutants {counts[Outcome.STILLBORN]} don't render. Of the other {lived} the tests "
            f"notice {counts[Outcome.NOTICED]}: {100 * counts[Outcome.NOTICED] / max(lived, 1):.1f} %.",
            "",
            "| Survivor | Why |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chart.mutation", description="Do the chart's tests notice?")
    parser.add_argument("--report", type=Path, help="where to write the report (default: standard output)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth mutant")
    parser.add_argument(
        "--after", type=Path, metavar="LOG", help="keep what this output of an earlier run tells as noticed"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes: dict[Mutant, Outcome] = {}
    with tempfile.TemporaryDirectory() as home, Suite() as suite, ThreadPoolExecutor(options.workers) as pool:
        runner = helm(Path(home))
        if suite.notices(CHART):
            raise SystemExit("the tests fail before anything is broken: make test-fast")
        chosen = mutants()[:: options.every]
        outcomes.update(kept(options.after, chosen) if options.after else {})
        left = [each for each in chosen if each not in outcomes]
        for mutant, outcome in zip(left, pool.map(lambda each: try_out(each, runner, suite), left), strict=True):
            outcomes[mutant] = outcome
            print(f"{outcome.value:15} {mutant}", flush=True)  # noqa: T201
    ordered = {mutant: outcomes[mutant] for mutant in chosen}
    text = report(ordered, time.monotonic() - began, kept=len(chosen) - len(left))
    if options.report:
        options.report.write_text(text, encoding="utf-8")
    else:
        print(text)  # noqa: T201
    unexplained = [
        each for each, outcome in outcomes.items() if outcome is Outcome.SURVIVED and each.known_as not in explained()
    ]
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
