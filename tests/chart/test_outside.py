"""Ingress and HTTPRoute: the ways in from outside the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.conftest import CHART, Render

CI = CHART / "ci"


def test_by_default_there_is_no_way_in_from_outside(render: Render) -> None:
    rendered = render()
    assert rendered.of("Ingress") == rendered.of("HTTPRoute") == []


def test_an_ingress_sends_each_host_to_the_service_with_its_certificate(render: Render) -> None:
    rendered = render(CI / "ingress-values.yaml", release="hello")
    ingress = rendered.one("Ingress")
    backend = {"service": {"name": "hello-flask-hello", "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": "Exact", "backend": backend} for path in ("/", "/version")]
    assert ingress["apiVersion"] == "networking.k8s.io/v1"
    assert ingress["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/ssl-redirect": "true"}
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "rules": [{"host": host, "http": {"paths": paths}} for host in ("hello.example", "www.hello.example")],
        "tls": [{"secretName": "hello-certificate", "hosts": ["hello.example", "www.hello.example"]}],
    }
    service = rendered.one("Service")
    assert service["metadata"]["name"] == "hello-flask-hello"
    assert service["spec"]["ports"][0]["name"] == "http"


def test_a_small_ingress_leaves_class_certificate_and_annotations_out(render: Render) -> None:
    ingress = render(CI / "ingress-default-class-values.yaml").one("Ingress")
    assert ingress["spec"].keys() == {"rules"}
    assert ingress["metadata"].keys() == {"name", "labels"}


def test_a_route_hangs_on_its_gateway_and_sends_to_the_service(render: Render) -> None:
    rendered = render(CI / "gateway-values.yaml", sets={"service.port": 8000}, release="hello")
    route = rendered.one("HTTPRoute")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["metadata"]["annotations"] == {"example/note": "kept"}
    assert route["spec"] == {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["hello.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "Exact", "value": path}} for path in ("/", "/version")],
                "backendRefs": [{"name": "hello-flask-hello", "port": 8000}],
            }
        ],
    }
    assert rendered.one("Service")["spec"]["ports"][0]["port"] == 8000


def test_a_small_route_takes_the_hosts_of_its_gateway(render: Render) -> None:
    route = render(CI / "gateway-bare-values.yaml").one("HTTPRoute")
    assert route["spec"].keys() == {"parentRefs", "rules"}
    assert route["metadata"].keys() == {"name", "labels"}


@pytest.mark.parametrize(
    ("values", "where"), [("ingress-values.yaml", "ingress.paths"), ("gateway-values.yaml", "httpRoute.paths")]
)
def test_only_named_paths_are_open_to_the_outside(render: Render, values: str, where: str) -> None:
    rendered = render(CI / values, sets={where: ["/version"]})
    assert open_paths(rendered.of("Ingress") + rendered.of("HTTPRoute")) == {"/version"}
    by_default = render(CI / values)
    assert open_paths(by_default.of("Ingress") + by_default.of("HTTPRoute")) == {"/", "/version"}


def open_paths(objects: list[dict[str, Any]]) -> set[str]:
    paths = set()
    for rule in (rule for each in objects for rule in each["spec"]["rules"]):
        paths |= {path["path"] for path in rule.get("http", {}).get("paths", [])}
        paths |= {match["path"]["value"] for match in rule.get("matches", [])}
    return paths
