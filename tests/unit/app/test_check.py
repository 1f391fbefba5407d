from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from secrets import token_hex

import pytest
from flask import Flask, Response, abort, request

from app import create_app
from app.check import main
from app.settings import Faults, Pod, Settings
from tests.unit.app.conftest import PROJECT, free_port

Serve = Callable[[Flask], str]


def service(**settings: object) -> Flask:
    return create_app(Settings(version="1.2.3", environment="prod", pod=Pod(name="pod-1"), **settings))  # type: ignore[arg-type]


def test_a_good_service_passes_with_a_line_for_each_check(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve_in_thread(service())
    assert main([url + "/", "--expect-version", "1.2.3", "--expect-environment", "prod"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["ok", "GET", path] for path in ("/livez", "/readyz", "/version", "/", "/metrics")
    ]
    assert "1.2.3 in prod" in lines[2]
    assert "20 answers from pod-1" in lines[3]


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--expect-version", "1.2.4", "version is '1.2.3', expected '1.2.4'"),
        ("--expect-environment", "dev", "environment is 'prod', expected 'dev'"),
        ("--expect-greeting", "Moin", "message is 'Hello from Kubernetes', expected 'Moin'"),
    ],
)
def test_another_version_environment_or_greeting_than_expected_fails(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str], option: str, value: str, complaint: str
) -> None:
    assert main([serve_in_thread(service()), option, value]) == 1
    assert complaint in capsys.readouterr().out


def test_a_service_that_is_not_ready_fails_with_its_reason(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([serve_in_thread(service(faults=Faults(never_ready=True)))]) == 1
    out = capsys.readouterr().out
    assert "FAIL GET /readyz" in out
    assert "FAULT_NEVER_READY is on" in out
    assert "ok   GET /livez" in out


def test_one_failed_request_among_many_is_not_tried_again_but_fails(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service()
    greetings = []

    @app.before_request
    def fail_the_third_greeting() -> None:
        if request.path == "/":
            greetings.append(1)
            if len(greetings) == 3:
                abort(500)

    assert main([serve_in_thread(app)]) == 1
    assert "FAIL GET /  " in capsys.readouterr().out
    assert len(greetings) == 3


def test_a_connection_that_breaks_before_an_answer_is_tried_again(serve_in_thread: Serve) -> None:
    app = service()
    broken: list[str] = []

    @app.before_request
    def break_twice() -> None:
        if len(broken) < 2:
            broken.append(request.path)
            # Without a word to the client: what it sees when a pod's network isn't there yet.
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)

    assert main([serve_in_thread(app)]) == 0
    assert len(broken) == 2


def test_nobody_listening_fails_after_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"http://127.0.0.1:{free_port()}", "--deadline", "0"]) == 1
    out = capsys.readouterr().out
    assert out.count("no answer") == 5
    assert "refused" in out


def test_an_answer_that_is_not_this_service_fails(serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    other = Flask("other")
    other.add_url_rule("/<path:any>", view_func=lambda any: "[]")
    assert main([serve_in_thread(other)]) == 1
    assert "answered no JSON object" in capsys.readouterr().out


def test_it_asks_until_the_expected_number_of_pods_has_answered(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service()
    visits: list[str] = []

    @app.after_request
    def answer_as_another_pod_at_last(response: Response) -> Response:
        if request.path == "/":
            visits.append(request.path)
            if len(visits) > 30:
                response.set_data(response.get_data().replace(b"pod-1", b"pod-2"))
        return response

    assert main([serve_in_thread(app), "--expect-pods", "2"]) == 0
    assert "31 answers from pod-1, pod-2" in capsys.readouterr().out


def test_fewer_pods_than_expected_fail_after_the_deadline(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([serve_in_thread(service()), "--expect-pods", "2", "--greetings", "3", "--deadline", "0"]) == 1
    assert "3 answers came from 1 pods, expected 2: pod-1" in capsys.readouterr().out


def test_pods_that_do_not_share_the_key_of_the_cookie_fail(
    serve_in_thread: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    app = service()

    @app.teardown_request
    def sign_with_a_new_key(_error: BaseException | None) -> None:
        app.secret_key = token_hex()

    assert main([serve_in_thread(app)]) == 1
    out = capsys.readouterr().out
    assert "visits is 1 on visit 2 with one cookie: pod-1 do not sign with the same APP_SECRET_KEY" in out


def test_what_is_not_a_url_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["flask-hello:80"])
    assert "'flask-hello:80' is not an http:// or https:// URL" in capsys.readouterr().err


def test_it_needs_nothing_but_the_standard_library() -> None:
    # -S hides installed packages.
    command = [sys.executable, "-S", "-m", "app.check", "--help"]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True, check=False).returncode == 0
