from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from app.settings import Faults, Pod, Settings
from tests.unit.app.conftest import PROJECT

Labels = frozenset[tuple[str, str]]


def samples(client: FlaskClient, name: str) -> dict[Labels, float]:
    return {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def labels(**values: str) -> Labels:
    return frozenset(values.items())


def test_requests_are_counted_by_method_route_and_status(client: FlaskClient) -> None:
    client.get("/")
    client.get("/?page=2")
    client.head("/version")
    client.post("/livez")
    assert samples(client, "http_requests_total") == {
        labels(method="GET", route="/", status="200"): 2,
        labels(method="HEAD", route="/version", status="200"): 1,
        labels(method="POST", route="unmatched", status="405"): 1,
    }


def test_what_clients_invent_never_becomes_a_label(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/invented/{number}")
        client.open("/", method=f"METHOD{number}")
    assert samples(client, "http_requests_total") == {
        labels(method="GET", route="unmatched", status="404"): 5,
        labels(method="other", route="unmatched", status="405"): 5,
    }


def test_the_latency_histogram_counts_each_request_in_the_buckets_above_it() -> None:
    client = create_app(Settings(faults=Faults(latency_seconds=0.03))).test_client()
    client.get("/version")
    buckets = samples(client, "http_request_duration_seconds_bucket")
    assert buckets[labels(method="GET", route="/version", le="0.025")] == 0
    assert buckets[labels(method="GET", route="/version", le="+Inf")] == 1
    assert samples(client, "http_request_duration_seconds_sum")[labels(method="GET", route="/version")] >= 0.03


def test_no_request_is_in_progress_afterwards_failed_ones_included() -> None:
    app = create_app(Settings())

    @app.get("/bug")
    def bug() -> str:
        inside.update(samples(app.test_client(), "http_requests_in_progress"))
        raise ValueError

    inside: dict[Labels, float] = {}
    client = app.test_client()
    client.get("/bug")
    assert inside == {labels(): 1}
    assert samples(client, "http_requests_in_progress") == {labels(): 0}
    assert samples(client, "http_requests_total") == {labels(method="GET", route="/bug", status="500"): 1}


def test_scrapes_are_not_counted(client: FlaskClient) -> None:
    assert samples(client, "http_requests_total") == {}
    assert samples(client, "http_requests_total") == {}


def test_the_service_tells_what_runs_as_a_metric() -> None:
    settings = Settings(
        version="9.9", revision="9.9-e00ff70efc53", environment="prod", pod=Pod(template_hash="7c9d8f6b5d")
    )
    assert samples(create_app(settings).test_client(), "flask_hello_build_info") == {
        labels(
            version="9.9",
            revision="9.9-e00ff70efc53",
            python_version=platform.python_version(),
            environment="prod",
            pod_template_hash="7c9d8f6b5d",
        ): 1
    }


def test_the_start_of_the_process_is_told_and_nothing_else_of_it(client: FlaskClient) -> None:
    told = samples(client, "process_start_time_seconds")[labels()]
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    assert told == pytest.approx(int(boot.split()[1]) + int(stat[19]) / os.sysconf("SC_CLK_TCK"))
    assert re.findall("^process_[a-z_]+", client.get("/metrics").text, re.MULTILINE) == ["process_start_time_seconds"]


def test_two_applications_in_one_process_count_apart(client: FlaskClient) -> None:
    client.get("/")
    assert samples(create_app(Settings()).test_client(), "http_requests_total") == {}


def test_the_format_is_prometheus_text(client: FlaskClient) -> None:
    assert client.get("/metrics").content_type.startswith("text/plain; version=")


def test_the_documentation_has_every_metric_with_its_type_labels_and_meaning(client: FlaskClient) -> None:
    client.get("/")
    exposed = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        given = {label for sample in family.samples for label in sample.labels} - {"le"}
        exposed[name] = (family.type, given, family.documentation)
    row = re.compile(r"\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*)\| ([^|]+) \|")
    text = (PROJECT / "docs" / "observability.md").read_text(encoding="utf-8")
    documented = {
        name: (kind, set(re.findall("`([a-z_]+)`", labels)), meaning)
        for name, kind, labels, meaning in row.findall(text)
    }
    assert documented == exposed
