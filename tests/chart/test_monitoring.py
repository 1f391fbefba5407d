"""ServiceMonitor, PrometheusRule and dashboard speak of what the service really exposes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app import create_app
from app.settings import Settings
from tests.chart.conftest import CHART, Render
from tests.chart.helm import Rendered

VALUES = CHART / "ci" / "gateway-values.yaml"
# what Prometheus itself adds to a scrape
SCRAPED = {"up": {"job", "namespace", "pod"}}
ADDED_LABELS = {"job", "namespace", "pod"}
SERIES = re.compile(r"([a-z_]+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The names of all series of the service after some requests, with their labels."""
    client = create_app(Settings()).test_client()
    for path in ("/", "/livez", "/nowhere"):
        client.get(path)
    found: dict[str, set[str]] = {}
    for line in client.get("/metrics").get_data(as_text=True).splitlines():
        if match := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
            found.setdefault(match[1], set()).update(re.findall(r'([a-z]+)="', match[2] or ""))
    return found


@pytest.fixture(scope="module")
def rendered(render: Render) -> Rendered:
    return render(VALUES, release="hello", namespace="greeters")


def dashboard(rendered: Rendered) -> dict[str, Any]:
    [config] = [o for o in rendered.of("ConfigMap") if o["metadata"]["name"].endswith("-dashboard")]
    [(name, text)] = config["data"].items()
    assert name == "hello-flask-hello.json"
    return dict(json.loads(text))


def rules(rendered: Rendered) -> dict[str, dict[str, Any]]:
    [group] = rendered.one("PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expressions(rendered: Rendered) -> Iterator[str]:
    yield from (rule["expr"] for rule in rules(rendered).values())
    for panel in dashboard(rendered)["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_by_default_nothing_that_needs_crds_is_made(render: Render) -> None:
    rendered = render()
    assert rendered.of("ServiceMonitor") == rendered.of("PrometheusRule") == []
    assert len(rendered.of("ConfigMap")) == 1


def test_prometheus_scrapes_the_metrics_of_the_services_pods(rendered: Rendered) -> None:
    monitor = rendered.one("ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    service = rendered.one("Service")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert endpoint == {"port": "http", "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "hello"


def test_scrapes_are_tuned_by_values(render: Render) -> None:
    sets = {"metrics.serviceMonitor.intervalSeconds": 60, "metrics.serviceMonitor.timeoutSeconds": 50}
    [endpoint] = render(VALUES, sets=sets).one("ServiceMonitor")["spec"]["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("60s", "50s")


def test_alerts_and_dashboard_ask_only_for_what_is_exposed(rendered: Rendered, exposed: dict[str, set[str]]) -> None:
    known = {name: labels | ADDED_LABELS for name, labels in exposed.items()} | SCRAPED
    asked = 0
    for expression in expressions(rendered):
        found = SERIES.findall(expression)
        assert found, expression
        for name, matchers in found:
            labels = set(re.findall(r"([a-z]+)[=!]~?\"", matchers))
            assert name in known, expression
            assert labels <= known[name], expression
            for by in re.findall(r"by \(([^)]*)\)", expression):
                assert set(by.split(", ")) <= known[name], expression
            asked += 1
    assert asked > 15


def test_alerts_look_at_this_release_only(rendered: Rendered) -> None:
    for rule in rules(rendered).values():
        for _, matchers in SERIES.findall(rule["expr"]):
            assert 'job="hello-flask-hello",namespace="greeters"' in matchers
    assert rendered.one("Service")["metadata"]["name"] == "hello-flask-hello"


def test_probes_count_neither_as_errors_nor_as_fast_requests(rendered: Rendered) -> None:
    for name in ("FlaskHelloErrors", "FlaskHelloSlow"):
        for _, matchers in SERIES.findall(rules(rendered)[name]["expr"]):
            assert 'route!~"/livez|/readyz"' in matchers


def test_alerts_fire_at_the_values_limits_and_say_what_to_do(render: Render, rendered: Rendered) -> None:
    sets = {"metrics.prometheusRule.errorPercent": 0.5, "metrics.prometheusRule.latencySeconds": 0.25}
    tuned = rules(render(VALUES, sets=sets))
    assert tuned["FlaskHelloErrors"]["expr"].endswith("> 0.5")
    assert tuned["FlaskHelloSlow"]["expr"].endswith("> 0.25")
    assert rules(rendered)["FlaskHelloErrors"]["expr"].endswith("> 5")
    assert rules(rendered)["FlaskHelloSlow"]["expr"].endswith("> 1")
    assert rules(rendered).keys() == {
        "FlaskHelloDown", "FlaskHelloPodDown", "FlaskHelloErrors", "FlaskHelloSlow", "FlaskHelloVersionsDiffer",
    }  # fmt: skip
    for rule in rules(rendered).values():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch("[0-9]+m", rule["for"])
        assert rule["annotations"].keys() == {"summary", "description"}
    assert (
        "helm rollback hello --namespace greeters" in rules(rendered)["FlaskHelloErrors"]["annotations"]["description"]
    )
    assert "{{ $labels.pod }}" in rules(rendered)["FlaskHelloPodDown"]["annotations"]["summary"]


def test_labels_for_prometheus_are_taken_over(render: Render, rendered: Rendered) -> None:
    assert rendered.one("PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"
    bare = render(CHART / "ci" / "gateway-bare-values.yaml")
    assert "release" not in bare.one("PrometheusRule")["metadata"]["labels"]
    assert "release" not in bare.one("ServiceMonitor")["metadata"]["labels"]


def test_grafanas_sidecar_finds_the_dashboard(render: Render) -> None:
    values = CHART / "ci" / "ingress-default-class-values.yaml"
    [config] = [o for o in render(values).of("ConfigMap") if o["metadata"]["name"].endswith("-dashboard")]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"grafana_folder": "Services"}
    renamed = render(values, sets={"metrics.dashboard.label": "dashboards"})
    assert sum("dashboards" in o["metadata"]["labels"] for o in renamed.of("ConfigMap")) == 1


def test_each_release_has_a_dashboard_of_its_own_that_shows_it(render: Render, rendered: Rendered) -> None:
    first = dashboard(rendered)
    second = dashboard(render(VALUES, release="hello", namespace="other"))
    assert first["title"] == "greeters/hello-flask-hello"
    assert first["uid"] != second["uid"]
    for each in (first, second):
        assert re.fullmatch(r"[a-z0-9-]{1,40}", each["uid"])  # Grafana's rule
    chosen = {v["name"]: v["current"]["value"] for v in first["templating"]["list"] if "current" in v}
    assert chosen == {"namespace": "greeters", "job": "hello-flask-hello"}


def test_panels_of_the_dashboard_do_not_overlap_and_read_from_the_chosen_source(rendered: Rendered) -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard(rendered)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"]
