"""Values replace Kustomize overlays: both worlds are made and compared field by field."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.chart.conftest import ROOT, Render
from tests.chart.helm import Object
from tests.chart.kustomize.worlds import (
    ABSENT,
    HERE,
    Difference,
    World,
    change,
    comparable,
    differences,
    kustomized,
    world,
)
from tests.fakes import Recorder

ENVIRONMENTS = ("dev", "prod")
SAME_KEY = {"secret.secretKey": "only-for-the-laboratory"}
LISTED = yaml.safe_load((HERE / "differences.yaml").read_text(encoding="utf-8"))
MIGRATION = yaml.safe_load((HERE / "migration.yaml").read_text(encoding="utf-8"))

Kustomize = Callable[[Path], World]


@pytest.fixture(scope="session")
def kustomize() -> Kustomize:
    kubectl = Tools(Process(Recorder())).path("kubectl")
    return lambda directory: kustomized(kubectl, directory)


def charted(render: Render, environment: str, sets: dict[str, Any] | None = None) -> World:
    values = ROOT / f"values-{environment}.yaml"
    return world(render(values, sets=SAME_KEY | (sets or {}), namespace=f"flask-hello-{environment}").objects)


def listed(environment: str) -> list[Difference]:
    """What differences.yaml says of an environment."""
    found = []
    for entry in LISTED:
        assert entry.keys() <= {"why", "in", "only_kustomize", "only_chart", "both"}
        assert len(entry["why"]) > 8
        if environment in entry.get("in", ENVIRONMENTS):
            found += [_listed(field, value, ABSENT) for field, value in entry.get("only_kustomize", {}).items()]
            found += [_listed(field, ABSENT, value) for field, value in entry.get("only_chart", {}).items()]
            found += [_listed(field, *values) for field, values in entry.get("both", {}).items()]
    return found


def _listed(field: str, left: Any, right: Any) -> Difference:
    kind, path = field.split(" ")
    return Difference(kind, path, comparable(left), comparable(right))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_chart_makes_what_the_overlay_made_but_for_what_is_listed(
    render: Render, kustomize: Kustomize, environment: str
) -> None:
    found = {
        (each.kind, each.path): (each.kustomize, each.chart)
        for each in differences(kustomize(HERE / "overlays" / environment), charted(render, environment))
    }
    wanted = {(each.kind, each.path): (each.kustomize, each.chart) for each in listed(environment)}
    for place, (_, right) in wanted.items():
        if right == "<any>" and place in found:
            wanted[place] = found[place]
    assert found == wanted


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_that_an_overlay_says_the_chart_says_too(environment: str) -> None:
    """But for the namespace, the number that an HPA sets, and a name."""
    lost = {each.path for each in listed(environment) if each.kustomize != ABSENT}
    elsewhere = {"metadata.namespace", "metadata.name", "spec.template.spec.containers.web.envFrom.1"}
    assert lost == elsewhere | ({"spec.replicas"} if environment == "prod" else set())


@pytest.fixture
def patched(tmp_path: Path, kustomize: Kustomize) -> Callable[[Object], World]:
    """The dev overlay with a row's change on top of it."""

    def patched(row: Object) -> World:
        root = tmp_path / "kustomize"
        shutil.copytree(HERE, root, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        overlay: Object = {"resources": ["../dev"], **row.get("overlay", {})}
        if "patch" in row:
            api = "apps/v1" if row["patch"]["kind"] == "Deployment" else "v1"
            patch = {"apiVersion": api, "metadata": {"name": "flask-hello"}, **row["patch"]}
            overlay["patches"] = [{"patch": yaml.safe_dump(patch)}]
        directory = root / "overlays" / "changed"
        directory.mkdir()
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        return kustomize(directory)

    return patched


@pytest.mark.parametrize("row", MIGRATION, ids=lambda row: row["change"])
def test_a_value_changes_what_a_patch_changed(
    render: Render, kustomize: Kustomize, patched: Callable[[Object], World], row: Object
) -> None:
    by_patch = change(kustomize(HERE / "overlays" / "dev"), patched(row))
    by_value = change(charted(render, "dev"), charted(render, "dev", row["values"]))
    # which image runs is told to the service, too; overlays didn't
    by_value.pop("Deployment spec.template.spec.containers.web.env.APP_REVISION.value", None)
    assert by_patch, "the patch changes nothing"
    assert by_value == by_patch
