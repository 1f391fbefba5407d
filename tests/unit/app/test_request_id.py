from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient


def test_a_sane_id_of_the_client_is_kept(client: FlaskClient) -> None:
    given = "Root=1-67891233-abc:def/9+8_7.6"
    assert client.get("/", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, '"<script>', "ü", "a;b", "id\u00a0"])
def test_any_other_id_is_replaced(client: FlaskClient, given: str) -> None:
    answered = client.get("/", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", answered)


def test_every_request_has_an_id_of_its_own_errors_included(client: FlaskClient) -> None:
    ids = {client.get(path).headers["X-Request-Id"] for path in ("/", "/", "/livez", "/missing", "/metrics")}
    assert len(ids) == 5
