"""Broken charts, one defect each: `releaser lint` names rule, file and line of each, and finds all that ct rejects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks.build import program
from releaser.adapters.git import GitRepository
from releaser.adapters.helm import Helm
from releaser.adapters.process import Process
from releaser.adapters.renderings import KeptRenderings
from releaser.adapters.tools import Tools
from releaser.flows.lint import Scope, lint
from releaser.models import Finding, Linted, Severity
from releaser.render import rendered
from releaser.settings import load_project
from tests.chart.corpus import DEFECTS, Defect, good_project
from tests.fakes import Recorder

# 50 MB of values of an environment are nothing that ct looks at
SMALL = [each for each in DEFECTS if each.rule != "file/too-big"]


def linted(root: Path, **scope: object) -> Linted:
    process = Process(Recorder())
    tools = Tools(process)
    charts = KeptRenderings(Helm(process, tools), tools, root / ".cache")
    project = load_project(root)
    repository = GitRepository(process, project.chart)
    return lint(project, project.environments, charts, Recorder(), Scope(repository=repository, **scope))  # type: ignore[arg-type]


def names(defect: Defect, root: Path, found: Finding) -> bool:
    wanted = defect.line(root)
    return found.rule == defect.rule and found.file == defect.found_in and wanted in (0, found.line)


def rejected_by_ct(root: Path, tools: Path) -> bool:
    subprocess.run(["git", "init", "--quiet", root], check=True, timeout=30)
    finished = subprocess.run(
        [program("ct"), "lint", "--config", "ct.yaml"],
        cwd=root,
        env={
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(root),
            "KUBECONFIG": os.devnull,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    return finished.returncode != 0


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ct finds helm."""
    directory = tmp_path_factory.mktemp("tools")
    (directory / "helm").symlink_to(Tools(Process(Recorder())).path("helm").resolve())
    return directory


def test_the_chart_that_they_are_made_from_has_no_finding(tmp_path: Path, tools: Path) -> None:
    good_project(tmp_path)
    assert linted(tmp_path).findings == ()
    assert not rejected_by_ct(tmp_path, tools)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_defect_is_named_with_its_rule_file_and_line(defect: Defect, tmp_path: Path) -> None:
    defect.make(tmp_path)
    result = linted(tmp_path)
    findings = result.findings
    assert any(names(defect, tmp_path, each) for each in findings), "\n".join(
        f"{each.place} {each.rule} {each.message}" for each in findings
    )
    # one defect isn't many findings
    assert len({each.rule for each in findings if each.severity is Severity.ERROR}) <= 3
    assert [line for part in rendered(result) for line in str(part).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("defect", SMALL, ids=lambda each: each.name.replace(" ", "-"))
def test_what_chart_testing_rejects_is_found_here_too(defect: Defect, tmp_path: Path, tools: Path) -> None:
    defect.make(tmp_path)
    if rejected_by_ct(tmp_path, tools):
        assert any(each.severity is not Severity.INFO for each in linted(tmp_path).findings)
