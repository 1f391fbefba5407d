"""Broken releases: the right cause, evidence kept, the previous revision serving, all without anybody's help."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.broken import BROKEN, Broken, Meanwhile, greeting
from tests.cluster.site import RELEASE, Site
from tests.cluster.traffic import Traffic, asking

pytestmark = pytest.mark.cluster

SECRET = "sesame-sesame-sesame"


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_release_is_explained_recorded_and_taken_back(site: Site, broken: Broken) -> None:
    greeting(site, "Good")
    site.values("dev", secret={"secretKey": SECRET})
    site.releaser("deploy", "dev")
    greeting(site, "Broken")
    site.values("dev", secret={"secretKey": ""})
    broken.make(site)

    with asking(site.url) as traffic:
        ended = site.run("deploy", "dev")

    assert ended.code == 6, ended.stderr
    assert ended.error["cause"] == broken.cause, ended.error
    _require_evidence(site.root / "incidents" / f"{RELEASE}-r2", broken.cause)
    _require_service(traffic, broken.meanwhile)
    newest = site.history()[0]
    assert (newest["verdict"], newest["status"], newest["content"]) == ("good", "deployed", 1)
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
