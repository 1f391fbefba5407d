"""`ct lint --config ct.yaml`, as a person runs it from the project's root, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from checks.build import program
from tests.chart.conftest import CHART, CI_VALUES, ROOT
from tests.chart.helm import Helm

DEADLINE_SECONDS = 300.0
PIECES = ("ct.yaml", "chart_schema.yaml", "lintconf.yaml")

Lint = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture
def lint(helm: Helm, tmp_path: Path) -> Lint:
    """ct on a project, without a cluster. What it calls (helm, yamale, yamllint) are this environment's; what they say
    is kept and added to its output, since ct doesn't wait until it has read all of it (pkg/exec/exec.go, RunProcess).
    """
    tools, said = tmp_path / "tools", tmp_path / "said"
    tools.mkdir()
    said.touch()
    beside = Path(sys.executable).parent
    for real in (Path(helm.executable).resolve(), beside / "yamale", beside / "yamllint"):
        wrapper = tools / real.name
        wrapper.write_text(
            f"""#!/bin/sh
            '{real}' "$@" >'{said}.out' 2>'{said}.err'; code=$?
            cat '{said}.out' '{said}.err' >>'{said}'
            cat '{said}.out'; cat '{said}.err' >&2; exit $code
            """
        )
        wrapper.chmod(0o755)

    def lint(project: Path) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            [program("ct"), "lint", "--config", "ct.yaml"],
            cwd=project,
            env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(helm.home), "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        finished.stdout += said.read_text()
        return finished

    return lint


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What ct reads, to be changed."""
    root = tmp_path / "project"
    shutil.copytree(CHART, root / "charts" / "flask-hello")
    for name in PIECES:
        shutil.copy(ROOT / name, root / name)
    # ct asks git where it is
    subprocess.run(["git", "init", "--quiet", root], check=True, timeout=30)
    return root


def test_chart_testing_finds_nothing(lint: Lint, project: Path) -> None:
    finished = lint(project)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "All charts linted successfully" in finished.stdout
    for values in CI_VALUES:
        assert f"ci/{values.name}" in finished.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        pytest.param("Chart.yaml", "type: application", "typ: application", "typ: Unexpected element", id="schema"),
        pytest.param("values.yaml", "replicaCount: 2", "replicaCount: 2 ", "trailing spaces", id="yamllint"),
        pytest.param("ci/default-values.yaml", "{}", "replicaCount: many", "replicaCount", id="values"),
        pytest.param(
            "templates/service.yaml", "apiVersion:", "{{ include `absent` . }}apiVersion:", "absent", id="templates"
        ),
    ],
)
def test_chart_testing_finds_a_mistake(lint: Lint, project: Path, name: str, old: str, new: str, says: str) -> None:
    path = project / "charts" / "flask-hello" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    finished = lint(project)
    assert finished.returncode == 1
    assert says in finished.stdout + finished.stderr
