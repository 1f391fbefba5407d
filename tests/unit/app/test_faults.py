from __future__ import annotations

import pytest

from app import create_app
from app.faults import InjectedFault, crash_at_start
from app.settings import Faults, Settings

OPERATIONS = ("/livez", "/readyz", "/metrics")


def test_an_error_rate_of_one_fails_the_services_routes_but_never_probes_or_metrics() -> None:
    client = create_app(Settings(faults=Faults(error_rate=1.0))).test_client()
    for path in ("/", "/version"):
        response = client.get(path)
        assert response.status_code == 500
        assert "FAULT_ERROR_RATE=1" in response.text
    assert [client.get(path).status_code for path in OPERATIONS] == [200, 200, 200]


def test_an_error_rate_of_a_half_fails_some_requests_and_not_others() -> None:
    client = create_app(Settings(faults=Faults(error_rate=0.5))).test_client()
    assert {client.get("/").status_code for _ in range(200)} == {200, 500}


def test_latency_delays_the_services_routes_but_never_probes_or_metrics() -> None:
    app = create_app(Settings(faults=Faults(latency_seconds=0.05)))
    client = app.test_client()
    for path in ("/", *OPERATIONS):
        client.get(path)
    slow = 'http_request_duration_seconds_bucket{le="0.05",method="GET",route="%s"} 0.0'
    shown = client.get("/metrics").text
    assert slow % "/" in shown
    assert slow % "/livez" not in shown
    assert slow % "/readyz" not in shown


def test_a_crash_at_start_is_raised_only_when_asked_for() -> None:
    crash_at_start(Faults())
    with pytest.raises(InjectedFault, match="FAULT_CRASH_AT_START=true"):
        crash_at_start(Faults(crash_at_start=True))


def test_the_faults_that_are_on_are_named_as_their_variables() -> None:
    assert Faults().switched_on() == ()
    assert Faults(never_ready=True, error_rate=0.1).switched_on() == ("FAULT_NEVER_READY", "FAULT_ERROR_RATE")
