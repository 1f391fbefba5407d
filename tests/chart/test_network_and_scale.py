"""Service, NetworkPolicy, HorizontalPodAutoscaler, PodDisruptionBudget, ServiceAccount."""

from __future__ import annotations

import pytest

from tests.chart.conftest import Render

AUTOSCALED = {"autoscaling.enabled": True, "autoscaling.minReplicas": 3, "autoscaling.maxReplicas": 7}


def identity(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "flask-hello",
        "app.kubernetes.io/instance": "flask-hello",
        "app.kubernetes.io/component": component,
    }


def test_service_sends_to_the_containers_http_port(render: Render) -> None:
    spec = render().one("Service")["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]


def test_a_node_port_may_be_left_to_the_cluster(render: Render) -> None:
    spec = render(sets={"service.type": "NodePort"}).one("Service")["spec"]
    assert spec["type"] == "NodePort"
    assert "nodePort" not in spec["ports"][0]


def test_only_the_http_port_comes_in_and_only_dns_goes_out(render: Render) -> None:
    spec = render().one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [{"podSelector": {}}]}]
    [dns] = spec["egress"]
    assert dns["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ]
    assert dns["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_service_for_the_outside_lets_everyone_in(render: Render, kind: str) -> None:
    [rule] = render(sets={"service.type": kind}).one("NetworkPolicy")["spec"]["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}]}


def test_named_peers_and_more_egress_are_taken_over(render: Render) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    egress = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    sets = {"networkPolicy.ingressFrom": [peer], "networkPolicy.extraEgress": [egress]}
    rendered = render(sets=sets)
    spec = rendered.one("NetworkPolicy")["spec"]
    test = {"podSelector": {"matchLabels": identity("test")}}
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [peer, test]}]
    for pod in rendered.of("Pod"):
        assert identity("test").items() <= pod["metadata"]["labels"].items()
    assert spec["egress"][1:] == [egress]


def test_network_policy_can_be_switched_off(render: Render) -> None:
    assert render(sets={"networkPolicy.enabled": False}).of("NetworkPolicy") == []


def test_autoscaler_scales_the_deployment_on_cpu(render: Render) -> None:
    rendered = render(sets=AUTOSCALED | {"autoscaling.targetCPUUtilizationPercentage": 66}, release="hello")
    hpa = rendered.one("HorizontalPodAutoscaler")
    assert hpa["apiVersion"] == "autoscaling/v2"
    assert hpa["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-flask-hello"},
        "minReplicas": 3,
        "maxReplicas": 7,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 66}},
            }
        ],
    }
    assert rendered.one("Deployment")["metadata"]["name"] == "hello-flask-hello"
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_without_an_autoscaler_the_deployment_says_how_many(render: Render) -> None:
    rendered = render(sets={"replicaCount": 4})
    assert rendered.of("HorizontalPodAutoscaler") == []
    assert rendered.one("Deployment")["spec"]["replicas"] == 4


def test_an_unhealthy_pod_never_blocks_a_drain(render: Render) -> None:
    spec = render(sets={"replicaCount": 3, "podDisruptionBudget.maxUnavailable": 2}).one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 2
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_disruption_budget_follows_the_autoscalers_minimum(render: Render) -> None:
    one = {"autoscaling.enabled": True, "autoscaling.minReplicas": 1, "replicaCount": 5}
    assert render(sets=one).of("PodDisruptionBudget") == []
    assert len(render(sets=one | {"replicaCount": 1, "autoscaling.minReplicas": 2}).of("PodDisruptionBudget")) == 1
    assert render(sets={"podDisruptionBudget.enabled": False}).of("PodDisruptionBudget") == []


def test_service_account_is_the_releases_own_and_has_no_token(render: Render) -> None:
    rendered = render(release="hello")
    account = rendered.one("ServiceAccount")
    assert account["metadata"]["name"] == "hello-flask-hello"
    assert account["automountServiceAccountToken"] is False
    assert {spec["serviceAccountName"] for spec in rendered.pod_specs} == {"hello-flask-hello"}


def test_service_account_may_have_a_name_and_annotations(render: Render) -> None:
    rendered = render(sets={"serviceAccount.name": "greeter", "serviceAccount.annotations": {"a/b": "c"}})
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "greeter"
    assert rendered.one("ServiceAccount")["metadata"]["annotations"] == {"a/b": "c"}
    assert {spec["serviceAccountName"] for spec in rendered.pod_specs} == {"greeter"}


def test_without_a_service_account_the_default_one_is_used(render: Render) -> None:
    rendered = render(sets={"serviceAccount.create": False})
    assert rendered.of("ServiceAccount") == []
    assert {spec["serviceAccountName"] for spec in rendered.pod_specs} == {"default"}
