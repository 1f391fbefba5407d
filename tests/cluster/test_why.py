"""releaser why on the real cluster: from values, by hand, and since when."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.cluster.site import RELEASE, Site

pytestmark = pytest.mark.cluster


def by_hand(site: Site, replicas: int) -> None:
    client.AppsV1Api(site.cluster.api).patch_namespaced_deployment(
        RELEASE, site.namespace, {"spec": {"replicas": replicas}}, field_manager="kubectl-edit"
    )


def test_a_live_field_is_explained(site: Site) -> None:
    def why(object_name: str, field: str) -> dict[str, Any]:
        found: dict[str, Any] = site.json("why", "dev", object_name, field)
        return found

    first = site.commit("first")
    site.releaser("deploy", "dev")
    site.values("dev", app={"greeting": "Hello again"})
    second = site.commit("second")
    site.releaser("deploy", "dev")

    port = why("svc", "ports[0].nodePort")
    assert (port["live"], port["origin"], port["undeployed"]) == (site.node_port, "release", False)
    assert (port["since"]["revision"], port["since"]["source"]["commit"]) == (1, first)
    [value] = port["values"]
    file, _, line = value["place"].partition(":")
    assert value["address"] == "service.nodePort"
    assert f"nodePort: {site.node_port}" in (site.root / file).read_text().splitlines()[int(line) - 1]

    # the ConfigMap that the Deployment names, not the one that is kept for the old pods
    greeting = why("configmap", "GREETING")
    assert (greeting["live"], greeting["origin"]) == ("Hello again", "release")
    assert (greeting["since"]["revision"], greeting["since"]["source"]["commit"]) == (2, second)
    assert (why("configmap", "APP_LOG_LEVEL"))["since"]["revision"] == 1
    old = site.core.list_namespaced_config_map(site.namespace).items
    [kept] = [
        each.metadata.name
        for each in old
        if each.metadata.name.startswith(f"{RELEASE}-") and f"configmap/{each.metadata.name}" != greeting["object"]
    ]
    before = why(f"cm/{kept}", "GREETING")
    assert (before["live"], before["origin"], before["values"]) == ("Hello from Kubernetes", "release", [])
    assert "from what is in the cluster" in before["note"]

    key = why("secret", "APP_SECRET_KEY")
    assert (key["live"], key["undeployed"], key["since"]["revision"]) == ("(hidden)", False, 1)

    address = why("service", "clusterIP")
    assert (address["origin"], address["released"], address["written_by"]) == ("server", "(absent)", [])

    by_hand(site, 3)
    replicas = why("deploy", "spec.replicas")
    assert (replicas["origin"], replicas["live"], replicas["released"]) == ("foreign", 3, 2)
    assert (replicas["owners"][0]["manager"], replicas["owners"][0]["operation"]) == ("kubectl-edit", "Update")
    assert replicas["owners"][0]["time"]

    site.values("dev", app={"greeting": "Hello, later"})
    greeting = why("configmap", "GREETING")
    assert (greeting["undeployed"], greeting["working_tree"]) == (True, "Hello, later")
    told = site.releaser("why", "dev", "configmap", "GREETING").stdout
    assert "not yet   the working tree, which is not deployed, says" in told and "Hello, later" in told
    assert "note" not in told

    assert "did you mean" in site.releaser("why", "dev", "deployment", "replica", code=2).stderr
    assert "deployment/flask-hello" in site.releaser("why", "dev", "ingress", "host", code=2).stderr


def test_what_is_not_installed_is_refused(site: Site) -> None:
    assert "not installed" in site.releaser("why", "dev", "deployment", "image", code=4).stderr
