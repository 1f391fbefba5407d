"""Broken releases: the right cause, evidence kept, the previous revision serving, all without anybody's help."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from releaser.adapters.cluster import Cluster
from tests.cluster import site as sites
from tests.cluster.broken import BROKEN, Broken, Meanwhile, greeting
from tests.cluster.site import RELEASE, Site
from tests.cluster.traffic import Traffic, asking

pytestmark = pytest.mark.cluster

SECRET = "sesame-sesame-sesame"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Site]:
    """A site with a good release. All broken ones follow it in one history, as failures do in life."""
    root = tmp_path_factory.mktemp("broken") / "project"
    with sites.site(root, cluster) as site:
        greeting(site, "Good")
        site.values("dev", secret={"secretKey": SECRET})
        site.releaser("deploy", "dev")
        shutil.copytree(root, root.with_name("good"))
        yield site


@pytest.fixture
def site(released: Site) -> Iterator[Site]:
    """The good project again, and nothing in its namespace that a broken release needed."""
    yield released
    shutil.rmtree(released.root)
    shutil.copytree(released.root.with_name("good"), released.root)
    core, namespace = released.core, released.namespace
    core.delete_collection_namespaced_resource_quota(namespace)
    core.delete_collection_namespaced_limit_range(namespace)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_release_is_explained_recorded_and_taken_back(site: Site, broken: Broken) -> None:
    greeting(site, "Broken")
    site.values("dev", secret={"secretKey": ""})
    broken.make(site)
    number = site.history()[0]["number"] + 1

    with asking(site.url) as traffic:
        ended = site.run("deploy", "dev")

    assert ended.code == 6, ended.stderr
    assert ended.error["cause"] == broken.cause, ended.error
    assert Path(ended.error["incident"]) == site.root / "incidents" / f"{RELEASE}-r{number}"
    _require_evidence(Path(ended.error["incident"]), broken.cause)
    _require_service(traffic, broken.meanwhile)
    newest, failed, *_ = site.history()
    assert (newest["number"], newest["verdict"], newest["status"]) == (number + 1, "good", "deployed")
    assert (failed["number"], failed["verdict"], failed["entry"]["cause"]) == (number, "failed", broken.cause)
    assert site.get()["message"] == "Good"


def _require_evidence(incident: Path, cause: str) -> None:
    document: dict[str, Any] = json.loads((incident / "incident.json").read_text())
    assert cause in json.dumps(document)
    assert cause in (incident / "report.md").read_text()
    encoded = base64.b64encode(SECRET.encode()).decode()
    for path in incident.rglob("*"):
        text = path.read_text(errors="replace") if path.is_file() else ""
        assert SECRET not in text and encoded not in text, f"{path.name} shows a secret"


def _require_service(traffic: Traffic, meanwhile: Meanwhile) -> None:
    assert traffic.answers
    if meanwhile is not Meanwhile.LOSSES:
        assert not traffic.failed, traffic.failed[:5]
    assert traffic.messages <= ({"Good"} if meanwhile is Meanwhile.OLD else {"Good", "Broken"})
