from __future__ import annotations

from flask.testing import FlaskClient

from app import create_app
from app.settings import Faults, Settings


def test_a_healthy_service_is_alive_and_ready(client: FlaskClient) -> None:
    assert (client.get("/livez").status_code, client.get("/livez").json) == (200, {"status": "alive"})
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (200, {"status": "ready"})


def test_a_service_told_never_to_be_ready_says_why_and_stays_alive() -> None:
    client = create_app(Settings(faults=Faults(never_ready=True))).test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json == {"status": "not ready", "reason": "FAULT_NEVER_READY is on"}
    assert client.get("/livez").status_code == 200
