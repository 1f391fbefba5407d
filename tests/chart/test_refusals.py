"""Values that must never reach a cluster, and the message that says what to change."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"rollout.terminationGracePeriodSeconds": 34}, ["rollout.terminationGracePeriodSeconds", "raise it to 35"]),
        ({"rollout.progressDeadlineSeconds": 3}, ["rollout.progressDeadlineSeconds", "minReadySeconds (3)"]),
        ({"rollout.maxSurge": 0}, ["set maxSurge to 1"]),
        ({"autoscaling": {"enabled": True, "minReplicas": 6}}, ["autoscaling.minReplicas is 6", "maxReplicas (5)"]),
        ({"podDisruptionBudget.maxUnavailable": 2}, ["podDisruptionBudget.maxUnavailable is 2", "lower it"]),
        ({"service.nodePort": 31000}, ["service.nodePort", "set service.type to NodePort"]),
        ({"environment": "prod", "faults.errorRate": 0.5}, ["faults.errorRate", "refused when environment is prod"]),
        ({"environment": "prod", "faults.neverReady": True}, ["faults.neverReady"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_values_that_contradict_each_other_are_refused(
    refused: Refused, sets: dict[str, Any], words: list[str]
) -> None:
    message = refused(sets=sets)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"imag": {}}, "additional properties 'imag' not allowed"),
        ({"image.tga": "x"}, "additional properties 'tga' not allowed"),
        ({"replicaCount": "two"}, "/replicaCount"),
        ({"image.tag": 1.0}, "/image/tag"),
        ({"image.digest": "sha256:short"}, "/image/digest"),
        ({"service": {"type": "NodePort", "nodePort": 80}}, "/service/nodePort"),
        ({"service.type": "nodeport"}, "/service/type"),
        ({"faults.errorRate": 2}, "/faults/errorRate"),
        ({"secret.secretKey": "short"}, "/secret/secretKey"),
        ({"app.logLevel": "loud"}, "/app/logLevel"),
        ({"resources.limits.memory": "lots"}, "/resources/limits/memory"),
        ({"environment": "Prod"}, "/environment"),
        ({"rollout.preStopSleepSeconds": 0}, "/rollout/preStopSleepSeconds"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_schema_refuses(refused: Refused, sets: dict[str, Any], words: str) -> None:
    assert words in refused(sets=sets)


def nodes(schema: dict[str, Any], address: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(address, schema)]
    for key, value in schema.get("properties", {}).items():
        found += nodes(value, f"{address}.{key}".lstrip("."))
    return found


def leaves(values: dict[str, Any], address: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in values.items():
        here = f"{address}.{key}".lstrip(".")
        found |= leaves(value, here) if isinstance(value, dict) and value else {here}
    return found


def test_the_schema_describes_every_value_and_allows_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for address, node in nodes(schema):
        assert node.get("description") or not address, address
        if "properties" in node:
            assert node["additionalProperties"] is False, address
    known = {address for address, _ in nodes(schema)}
    assert leaves(yaml.safe_load((CHART / "values.yaml").read_text())) <= known
