"""The key that signs cookies: given, or made once and kept."""

from __future__ import annotations

from base64 import b64decode, b64encode

from tests.chart.api_server import against, owned, serving
from tests.chart.conftest import Render
from tests.chart.helm import Rendered

KEPT = "made-at-the-first-install"


def key(rendered: Rendered) -> str:
    return b64decode(rendered.one("Secret")["data"]["APP_SECRET_KEY"]).decode()


def present(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owned(name),
        "data": {"APP_SECRET_KEY": b64encode(KEPT.encode()).decode()},
    }


def test_a_key_is_made_at_random_when_none_is_given(render: Render) -> None:
    first, second = key(render()), key(render())
    assert len(first) == len(second) == 32
    assert first != second


def test_an_upgrade_keeps_the_key_that_the_release_has(render: Render) -> None:
    with serving(present("flask-hello")) as url:
        assert key(render(more=against(url))) == KEPT


def test_the_key_of_another_release_is_not_taken(render: Render) -> None:
    with serving(present("another")) as url:
        assert key(render(more=against(url))) != KEPT


def test_a_given_key_replaces_the_one_that_the_release_has(render: Render) -> None:
    with serving(present("flask-hello")) as url:
        given = {"secret.secretKey": "a-key-of-my-own-choice"}
        rendered = render(sets=given, more=against(url))
        assert key(rendered) == "a-key-of-my-own-choice"


def test_a_made_key_leaves_no_trace_in_the_pods(render: Render) -> None:
    """Else every render would make new pods."""
    assert render().one("Deployment") == render().one("Deployment")
    assert "checksum/secret" not in render().one("Deployment")["spec"]["template"]["metadata"]["annotations"]
