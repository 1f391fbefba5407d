from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import __version__, create_app
from app.settings import Pod, Settings

BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_the_greeting_says_what_answers_and_where() -> None:
    settings = Settings(environment="prod", version="2.1", greeting="Hi", pod=Pod("pod-1", "ns-1", "node-1"))
    assert create_app(settings).test_client().get("/").json == {
        "message": "Hi",
        "version": "2.1",
        "environment": "prod",
        "pod": "pod-1",
        "namespace": "ns-1",
        "node": "node-1",
        "visits": 1,
    }


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("image/png", "application/json"),
        ("text/html;q=0.5,application/json", "application/json"),
        (BROWSER_ACCEPT, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/missing"])
def test_the_client_chooses_between_json_and_html(
    client: FlaskClient, path: str, accept: str | None, content_type: str
) -> None:
    response = client.get(path, headers={"Accept": accept} if accept else {})
    assert response.content_type == content_type
    assert "Accept" in response.headers["Vary"]


def test_the_page_escapes_what_it_shows() -> None:
    settings = Settings(greeting="<script>alert(1)</script>", pod=Pod(name='"><b>'))
    page = create_app(settings).test_client().get("/", headers={"Accept": "text/html"}).text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_loads_nothing_from_elsewhere_and_fits_a_phone(client: FlaskClient) -> None:
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert not any(mark in page for mark in ("src=", "href=", "url(", "@import", "<script"))
    assert '<meta name="viewport" content="width=device-width' in page


def test_every_answer_carries_the_protecting_headers(client: FlaskClient) -> None:
    for path in ("/", "/livez", "/metrics", "/missing"):
        headers = client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_version_tells_version_environment_and_pod() -> None:
    client = create_app(Settings(version="3.2.1", environment="prod", pod=Pod(name="p"))).test_client()
    assert client.get("/version").json == {"version": "3.2.1", "environment": "prod", "pod": "p"}


def test_visits_of_one_client_are_counted_in_its_cookie(client: FlaskClient) -> None:
    assert [client.get("/").json["visits"] for _ in range(3)] == [1, 2, 3]  # type: ignore[index]
    client.head("/")
    assert client.get("/").json["visits"] == 4  # type: ignore[index]


def test_pods_with_the_same_key_continue_each_others_count_and_others_do_not() -> None:
    first, same, other = (create_app(Settings(secret_key=key * 16)).test_client(use_cookies=False) for key in "aab")
    cookie = first.get("/").headers["Set-Cookie"].split(";")[0]
    assert same.get("/", headers={"Cookie": cookie}).json["visits"] == 2  # type: ignore[index]
    assert other.get("/", headers={"Cookie": cookie}).json["visits"] == 1  # type: ignore[index]


def test_the_image_is_labelled_with_the_packages_version() -> None:
    dockerfile = (Path(__file__).resolve().parents[3] / "Dockerfile").read_text()
    assert f"ARG VERSION={__version__}\n" in dockerfile
