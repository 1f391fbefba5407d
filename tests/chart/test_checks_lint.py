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
    """ct on a project. What it calls (helm, yamale, yamllint) are this environment's, and there is no cluster."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "helm").symlink_to(Path(helm.executable).resolve())
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def lint(project: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("ct"), "lint", "--config", "ct.yaml"],
            cwd=project,
            env={"PATH": path, "HOME": str(helm.home), "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )

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
