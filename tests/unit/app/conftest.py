"""Applications in this process for most tests, and a real gunicorn for what only several processes show."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from app import create_app
from app.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 30.0


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds; fails the test after DEADLINE_SECONDS."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS:g} s in vain for: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Gunicorn:
    """The service as the image runs it: gunicorn with the project's configuration, in a process tree of its own."""

    process: subprocess.Popen[bytes]
    port: int
    stdout: Path
    stderr: Path

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body, over a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)) as connection:
            connection.request("GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def metric(self, sample: str) -> float:
        """The value of one sample, named as in the text format; 0 when it isn't there."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def listens(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def worker_pids(self) -> set[int]:
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def log(self) -> list[dict[str, object]]:
        """stdout so far; every line of it has to be JSON."""
        return [json.loads(line) for line in self.stdout.read_text().splitlines()]

    def wait_for_exit(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Settings()).test_client()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Starts gunicorn with these environment variables; whatever still runs after the test is killed."""
    with ExitStack() as stack:

        def start(config: str = "app/gunicorn.conf.py", **variables: str) -> Gunicorn:
            port = free_port()
            environ = {
                "PATH": os.environ["PATH"],
                "PYTHONUNBUFFERED": "1",
                "HOME": "/proc/nowhere",  # as unwritable as in the container
                "WEB_PORT": str(port),
                "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
            } | variables
            stdout, stderr = tmp_path / f"{port}.stdout", tmp_path / f"{port}.stderr"
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", config],
                cwd=PROJECT,
                env=environ,
                stdout=stack.enter_context(stdout.open("wb")),
                stderr=stack.enter_context(stderr.open("wb")),
                start_new_session=True,
            )
            stack.callback(_kill_tree, process)
            return Gunicorn(process, port, stdout, stderr)

        yield start


@pytest.fixture
def serve(launch: Callable[..., Gunicorn]) -> Callable[..., Gunicorn]:
    """As `launch`, but waits until both workers are there and requests are answered."""

    def start(**variables: str) -> Gunicorn:
        server = launch(**variables)
        wait_until("gunicorn to listen", server.listens)
        wait_until("an answer of /livez", lambda: server.get("/livez")[0] == 200)
        wait_until("two workers", lambda: len(server.worker_pids()) == 2)
        return server

    return start


@pytest.fixture
def serve_in_thread() -> Iterator[Callable[[Flask], str]]:
    """Serves an application of this process over HTTP and gives its URL."""
    with ExitStack() as stack:

        def start(app: Flask) -> str:
            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
