from __future__ import annotations

import json
from typing import Any

import pytest

from releaser.errors import InvalidInput
from releaser.objects import parse_manifest
from releaser.workload import ProbeTimes, Workload, workload


def read(*objects: dict[str, Any]) -> Workload:
    text = "".join(f"---\n{json.dumps({'metadata': {'name': 'web'}, **each})}\n" for each in objects)
    return workload(parse_manifest(text, "here"))


def deployment(container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "web", "image": "web:1", **container}], **pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3, "template": {"spec": spec}}}


def test_it_reads_what_pods_may_take_and_for_how_long() -> None:
    found = read(
        deployment(
            {
                "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"memory": "256Mi", "cpu": "500m"}},
                "readinessProbe": {"httpGet": {}, "periodSeconds": 2, "failureThreshold": 2, "timeoutSeconds": 3},
                "livenessProbe": {"httpGet": {}},
                "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}],
            },
            terminationGracePeriodSeconds=20,
            serviceAccountName="web",
        ),
        {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 81}]}},
    )
    assert (found.memory_limit_bytes, found.cpu_limit) == (256 * 2**20, 0.5)
    assert found.readiness == ProbeTimes(2, 3, 2)
    assert found.unseen_seconds == 7
    assert found.liveness is not None and found.liveness.longest_seconds == 31  # with Kubernetes' own defaults
    assert (found.replicas, found.port, found.service_port, found.grace_seconds) == (3, 8080, 81, 20)
    assert (found.secrets, found.service_account, found.autoscaler) == (("keys",), "web", "")


def test_an_autoscaler_says_how_many_pods_there_are_at_least() -> None:
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": 2}}
    found = read(deployment({}), scaler)
    assert (found.replicas, found.autoscaler) == (2, "web")
    assert (found.memory_limit_bytes, found.cpu_limit, found.liveness) == (None, None, None)


def test_a_release_without_pods_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no Deployment"):
        read({"apiVersion": "v1", "kind": "ConfigMap"})
