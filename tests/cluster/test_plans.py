"""Plan, apply exactly that, find and repair drift, promote: by the commands, on the real cluster."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kubernetes import client

from tests.cluster.broken import greeting
from tests.cluster.site import RELEASE, Site

pytestmark = pytest.mark.cluster

DEPLOYMENT = f"deployment/{RELEASE}"
SECRETS = ("sesame-sesame-sesame", "abracadabra-abracadabra")


def plan(site: Site, *options: str, environment: str = "dev") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(site.run("plan", environment, *options).stdout)
    return document


def changed(planned: dict[str, Any]) -> dict[str, str]:
    """What happens to the objects that don't stay as they are; a ConfigMap's name ends in a hash."""
    return {
        each["object"].partition(f"{RELEASE}-")[0]: each["action"]
        for each in planned["changes"]
        if each["action"] != "unchanged"
    }


def scale(site: Site, replicas: int) -> None:
    """As `kubectl scale` does, by hand."""
    apps = client.AppsV1Api(site.cluster.api)
    apps.patch_namespaced_deployment_scale(
        RELEASE, site.namespace, {"spec": {"replicas": replicas}}, field_manager="somebody"
    )


def test_a_plan_says_what_a_deploy_does_and_binds_it(site: Site) -> None:
    site.values("dev", secret={"secretKey": SECRETS[0]})
    first = plan(site)
    assert first["base_revision"] == 0
    assert set(changed(first).values()) == {"create"}
    site.releaser("deploy", "dev")
    assert changed(plan(site)) == {}
    assert site.run("plan", "dev", "--exit-code").code == 0

    greeting(site, "Planned")
    site.values("dev", secret={"secretKey": SECRETS[1]})
    file = site.root / "plan.json"
    ended = site.run("plan", "dev", "--exit-code", "-o", str(file))
    assert ended.code == 10
    [deployment] = [each for each in json.loads(ended.stdout)["changes"] if each["object"] == DEPLOYMENT]
    assert (deployment["action"], deployment["restarts"]) == ("change", True)
    [secret] = [each for each in json.loads(ended.stdout)["changes"] if each["object"] == f"secret/{RELEASE}"]
    assert secret["action"] == "change"
    for told in (ended.stdout, file.read_text()):
        for each in SECRETS:
            assert each not in told and base64.b64encode(each.encode()).decode() not in told

    scale(site, 3)
    stale = site.run("deploy", "dev", "--plan", str(file))
    assert stale.code == 4
    assert f"{DEPLOYMENT} spec.replicas" in stale.error["detail"]
    scale(site, 2)
    site.releaser("deploy", "dev", "--plan", str(file))
    assert site.get()["message"] == "Planned"
    newest = site.history()[0]
    assert newest["entry"]["plan"] == json.loads(file.read_text())["hash"]

    again = site.run("deploy", "dev", "--plan", str(file))
    assert again.code == 4
    assert "the revision" in again.error["detail"]


def test_a_plan_flags_what_cannot_be_changed_and_what_goes(site: Site) -> None:
    site.releaser("deploy", "dev")
    scale(site, 3)
    for label in ("selector:\n    matchLabels:", "template:\n    metadata:\n      labels:"):
        indent = " " * (6 if label.startswith("selector") else 8)
        site.edit("charts/flask-hello/templates/deployment.yaml", label, f"{label}\n{indent}track: other")
    site.values("dev", networkPolicy={"enabled": False})
    planned = plan(site)
    [deployment] = [each for each in planned["changes"] if each["object"] == DEPLOYMENT]
    assert deployment["immutable"] == ["spec.selector"]
    assert changed(planned)[f"networkpolicy/{RELEASE}"] == "delete"
    [by_hand] = planned["by_hand"]
    assert (by_hand["address"], by_hand["wanted"], by_hand["live"]) == ("spec.replicas", 2, 3)
    assert by_hand["managers"][0]["manager"] == "somebody"


def test_drift_is_found_named_and_repaired(site: Site) -> None:
    site.releaser("deploy", "dev")
    assert site.run("drift", "dev", "--exit-code").code == 0
    scale(site, 3)
    found = site.run("drift", "dev", "--exit-code")
    assert found.code == 10
    [drifted] = json.loads(found.stdout)["fields"]
    assert (drifted["object"], drifted["address"]) == (DEPLOYMENT, "spec.replicas")
    assert drifted["managers"][0]["manager"] == "somebody"
    assert site.json("drift", "dev", "--fix")["fixed"]
    assert site.json("drift", "dev")["fields"] == []


def test_only_what_was_good_in_dev_is_promoted_by_its_digest(site: Site) -> None:
    assert site.run("promote", "dev", "prod", "--yes").code == 4
    site.releaser("deploy", "dev")
    proven = site.history()[0]
    # what dev has tried since is not what is promoted
    site.write("app/another.py", "")
    site.releaser("promote", "dev", "prod", "--yes")
    [promoted] = site.history("prod")
    assert (promoted["image"], promoted["entry"]["image_id"]) == (proven["image"], proven["entry"]["image_id"])
    assert (promoted["verdict"], promoted["entry"]["promoted_from"]) == ("good", "dev r1")
