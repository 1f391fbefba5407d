"""kubeconform: what the chart renders is what the API of every supported Kubernetes takes, field by field."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import CHART, CI_VALUES, ROOT, Render
from tests.chart.helm import Object
from tests.chart.schemas import Kubeconform, versions, write

ENVIRONMENTS = sorted(ROOT.glob("values-*.yaml"))


@pytest.fixture(scope="module")
def manifests(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for each way in which the chart is rendered."""
    directory = tmp_path_factory.mktemp("manifests")
    for values in [*CI_VALUES, *ENVIRONMENTS]:
        write(directory, values.stem, render(values).objects)
    return directory


def test_the_versions_start_where_the_chart_does() -> None:
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["kubeVersion"]
    assert wanted == f">={versions()[0]}-0"
    assert len(versions()) >= 8


@pytest.mark.parametrize("version", versions())
def test_every_object_keeps_the_api_schema(kubeconform: Kubeconform, manifests: Path, version: str) -> None:
    assert kubeconform.problems(manifests, version) == []


@pytest.mark.parametrize("kind", ["Deployment", "Service", "NetworkPolicy", "ConfigMap", "Pod"])
def test_a_field_that_does_not_exist_is_found(
    kubeconform: Kubeconform, render: Render, tmp_path: Path, kind: str
) -> None:
    wrong: Object = deepcopy(render().of(kind)[0])
    wrong.get("spec", wrong)["replicaz"] = 2
    [problem] = kubeconform.problems(write(tmp_path, "wrong", [wrong]), versions()[-1])
    assert (problem.kind, problem.status) == (kind, "invalid")
    assert "replicaz" in problem.message


@pytest.mark.parametrize(
    ("api", "kind", "spec", "wrong"),
    [
        ("monitoring.coreos.com/v1", "ServiceMonitor", {"selector": {}, "endpoints": [{"port": "http"}]}, "endpointz"),
        ("monitoring.coreos.com/v1", "PrometheusRule", {"groups": [{"name": "a", "rules": []}]}, "group"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", {"parentRefs": [{"name": "gateway"}]}, "hostNames"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_schemas_of_the_crds_are_strict(
    kubeconform: Kubeconform, tmp_path: Path, api: str, kind: str, spec: Object, wrong: str
) -> None:
    right: Object = {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    assert kubeconform.problems(write(tmp_path, "right", [right]), versions()[0]) == []
    right["spec"] = {**spec, wrong: []}
    [problem] = kubeconform.problems(write(tmp_path, "right", [right]), versions()[0])
    assert wrong in problem.message


def test_a_kind_without_a_schema_is_found(kubeconform: Kubeconform, tmp_path: Path) -> None:
    other = {"apiVersion": "example.org/v1", "kind": "Unheard", "metadata": {"name": "a"}}
    [problem] = kubeconform.problems(write(tmp_path, "other", [other]), versions()[0])
    assert (problem.kind, problem.status) == ("Unheard", "error")
