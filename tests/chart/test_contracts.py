"""Values that don't fit together are refused, and the message says what to change."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.conftest import CHART, Refusal, Render
from tests.chart.helm import Refused

Values = dict[str, Any]
OPEN: Values = {"networkPolicy": {"enabled": False}}


BROKEN = [
    pytest.param(
        {"rollout": {"terminationGracePeriodSeconds": 34}},
        "rollout.terminationGracePeriodSeconds is 34, which would cut requests off: raise it to 35 or more "
        "(rollout.preStopSleepSeconds 5 + gunicorn.gracefulTimeoutSeconds 25 + 5)",
        id="grace period",
    ),
    pytest.param(
        {"rollout": {"preStopSleepSeconds": 11}}, "raise it to 41 or more", id="grace period for a long preStop"
    ),
    pytest.param(
        {"gunicorn": {"gracefulTimeoutSeconds": 31}}, "raise it to 41 or more", id="grace period for a long drain"
    ),
    pytest.param(
        {"rollout": {"progressDeadlineSeconds": 10, "minReadySeconds": 10}},
        "rollout.progressDeadlineSeconds is 10, so every rollout would fail: raise it above "
        "rollout.minReadySeconds (10)",
        id="progress deadline",
    ),
    pytest.param(
        {"rollout": {"maxSurge": 0}},
        "rollout.maxSurge and rollout.maxUnavailable are both 0, so no pod could ever be replaced",
        id="no room to roll",
    ),
    pytest.param(
        {"rollout": {"maxSurge": "0%", "maxUnavailable": "0%"}}, "are both 0", id="no room to roll, in percent"
    ),
    pytest.param(
        {"autoscaling": {"enabled": True, "minReplicas": 6}},
        "autoscaling.minReplicas is 6: lower it to autoscaling.maxReplicas (5), or raise that",
        id="autoscaling",
    ),
    pytest.param(
        {"podDisruptionBudget": {"maxUnavailable": 2}},
        "podDisruptionBudget.maxUnavailable is 2, so all 2 pods could be evicted at once: lower it to 1 or less",
        id="disruption budget",
    ),
    pytest.param(
        {
            "replicaCount": 9,
            "autoscaling": {"enabled": True, "minReplicas": 3},
            "podDisruptionBudget": {"maxUnavailable": 3},
        },
        "so all 3 pods could be evicted at once",
        id="disruption budget under autoscaling",
    ),
    pytest.param(
        {"service": {"nodePort": 31181}},
        "service.nodePort is 31181 but service.type is ClusterIP: set service.type to NodePort, or "
        "service.nodePort to null",
        id="node port without NodePort",
    ),
    pytest.param(
        {"rollout": {"progressDeadlineSeconds": 120, "releaseTimeoutSeconds": 120}},
        "rollout.progressDeadlineSeconds is 120, so helm would give up before Kubernetes says why a rollout failed: "
        "lower it below rollout.releaseTimeoutSeconds (120), or raise that and your helm --timeout",
        id="release timeout",
    ),
    pytest.param(
        {"ingress": {"enabled": True}} | OPEN,
        "ingress.enabled is true but no host is named: set ingress.hosts",
        id="Ingress without a host",
    ),
    pytest.param(
        {"ingress": {"enabled": True, "hosts": ["a.example"], "tls": [{"hosts": ["b.example"]}]}} | OPEN,
        "ingress.tls has a certificate for b.example, which ingress.hosts lacks: add it there, or take it out",
        id="certificate for no host",
    ),
    pytest.param(
        {
            "environment": "prod",
            "ingress": {
                "enabled": True,
                "hosts": ["a.example", "b.example"],
                "tls": [{"hosts": ["a.example"]}],
            },
        }
        | OPEN,
        "ingress.hosts has b.example without TLS, which is refused when environment is prod: add an entry to "
        "ingress.tls whose hosts have it",
        id="host without TLS in prod",
    ),
    pytest.param(
        {"httpRoute": {"enabled": True}} | OPEN,
        "httpRoute.enabled is true but no Gateway is named, so nothing would send requests: set httpRoute.parentRefs",
        id="route without a Gateway",
    ),
    pytest.param(
        {"metrics": {"serviceMonitor": {"intervalSeconds": 9}}},
        "metrics.serviceMonitor.timeoutSeconds is 10, which Prometheus refuses: lower it to "
        "metrics.serviceMonitor.intervalSeconds (9), or raise that",
        id="scrape timeout",
    ),
    pytest.param(
        {"metrics": {"prometheusRule": {"enabled": True}}},
        "metrics.prometheusRule.enabled is true but nothing is scraped, so FlaskHelloDown would fire for ever: set "
        "metrics.serviceMonitor.enabled to true",
        id="alerts without a scrape",
    ),
    pytest.param(
        {"ingress": {"enabled": True, "hosts": ["a.example"]}},
        "ingress.enabled is true but networkPolicy lets in only pods of this namespace: name where those requests "
        "come from in networkPolicy.ingressFrom, or set networkPolicy.enabled to false",
        id="Ingress shut out",
    ),
    pytest.param(
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
        "httpRoute.enabled is true but networkPolicy lets in only pods of this namespace",
        id="Gateway shut out",
    ),
    pytest.param(
        {"metrics": {"serviceMonitor": {"enabled": True}}},
        "metrics.serviceMonitor.enabled is true but networkPolicy lets in only pods of this namespace",
        id="Prometheus shut out",
    ),
    pytest.param(
        {"environment": "prod", "image": {"tag": "latest"}},
        "image.tag is latest, which may be another image tomorrow and is refused when environment is prod: name a "
        "version, or set image.digest",
        id="latest in prod",
    ),
    pytest.param(
        {"extraObjects": ["kind: ConfigMap\n", "a: b: c"]},
        "extraObjects[1] is not one YAML map: error converting YAML",
        id="extra object that is no YAML",
    ),
    *(
        pytest.param(
            {"extraObjects": [given]},
            "extraObjects[0] lacks apiVersion, kind or metadata.name: add them",
            id=f"extra object: {given!r}",
        )
        for given in (
            "kind: ConfigMap\nmetadata: {name: a}",
            "apiVersion: v1\nmetadata: {name: a}",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {}",
            "apiVersion: v1\nkind: ConfigMap",
        )
    ),
    pytest.param(
        {"secret": {"existingSecret": "mine"}},
        "secret.existingSecret is mine but secret.create is true: set secret.create to false to use it",
        id="two Secrets",
    ),
    pytest.param({"secret": {"create": False}}, "set secret.existingSecret, or secret.create to true", id="no Secret"),
    pytest.param(
        {"secret": {"create": False, "existingSecret": "mine", "secretKey": "sixteen-letters!"}},
        "secret.secretKey is given but secret.create is false, so nothing would use it: put the key into your own "
        "Secret, or set secret.create to true",
        id="a key for no Secret",
    ),
]


@pytest.mark.parametrize(("values", "says"), BROKEN)
def test_values_that_do_not_fit_together_are_refused(refused: Refusal, values: Values, says: str) -> None:
    assert says in refused(sets=values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neverReady", True),
        ("crashAtStart", True),
        ("crashAfterSeconds", 0.5),
        ("errorRate", 0.01),
        ("latencySeconds", 0.1),
        ("memoryGrowthBytesPerSecond", 1),
    ],
)
def test_a_fault_switch_is_refused_in_prod_only(refused: Refusal, render: Render, name: str, value: object) -> None:
    message = refused(sets={"environment": "prod", "faults": {name: value}})
    assert f"faults.{name} is on: fault switches are refused when environment is prod" in message
    render(sets={"environment": "production", "faults": {name: value}})


def test_all_broken_contracts_are_told_at_once(refused: Refusal) -> None:
    message = refused(
        sets={
            "environment": "prod",
            "faults": {"neverReady": True, "errorRate": 1},
            "rollout": {"maxSurge": 0, "terminationGracePeriodSeconds": 1},
        },
    )
    assert message.count("\n- ") == 4


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"rollout": {"terminationGracePeriodSeconds": 35}}, id="grace period"),
        pytest.param({"rollout": {"progressDeadlineSeconds": 11, "minReadySeconds": 10}}, id="progress deadline"),
        pytest.param({"rollout": {"maxSurge": 0, "maxUnavailable": 1}}, id="room by unavailability"),
        pytest.param({"autoscaling": {"enabled": True, "minReplicas": 5}}, id="autoscaling"),
        pytest.param({"autoscaling": {"minReplicas": 6}}, id="autoscaling off"),
        pytest.param({"replicaCount": 3, "podDisruptionBudget": {"maxUnavailable": 2}}, id="disruption budget"),
        pytest.param({"podDisruptionBudget": {"enabled": False, "maxUnavailable": 2}}, id="no disruption budget"),
        pytest.param({"replicaCount": 1, "podDisruptionBudget": {"maxUnavailable": 1}}, id="one pod"),
        pytest.param({"service": {"type": "NodePort", "nodePort": 31181}}, id="node port"),
        pytest.param({"rollout": {"progressDeadlineSeconds": 120, "releaseTimeoutSeconds": 121}}, id="release timeout"),
        pytest.param({"ingress": {"enabled": True, "hosts": ["a.example"]}} | OPEN, id="Ingress without TLS in dev"),
        pytest.param({"environment": "prod", "ingress": {"hosts": ["a.example"]}}, id="no Ingress in prod"),
        pytest.param({"ingress": {"tls": [{"hosts": ["a.example"]}]}}, id="certificates for later"),
        pytest.param(
            {
                "environment": "prod",
                "ingress": {
                    "enabled": True,
                    "hosts": ["a.example", "b.example"],
                    "tls": [{"hosts": ["a.example"]}, {"hosts": ["b.example"]}],
                },
            }
            | OPEN,
            id="TLS in prod",
        ),
        pytest.param(
            {"ingress": {"enabled": True, "hosts": ["a.example"]}, "service": {"type": "NodePort"}},
            id="Ingress to a Service for everyone",
        ),
        pytest.param(
            {
                "metrics": {"serviceMonitor": {"enabled": True}},
                "networkPolicy": {"ingressFrom": [{"namespaceSelector": {}}]},
            },
            id="Prometheus let in",
        ),
        pytest.param({"metrics": {"serviceMonitor": {"intervalSeconds": 10}}}, id="scrape timeout"),
        pytest.param({"image": {"tag": "latest"}}, id="latest in dev"),
        pytest.param(
            {"environment": "prod", "image": {"tag": "latest", "digest": "sha256:" + "0" * 64}}, id="digest in prod"
        ),
        pytest.param({"secret": {"create": False, "existingSecret": "mine"}}, id="own Secret"),
    ],
)
def test_values_that_just_fit_together_are_accepted(render: Render, values: Values) -> None:
    render(sets=values)


@pytest.mark.parametrize("name", ["0day", "1st", "9"])
def test_a_release_name_that_no_service_can_bear_is_refused(refused: Refusal, name: str) -> None:
    assert f"the release name {name} starts with a digit" in refused(release=name)


def test_every_contract_is_broken_by_a_test(refused: Refusal) -> None:
    contracts = (CHART / "templates" / "_contracts.tpl").read_text(encoding="utf-8")
    formats = re.findall(r'append \$problems \(?(?:printf )?"([^"]*)"', contracts)
    assert len(formats) == contracts.count("append $problems")
    said = refused(release="1st", sets={"environment": "prod", "faults": {"neverReady": True}})
    said += "".join(refused(sets=case.values[0]) for case in BROKEN)
    patterns = {form: re.sub("%[sd]", ".*", re.escape(form)) for form in formats}
    assert [form for form, pattern in patterns.items() if not re.search(pattern, said)] == []


def test_the_release_is_given_as_long_as_helm_itself_gives_it(render: Render) -> None:
    """helm --timeout is 5 minutes by default: a deadline of 300 seconds is too long for it, one of 299 is not."""
    render(sets={"rollout.progressDeadlineSeconds": 299})
    with pytest.raises(Refused, match="helm would give up"):
        render(sets={"rollout.progressDeadlineSeconds": 300})
