"""Every branch of every template is taken by some file in ci/, so that whoever lints or installs those has seen all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.api_server import against, serving
from tests.chart.branches import TAKEN, Branch, branches, marked, refusing
from tests.chart.conftest import CHART, CI_VALUES
from tests.chart.helm import RELEASE, Helm, Refused
from tests.chart.test_old_settings import OLD, replica_set, settings

# No values make a name too long: only the release's own does.
RELEASES = (RELEASE, "r" * 53)
BRANCHES = branches(CHART)


def test_the_templates_branches_are_found() -> None:
    assert len(BRANCHES) > 100
    assert len({str(branch) for branch in BRANCHES}) == len(BRANCHES)


@pytest.fixture(scope="session")
def marks(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All marks that the ci files leave: at a first install, and where older ReplicaSets need their settings."""
    chart = marked(CHART, tmp_path_factory.mktemp("marked") / CHART.name)
    first = "".join(helm.render(file, chart=chart).text for file in CI_VALUES)
    own = helm.render().settings["metadata"]["name"]
    older = settings(OLD, {"APP_GREETING": "as it was"})
    with serving(older, replica_set(own, OLD), replica_set(labels={}, name="another")) as url:
        return first + helm.render(chart=chart, more=against(url)).text


@pytest.mark.parametrize("branch", [branch for branch in BRANCHES if branch.leaves_a_mark], ids=str)
def test_a_ci_file_takes_this_branch(marks: str, branch: Branch) -> None:
    assert f"{branch.mark}\n" in marks


@pytest.mark.parametrize("branch", [branch for branch in BRANCHES if not branch.leaves_a_mark], ids=str)
def test_a_ci_file_takes_this_branch_of_a_helper(helm: Helm, tmp_path: Path, branch: Branch) -> None:
    chart = refusing(CHART, tmp_path / CHART.name, branch)
    # the big ones first: they take most branches
    files = sorted(CI_VALUES, key=lambda file: -file.stat().st_size)
    assert any(takes(helm, chart, file, release) for release in RELEASES for file in files)


def takes(helm: Helm, chart: Path, values: Path, release: str) -> bool:
    try:
        helm.render(values, release=release, chart=chart)
    except Refused as refusal:
        assert TAKEN in str(refusal), str(refusal)
        return True
    return False
