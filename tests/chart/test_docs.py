"""The settings and values that docs/real-cluster.md shows are ones that lint takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.chart.conftest import ROOT
from tests.cluster.site import copy_project

PAGE = ROOT / "docs/real-cluster.md"


def shown(name: str) -> str:
    """The block of YAML that begins with its file's name."""
    [text] = re.findall(rf"^```yaml\n# {re.escape(name)}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    return str(text)


def lint(root: Path) -> dict[str, object]:
    finished = subprocess.run(
        [sys.executable, "-m", "releaser", "--project", root, "lint", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    document: dict[str, object] = json.loads(finished.stdout)
    return document


def test_the_example_of_a_real_cluster_has_no_findings(tmp_path: Path) -> None:
    copy_project(tmp_path)
    (tmp_path / "values-prod.yaml").write_text(shown("values-prod.yaml"))
    (tmp_path / "releaser.yaml").write_text(shown("releaser.yaml"))

    linted = lint(tmp_path)

    assert linted["findings"] == []
    assert linted["environments"] == ["dev", "prod"]


def test_the_example_of_several_clusters_has_no_findings(tmp_path: Path) -> None:
    copy_project(tmp_path)
    [several] = [
        text
        for text in re.findall(r"^```yaml\n(environments:.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
        if "prod-us" in text
    ]
    (tmp_path / "releaser.yaml").write_text(several)
    for name in ("prod-eu", "prod-us"):
        (tmp_path / f"values-{name}.yaml").write_text(shown("values-prod.yaml"))
    (tmp_path / "values-prod.yaml").unlink()

    assert set(yaml.safe_load(several)["environments"]) == {"dev", "prod-eu", "prod-us"}
    assert lint(tmp_path)["findings"] == []
