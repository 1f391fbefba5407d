"""What the chart tells Prometheus and Grafana, in a real Prometheus that scrapes the real pods."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.chart.helm import CHART
from tests.cluster.prometheus import Labels, Prometheus, prometheus
from tests.cluster.site import RELEASE, Site, eventually
from tests.cluster.traffic import asking
from tests.fakes import Recorder

pytestmark = pytest.mark.cluster

STEP_SECONDS = 5
BURN = 'ALERTS{alertname="FlaskHelloErrorBudgetBurn",alertstate="firing",window="1h"}'


@pytest.fixture
def objects(site: Site) -> list[dict[str, Any]]:
    """The chart for this site's release, with all that it has for Prometheus and Grafana."""
    sets = [f"metrics.{each}.enabled=true" for each in ("serviceMonitor", "prometheusRule", "dashboard")]
    helm = Tools(Process(Recorder())).path("helm")
    argv = [helm, "template", RELEASE, CHART, "--namespace", site.namespace, "--set", ",".join(sets)]
    argv += ["--set", "service.type=NodePort"]
    text = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.fixture
def watching(site: Site, tmp_path: Path, objects: list[dict[str, Any]]) -> Iterator[Prometheus]:
    [rule] = [each for each in objects if each["kind"] == "PrometheusRule"]
    with prometheus(tmp_path / "prometheus", site.cluster, site.namespace, RELEASE, rule["spec"]) as made:
        yield made


@pytest.fixture
def dashboard(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [text] = [text for each in objects for name, text in each.get("data", {}).items() if name.endswith(".json")]
    return dict(json.loads(text))


def filled_in(dashboard: dict[str, Any], expression: str) -> str:
    """With the dashboard's own variables and Grafana's."""
    chosen = {v["name"]: v["current"]["value"] for v in dashboard["templating"]["list"] if "current" in v}
    for name, value in {"__rate_interval": "10s", "__interval": f"{STEP_SECONDS}s", **chosen}.items():
        expression = expression.replace(f"${name}", value)
    return expression


def test_an_error_rate_fires_the_alert_and_shows_and_each_deploy_is_marked(
    site: Site, watching: Prometheus, dashboard: dict[str, Any]
) -> None:
    began = time.time()
    site.settings("dev", prometheus={"url": watching.url})
    good = site.json("deploy", "dev")["after"]["number"]
    with asking(site.url):
        eventually("both pods are scraped", lambda: watching.query("sum(up == 1)") == [({}, 2.0)])
        assert watching.query(BURN) == []

        # half of the requests fail; the chart's own test would not let that pass
        site.values("dev", faults={"errorRate": 0.5}, tests={"enabled": False})
        site.releaser("deploy", "dev")
        [(labels, _)] = eventually("the alert fires", lambda: watching.query(BURN))
        assert (labels["severity"], labels["namespace"], labels["job"]) == ("critical", site.namespace, RELEASE)

        by_prometheus, by_pods = status(site)
        assert by_prometheus["source"] == f"Prometheus at {watching.url}"
        assert by_pods["source"] == "2 pods"
        for known in (by_prometheus, by_pods):
            assert known["requests_per_second"] > 0
            assert 0 < known["error_ratio"] < 1
            assert known["p95_seconds"] > 0
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        for query in queries:
            assert watching.query(filled_in(dashboard, query)), query

        site.values("dev", faults={"errorRate": 0})
        site.releaser("deploy", "dev")
        eventually("the alert is resolved", lambda: not watching.query(BURN))

    [annotation] = dashboard["annotations"]["list"]
    marks = filled_in(dashboard, annotation["target"]["expr"])
    found = watching.points(marks, began, time.time(), STEP_SECONDS)
    assert sorted(points for _, points in found) == [1, 2], found
    assert {template for labels, _ in found if (template := labels["pod_template_hash"])} == templates(watching), found
    assert good == 1


def status(site: Site) -> tuple[Labels, Labels]:
    """The traffic that releaser tells: by the Prometheus, and by the pods."""
    named = (site.root / "releaser.yaml").read_text()
    by_prometheus = site.json("status", "dev")["traffic"]
    site.settings("dev", prometheus={"url": "http://127.0.0.1:9"})
    by_pods = site.json("status", "dev")["traffic"]
    assert "nothing answers there" in by_pods["note"]
    (site.root / "releaser.yaml").write_text(named)
    return by_prometheus, by_pods


def templates(watching: Prometheus) -> set[str]:
    """Every pod template that was ever seen."""
    seen = watching.query("count by (pod_template_hash) (last_over_time(flask_hello_build_info[1h]))")
    return {labels["pod_template_hash"] for labels, _ in seen}
