"""The service under a real gunicorn with two workers, configured by app/gunicorn.conf.py."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.app.conftest import Gunicorn, wait_until

Start = Callable[..., Gunicorn]

GREETED = 'http_requests_total{method="GET",route="/",status="200"}'


def resident_bytes(pid: int) -> int:
    """Anonymous memory that the process really has, by the kernel's count."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def kill_workers(server: Gunicorn) -> None:
    """As the kernel does when memory is short; returns when gunicorn has replaced them."""
    before = server.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until("two new workers", lambda: len(server.worker_pids() - before) == 2)


def test_metrics_are_summed_over_workers_whichever_answers(serve: Start) -> None:
    server = serve()
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _ in pool.map(lambda _: server.get("/"), range(60))]
    assert statuses == [200] * 60
    assert [server.metric(GREETED) for _ in range(10)] == [60] * 10


def test_workers_that_take_the_place_of_dead_ones_go_on_with_their_counts_and_files(
    serve: Start, tmp_path: Path
) -> None:
    server = serve()
    for _ in range(20):
        server.get("/")
    for _ in range(2):
        kill_workers(server)
        assert server.metric(GREETED) == 20
    server.get("/")
    assert server.metric(GREETED) == 21
    # counter_1.db, gauge_max_2.db, ...: as many files as two workers need, however many there have been.
    assert {file.stem.rsplit("_", 1)[1] for file in tmp_path.rglob("*.db")} <= {"1", "2"}


def test_the_start_that_is_told_is_that_of_the_container_not_of_a_worker(serve: Start) -> None:
    server = serve()
    before = server.metric("process_start_time_seconds")
    kill_workers(server)
    assert server.metric("process_start_time_seconds") == before > 0


def test_what_runs_is_told_once_and_no_longer_by_workers_that_are_gone(serve: Start, tmp_path: Path) -> None:
    server = serve(APP_REVISION="1.0.0-e00ff70efc53")

    def told() -> list[str]:
        return re.findall("^flask_hello_build_info.* 1.0$", server.get("/metrics")[1], re.MULTILINE)

    [info] = told()
    assert 'revision="1.0.0-e00ff70efc53"' in info
    kill_workers(server)
    assert told() == [info]
    assert not list(tmp_path.rglob("gauge_max_*"))


def test_a_dead_workers_requests_are_no_longer_in_progress(serve: Start) -> None:
    server = serve(FAULT_LATENCY_SECONDS="300")
    with ThreadPoolExecutor(1) as pool:
        unanswered = pool.submit(server.get, "/")
        wait_until("the request to be in progress", lambda: server.metric("http_requests_in_progress") == 1)
        kill_workers(server)
        assert isinstance(unanswered.exception(), ConnectionError)
    assert server.metric("http_requests_in_progress") == 0


def test_a_start_forgets_the_metrics_of_an_earlier_run(serve: Start) -> None:
    earlier = serve()
    earlier.get("/")
    assert earlier.metric(GREETED) == 1
    earlier.process.terminate()
    assert earlier.wait_for_exit() == 0
    assert serve().metric(GREETED) == 0


def test_sigterm_lets_a_request_in_flight_finish(serve: Start) -> None:
    server = serve(FAULT_LATENCY_SECONDS="2")
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(server.get, "/version")
        wait_until("the request to be in progress", lambda: server.metric("http_requests_in_progress") == 1)
        server.process.terminate()
        assert in_flight.result()[0] == 200
    assert server.wait_for_exit() == 0
    messages = [line["message"] for line in server.log()]
    assert messages.index("Handling signal: term") < messages.index("GET /version 200")


def test_a_sigterm_that_meets_a_worker_at_its_birth_is_not_lost(launch: Start, tmp_path: Path) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(
        """
from pathlib import Path
from signal import SIGTERM, raise_signal

exec(Path("app/gunicorn.conf.py").read_text())
as_configured = post_fork


def post_fork(server, worker):
    as_configured(server, worker)
    if worker.age == 1:
        raise_signal(SIGTERM)
"""
    )
    server = launch(str(config))
    wait_until("the exit of the first worker", lambda: "Worker exiting" in server.stdout.read_text())
    messages = [str(line["message"]).partition(" (")[0].partition(" with")[0] for line in server.log()]
    assert messages.index("Booting worker") < messages.index("Worker exiting")


def test_workers_share_the_random_secret_key(serve: Start) -> None:
    server = serve()
    with ThreadPoolExecutor(8) as pool:
        _, first = server.get("/")
        assert '"visits":1' in first
        cookie = cookie_of(server)
        bodies = [body for _, body in pool.map(lambda _: server.get("/", Cookie=cookie), range(40))]
    assert all('"visits":2' in body for body in bodies)


def cookie_of(server: Gunicorn) -> str:
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return answer.split("Set-Cookie: ")[1].split(";")[0]


def test_stdout_is_json_only_and_stderr_is_empty_even_with_an_unwritable_home(serve: Start) -> None:
    server = serve(APP_LOG_LEVEL="debug")
    # gunicorn's last word in starting: "Control server error" or "Control socket disabled".
    wait_until("word of the control socket", lambda: '"Control s' in server.stdout.read_text())
    with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    server.process.terminate()
    assert server.wait_for_exit() == 0
    lines = server.log()
    assert any(str(line["message"]).startswith("Starting gunicorn ") for line in lines)
    assert all({"time", "level", "logger", "message", "pod"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["level"] in ("error", "critical")]
    assert server.stderr.read_text() == ""


def test_the_access_log_tells_each_request_with_its_id(serve: Start) -> None:
    server = serve(POD_NAME="pod-1")
    server.get("/missing?token=secret", X_Request_Id="id-1")
    wait_until("the line of the request", lambda: "id-1" in server.stdout.read_text())
    [line] = [line for line in server.log() if line.get("request_id") == "id-1"]
    assert 0 < float(str(line.pop("duration_seconds"))) < 30
    line.pop("time")
    assert line == {
        "level": "info",
        "logger": "gunicorn.access",
        "message": "GET /missing 404",
        "request_id": "id-1",
        "method": "GET",
        "path": "/missing",
        "status": 404,
        "pod": "pod-1",
    }


def test_probes_are_logged_only_when_they_fail(serve: Start) -> None:
    server = serve(FAULT_NEVER_READY="true")
    server.get("/livez", X_Request_Id="good")
    server.get("/readyz", X_Request_Id="bad")
    wait_until("the line of the failed probe", lambda: '"bad"' in server.stdout.read_text())
    assert '"good"' not in server.stdout.read_text()


def test_the_log_level_applies_to_gunicorn_too(serve: Start) -> None:
    server = serve(APP_LOG_LEVEL="warning")
    server.get("/")
    server.process.terminate()
    assert server.wait_for_exit() == 0
    assert server.log() == []


def test_wrong_settings_end_the_start_with_one_line_and_exit_code_78(launch: Start) -> None:
    server = launch(APP_ENVIRONMENT="prod", FAULT_ERROR_RATE="0.5", WEB_WORKERS="many")
    assert server.wait_for_exit() == os.EX_CONFIG
    [line] = server.stderr.read_text().splitlines()
    assert line.startswith("flask-hello cannot start: 3 environment variables are wrong: ")
    assert server.stdout.read_text() == ""


def test_a_metrics_directory_that_cannot_be_made_ends_the_start_with_one_line(launch: Start) -> None:
    server = launch(PROMETHEUS_MULTIPROC_DIR="/proc/metrics")
    assert server.wait_for_exit() == os.EX_CONFIG
    [line] = server.stderr.read_text().splitlines()
    assert line.startswith("flask-hello cannot start: PROMETHEUS_MULTIPROC_DIR='/proc/metrics' cannot be made")


def test_a_crash_at_start_leaves_a_traceback_that_tells_why(launch: Start) -> None:
    server = launch(FAULT_CRASH_AT_START="true")
    assert server.wait_for_exit() == 1
    stderr = server.stderr.read_text()
    assert stderr.startswith("Traceback (most recent call last):")
    assert "InjectedFault: FAULT_CRASH_AT_START=true" in stderr.splitlines()[-1]


def test_a_crash_after_some_seconds_takes_the_whole_process_tree(launch: Start) -> None:
    server = launch(FAULT_CRASH_AFTER_SECONDS="2", FAULT_LATENCY_SECONDS="300", WEB_GRACEFUL_TIMEOUT_SECONDS="300")
    wait_until("gunicorn to listen", server.listens)
    # A worker that outlived its master would go on with this request, and the client would run into its own timeout.
    with pytest.raises(ConnectionError):
        server.get("/")
    assert server.wait_for_exit() == 1
    stderr = server.stderr.read_text()
    assert stderr.startswith("Traceback (most recent call last):")
    assert "InjectedFault: FAULT_CRASH_AFTER_SECONDS=2" in stderr
    wait_until("the workers to be gone", lambda: not server.listens())


def test_memory_growth_takes_memory_that_the_kernel_counts(serve: Start) -> None:
    server = serve(FAULT_MEMORY_GROWTH_BYTES_PER_SECOND=str(100 << 20))
    wait_until("128 MiB", lambda: resident_bytes(server.process.pid) > 128 << 20)
    assert server.get("/livez")[0] == 200


@pytest.mark.parametrize("fault", ["FAULT_NEVER_READY", "FAULT_CRASH_AT_START"])
def test_faults_that_are_on_are_announced_in_the_log(launch: Start, fault: str) -> None:
    server = launch(**{fault: "true"})
    wait_until("the announcement", lambda: f"Faults on purpose are on: {fault}" in server.stdout.read_text())
