from __future__ import annotations

import logging

import pytest
from flask import abort, request
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings


def test_an_unknown_path_is_404_with_the_request_id(client: FlaskClient) -> None:
    response = client.get("/missing", headers={"X-Request-Id": "abc-1"})
    assert response.status_code == 404
    assert response.json is not None
    assert (response.json["status"], response.json["error"]) == (404, "Not Found")
    assert response.json["request_id"] == "abc-1"


def test_a_wrong_method_is_405_and_says_which_are_allowed(client: FlaskClient) -> None:
    response = client.post("/version")
    assert response.status_code == 405
    assert {"GET", "HEAD"} <= set(response.headers["Allow"].split(", "))


def test_a_bug_is_500_with_request_id_and_hides_its_text_but_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings())

    @app.get("/bug")
    def bug() -> str:
        raise ValueError("a password")

    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/bug", headers={"X-Request-Id": "id-7", "Accept": "text/html"})
    assert response.status_code == 500
    assert "id-7" in response.text
    assert "a password" not in response.text
    assert "a password" in caplog.text


def test_the_error_page_escapes_what_it_shows() -> None:
    app = create_app(Settings())

    @app.get("/refuse")
    def refuse() -> str:
        abort(403, description="<b>no</b>")

    page = app.test_client().get("/refuse", headers={"Accept": "text/html"}).text
    assert "&lt;b&gt;no&lt;/b&gt;" in page


def test_a_body_that_is_too_large_is_refused() -> None:
    app = create_app(Settings())

    @app.post("/read")
    def read() -> str:
        return str(len(request.get_data()))

    assert app.test_client().post("/read", data=b"x" * 100_000).status_code == 413
