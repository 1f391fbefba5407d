"""values.schema.json: everything unknown or of the wrong type is refused, everything known is described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, CI_VALUES, Refusal, Render
from tests.chart.values_table import described, with_descriptions

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
Path = tuple[str, ...]


def nodes(node: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every schema inside the schema, with the way to it."""
    yield path, node
    for name in ("properties", "definitions"):
        for key, child in node.get(name, {}).items():
            yield from nodes(child, (*path, key))
    if "items" in node:
        yield from nodes(node["items"], (*path, "[]"))


def leaves(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


SECTIONS = sorted({path[:depth] for path, _ in leaves(VALUES) for depth in range(len(path))})


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: ".".join(path) or "top")
def test_an_unknown_key_is_refused_with_its_place(refused: Refusal, section: Path) -> None:
    message = refused(sets={".".join((*section, "unknownKey")): 1})
    assert "'unknownKey' not allowed" in message
    assert not section or "/".join(section) in message


def test_no_object_is_open_but_maps_of_strings_and_global() -> None:
    opened = [
        path
        for path, node in nodes(SCHEMA)
        if node.get("type") == "object"
        and node.get("additionalProperties") is not False
        and node.get("additionalProperties", {}).get("type") != "string"
    ]
    assert opened == [("global",)]


def test_every_value_has_a_description() -> None:
    for path, node in nodes(SCHEMA):
        if path and path[-1] != "[]" and "$ref" not in node:
            assert node.get("description"), ".".join(path)


def test_every_value_has_a_comment() -> None:
    values = described((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert [value.key for value in values if not value.description] == []


def test_the_schemas_descriptions_are_those_of_the_values() -> None:
    assert with_descriptions(SCHEMA, (CHART / "values.yaml").read_text(encoding="utf-8")) == SCHEMA


def test_schema_knows_exactly_the_values_of_the_chart() -> None:
    closed = dict(nodes({**SCHEMA, "definitions": {}}))
    for section in SECTIONS:
        values: Any = VALUES
        for key in section:
            values = values[key]
        assert closed[section]["properties"].keys() - {"global"} == values.keys(), ".".join(section)


def test_a_value_cannot_be_deleted(refused: Refusal) -> None:
    """Helm drops keys that are null; a template would render the hole as 0 or nothing."""
    may_be_absent = {("service", "nodePort"), ("resources", "limits", "cpu")}
    for path, node in nodes({**SCHEMA, "definitions": {}}):
        if node.get("properties") and path[:1] != ("affinity",) and "[]" not in path:
            absent = node["properties"].keys() - set(node["required"]) - {"global"}
            assert {(*path, key) for key in absent} <= may_be_absent
    assert "missing property 'minReadySeconds'" in refused(sets={"rollout": {"minReadySeconds": None}})


def _slo(name: str, value: object) -> dict[str, Any]:
    return {"metrics": {"prometheusRule": {"slo": {name: value}}}}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"environment": "Prod"}, "/environment"),
        ({"environment": "prod-"}, "/environment"),
        ({"replicaCount": -1}, "/replicaCount"),
        ({"replicaCount": "2"}, "/replicaCount"),
        ({"replicaCount": 1.5}, "/replicaCount"),
        ({"image": {"repository": "flask-hello:1.0.0"}}, "/image/repository"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"image": {"tag": 1.0}}, "/image/tag"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"image": {"pullPolicy": "always"}}, "/image/pullPolicy"),
        ({"image": {"pullSecrets": [""]}}, "/image/pullSecrets/0"),
        ({"app": {"greeting": ""}}, "/app/greeting"),
        ({"app": {"greeting": "two\nlines"}}, "/app/greeting"),
        ({"app": {"greeting": "x" * 201}}, "/app/greeting"),
        ({"app": {"logLevel": "trace"}}, "/app/logLevel"),
        ({"gunicorn": {"workers": 0}}, "/gunicorn/workers"),
        ({"gunicorn": {"threads": 257}}, "/gunicorn/threads"),
        ({"secret": {"secretKey": "fifteen-letters"}}, "/secret/secretKey"),
        ({"faults": {"neverReady": "yes"}}, "/faults/neverReady"),
        ({"faults": {"errorRate": 1.01}}, "/faults/errorRate"),
        ({"faults": {"latencySeconds": -1}}, "/faults/latencySeconds"),
        ({"faults": {"memoryGrowthBytesPerSecond": 0.5}}, "/faults/memoryGrowthBytesPerSecond"),
        ({"service": {"type": "ExternalName"}}, "/service/type"),
        ({"service": {"port": 65536}}, "/service/port"),
        ({"service": {"type": "NodePort", "nodePort": 29999}}, "/service/nodePort"),
        ({"service": {"type": "NodePort", "nodePort": 32768}}, "/service/nodePort"),
        ({"rollout": {"maxSurge": "150"}}, "/rollout/maxSurge"),
        ({"rollout": {"maxUnavailable": "101%"}}, "/rollout/maxUnavailable"),
        ({"rollout": {"preStopSleepSeconds": 0}}, "/rollout/preStopSleepSeconds"),
        ({"probes": {"liveness": {"periodSeconds": 0}}}, "/probes/liveness/periodSeconds"),
        ({"resources": {"limits": {"memory": "256 MB"}}}, "/resources/limits/memory"),
        ({"autoscaling": {"minReplicas": 0}}, "/autoscaling/minReplicas"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
        ({"networkPolicy": {"ingressFrom": [{"podselector": {}}]}}, "/networkPolicy/ingressFrom/0"),
        ({"networkPolicy": {"extraEgress": [{}]}}, "/networkPolicy/extraEgress/0"),
        ({"podAnnotations": {"checksum/config": "mine"}}, "/podAnnotations/checksum~1config"),
        ({"nodeSelector": {"disk": True}}, "/nodeSelector/disk"),
        ({"tolerations": [{"operator": "exists"}]}, "/tolerations/0/operator"),
        ({"affinity": {"podAntiAffinity": {"preferred": []}}}, "/affinity/podAntiAffinity"),
        ({"ingress": {"hosts": ["Hello.example"]}}, "/ingress/hosts/0"),
        ({"ingress": {"hosts": ["hello.example/path"]}}, "/ingress/hosts/0"),
        ({"ingress": {"hosts": ["a.example", "a.example"]}}, "/ingress/hosts"),
        ({"ingress": {"paths": ["version"]}}, "/ingress/paths/0"),
        ({"ingress": {"paths": []}}, "/ingress/paths"),
        ({"ingress": {"tls": [{"secretName": "certificate"}]}}, "/ingress/tls/0"),
        ({"ingress": {"className": "Nginx"}}, "/ingress/className"),
        ({"httpRoute": {"parentRefs": [{"namespace": "gateways"}]}}, "/httpRoute/parentRefs/0"),
        ({"httpRoute": {"parentRefs": [{"name": "public", "port": 0}]}}, "/httpRoute/parentRefs/0/port"),
        ({"httpRoute": {"hostnames": [""]}}, "/httpRoute/hostnames/0"),
        (
            {"metrics": {"serviceMonitor": {"labels": {"helm.sh/chart": "x"}}}},
            "/metrics/serviceMonitor/labels/helm.sh~1chart",
        ),
        ({"metrics": {"prometheusRule": {"labels": {"a": "b c"}}}}, "/metrics/prometheusRule/labels/a"),
        ({"metrics": {"serviceMonitor": {"intervalSeconds": 0}}}, "/metrics/serviceMonitor/intervalSeconds"),
        (_slo("availabilityPercent", 100), "/metrics/prometheusRule/slo/availabilityPercent"),
        (_slo("availabilityPercent", 94.9), "/metrics/prometheusRule/slo/availabilityPercent"),
        (_slo("latencyPercent", 100), "/metrics/prometheusRule/slo/latencyPercent"),
        (_slo("latencySeconds", 0.3), "/metrics/prometheusRule/slo/latencySeconds"),
        ({"metrics": {"prometheusRule": {"runbookUrl": "wiki/alerts"}}}, "/metrics/prometheusRule/runbookUrl"),
        ({"metrics": {"prometheusRule": {"runbookUrl": "https://wiki/a#b"}}}, "/metrics/prometheusRule/runbookUrl"),
        ({"metrics": {"dashboard": {"label": "a b"}}}, "/metrics/dashboard/label"),
        ({"rollout": {"releaseTimeoutSeconds": 1}}, "/rollout/releaseTimeoutSeconds"),
        ({"priorityClassName": "High"}, "/priorityClassName"),
        ({"preflight": {"enabled": "yes"}}, "/preflight/enabled"),
        ({"extraObjects": [{"kind": "ConfigMap"}]}, "/extraObjects/0"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_place(refused: Refusal, values: dict[str, Any], place: str) -> None:
    assert f"at '{place}'" in refused(sets=values)


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"repository": "localhost:5000/team__a/flask--hello.web"}},
        {"app": {"greeting": 'Grüß Gott, "Welt": {{ #1 }}'}},
        {"global": {"anything": 1}},
        {"resources": {"limits": {"cpu": None}}},
        {"resources": {"requests": {"cpu": 0.5, "memory": "1.5Gi"}}},
    ],
    ids=str,
)
def test_an_unusual_value_is_accepted(render: Render, values: dict[str, Any]) -> None:
    render(sets=values)


def test_the_ci_values_are_all_accepted(render: Render) -> None:
    assert len(CI_VALUES) >= 5
    for file in CI_VALUES:
        render(file)
