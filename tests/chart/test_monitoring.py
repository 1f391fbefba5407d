"""ServiceMonitor, PrometheusRule and dashboard speak of what the service really exposes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app import create_app
from app.metrics import LATENCY_BUCKETS_SECONDS
from app.settings import Settings
from tests.chart.conftest import CHART, Render
from tests.chart.helm import Rendered

VALUES = CHART / "ci" / "gateway-values.yaml"
# what Prometheus itself adds to a scrape
ADDED_LABELS = {"job", "namespace", "pod"}
SCRAPED = {"up": ADDED_LABELS}
# what kube-state-metrics has: docs/metrics/workload/ of its repository
STATES = {
    "kube_pod_container_status_restarts_total": {"namespace", "pod", "container"},
    "kube_deployment_status_condition": {"namespace", "deployment", "condition", "status"},
}
SERIES = re.compile(r"([a-z_:0-9]+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The names of all series of the service after some requests, with their labels."""
    client = create_app(Settings()).test_client()
    for path in ("/", "/livez", "/nowhere"):
        client.get(path)
    found: dict[str, set[str]] = {}
    for line in client.get("/metrics").get_data(as_text=True).splitlines():
        if match := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
            found.setdefault(match[1], set()).update(re.findall(r'([a-z_]+)="', match[2] or ""))
    return found


@pytest.fixture(scope="module")
def rendered(render: Render) -> Rendered:
    return render(VALUES, release="hello", namespace="greeters")


def dashboard(rendered: Rendered) -> dict[str, Any]:
    [config] = [o for o in rendered.of("ConfigMap") if o["metadata"]["name"].endswith("-dashboard")]
    [(name, text)] = config["data"].items()
    assert name == "hello-flask-hello.json"
    return dict(json.loads(text))


def rules(rendered: Rendered) -> list[dict[str, Any]]:
    [group] = rendered.one("PrometheusRule")["spec"]["groups"]
    return list(group["rules"])


def recorded(rendered: Rendered) -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules(rendered) if "record" in rule}


def alerts(rendered: Rendered) -> dict[tuple[str, str], dict[str, Any]]:
    """By name and window."""
    return {(rule["alert"], rule["labels"].get("window", "")): rule for rule in rules(rendered) if "alert" in rule}


def expressions(rendered: Rendered) -> Iterator[str]:
    yield from (rule["expr"] for rule in rules(rendered))
    shown = dashboard(rendered)
    for panel in shown["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["target"]["expr"] for each in shown["annotations"]["list"])


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
    known = {name: labels | ADDED_LABELS for name, labels in exposed.items()} | SCRAPED | STATES
    known |= {name: {"job", "namespace"} for name in recorded(rendered)}
    asked = 0
    for expression in expressions(rendered):
        found = SERIES.findall(expression)
        assert found, expression
        grouped = {
            label for by in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in by.split(", ") if label
        }
        for name, matchers in found:
            labels = set(re.findall(r"([a-z_]+)[=!]~?\"", matchers))
            assert name in known, expression
            assert labels <= known[name], expression
            asked += 1
        assert grouped <= set.union(*(known[name] for name, _ in found)), expression
    assert asked > 60


def test_alerts_look_at_this_release_only(rendered: Rendered) -> None:
    for rule in rules(rendered):
        found = SERIES.findall(rule["expr"])
        for name, matchers in found:
            if name in STATES:
                assert 'namespace="greeters"' in matchers
                # by name, or by the pods of the Service
                assert 'deployment="hello-flask-hello"' in matchers or ("up", OWN) in found
            else:
                assert OWN in matchers
    assert rendered.one("Service")["metadata"]["name"] == "hello-flask-hello"


OWN = 'job="hello-flask-hello",namespace="greeters"'


def test_probes_count_neither_as_errors_nor_as_fast_requests(rendered: Rendered) -> None:
    for expression in recorded(rendered).values():
        for _, matchers in SERIES.findall(expression):
            assert 'route!~"/livez|/readyz"' in matchers


def test_objectives_are_values(render: Render, rendered: Rendered) -> None:
    objectives = {"availabilityPercent": 99.95, "latencyPercent": 95, "latencySeconds": 1}
    sets = {f"metrics.prometheusRule.slo.{key}": value for key, value in objectives.items()}
    tuned = render(VALUES, sets=sets, release="hello", namespace="greeters")
    for window, factor in {"1h": "14.4", "6h": "6", "1d": "3", "3d": "1"}.items():
        [long, short] = alerts(tuned)["FlaskHelloErrorBudgetBurn", window]["expr"].split(" and ")
        assert long.endswith(f" > {factor} * (1 - 99.95 / 100)") and short.endswith(f" > {factor} * (1 - 99.95 / 100)")
        assert f"ratio_rate{window}{{" in long
        assert alerts(tuned)["FlaskHelloLatencyBudgetBurn", window]["expr"].count(f" > {factor} * (1 - 95 / 100)") == 2
        assert (
            alerts(rendered)["FlaskHelloErrorBudgetBurn", window]["expr"].count(f"> {factor} * (1 - 99.9 / 100)") == 2
        )
        assert (
            alerts(rendered)["FlaskHelloLatencyBudgetBurn", window]["expr"].count(f"> {factor} * (1 - 99 / 100)") == 2
        )
    assert 'le="1.0"' in recorded(tuned)["job:http_requests_slow:ratio_rate5m"]
    assert 'le="0.25"' in recorded(rendered)["job:http_requests_slow:ratio_rate5m"]
    described = alerts(tuned)["FlaskHelloErrorBudgetBurn", "1h"]["annotations"]["description"]
    assert "the objective allows 0.05 %" in described
    shown = {v["name"]: v["query"] for v in dashboard(tuned)["templating"]["list"] if v["type"] == "constant"}
    assert shown == {"availability": "99.95", "fast": "95", "slow": "1.0"}
    assert all(
        v["current"] == {"text": v["query"], "value": v["query"]}
        for v in dashboard(tuned)["templating"]["list"]
        if v["type"] == "constant"
    )


def test_what_counts_as_slow_is_a_bucket_of_the_service() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    node = schema["properties"]["metrics"]["properties"]["prometheusRule"]["properties"]["slo"]
    assert tuple(node["properties"]["latencySeconds"]["enum"]) == LATENCY_BUCKETS_SECONDS


def test_alerts_say_how_bad_it_is_what_to_do_and_where_it_is_explained(render: Render, rendered: Rendered) -> None:
    assert {name for name, _ in alerts(rendered)} == {
        "FlaskHelloDown", "FlaskHelloPodDown", "FlaskHelloErrorBudgetBurn", "FlaskHelloLatencyBudgetBurn",
        "FlaskHelloCrashLooping", "FlaskHelloReleaseFailing", "FlaskHelloTemplatesDiffer",
    }  # fmt: skip
    elsewhere = alerts(render(VALUES, sets={"metrics.prometheusRule.runbookUrl": "https://wiki.example/alerts"}))
    for (name, window), rule in alerts(rendered).items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch("[0-9]+m", rule["for"])
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        linked = elsewhere[name, window]["annotations"]
        assert linked.keys() == {"summary", "description", "runbook_url"}
        assert linked["runbook_url"] == f"https://wiki.example/alerts#{name.lower()}"
    errors = alerts(rendered)["FlaskHelloErrorBudgetBurn", "1h"]
    assert errors["labels"] == {"severity": "critical", "window": "1h"}
    assert "helm rollback hello --namespace greeters" in errors["annotations"]["description"]
    assert "{{ $labels.pod }}" in alerts(rendered)["FlaskHelloPodDown", ""]["annotations"]["summary"]


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
    chosen = {v["name"]: v["current"]["value"] for v in first["templating"]["list"] if v["type"] == "query"}
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
