from __future__ import annotations

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from app.settings import Faults, Settings

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


def test_the_service_tells_version_and_environment_as_a_metric() -> None:
    client = create_app(Settings(version="9.9", environment="prod")).test_client()
    assert samples(client, "flask_hello_info") == {labels(version="9.9", environment="prod"): 1}


def test_two_applications_in_one_process_count_apart(client: FlaskClient) -> None:
    client.get("/")
    assert samples(create_app(Settings()).test_client(), "http_requests_total") == {}


def test_the_format_is_prometheus_text(client: FlaskClient) -> None:
    assert client.get("/metrics").content_type.startswith("text/plain; version=")
