"""What bench/platforms sees of a service: answers, requests in a closed loop, memory, the proxy's servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench import memory
from bench.platforms import proxy, watch
from bench.platforms.contestant import Release
from bench.platforms.load import closed_loop
from bench.platforms.measure import Turn
from bench.platforms.ports import free_port


@contextmanager
def _service(answer: dict[str, Any], status: int = 200) -> Iterator[str]:
    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def _answers(*pods: str, version: str = "2") -> list[dict[str, str]]:
    return [{"version": version, "pod": pod} for pod in pods]


# -- is it as it should be ---------------------------------------------------------------------------------------------


def test_all_instances_have_to_be_heard_of() -> None:
    wanted = watch.Wanted("2", instances=2)
    assert not wanted.met_by(_answers(*"aaaaaaaaaa"))
    assert wanted.met_by(_answers(*"aaaaaaaaab"))


def test_a_few_answers_are_not_enough() -> None:
    assert not watch.Wanted("2", instances=1).met_by(_answers("a", "a"))


def test_an_answer_of_another_version_is_not_wanted() -> None:
    assert not watch.Wanted("2", 1).met_by([*_answers(*"aaaaaaaaaa"), *_answers("a", version="1")])


def test_what_was_killed_must_not_answer_any_more() -> None:
    assert not watch.Wanted("2", 1, gone="a").met_by(_answers(*"bbbbbbbbbbba"))


def test_all_are_there_when_the_last_one_first_answered() -> None:
    row = [(at, {"pod": pod}) for at, pod in ((1.0, "a"), (2.0, "a"), (3.0, "b"), (4.0, "a"))]
    assert watch._complete(row, 1) == 1.0
    assert watch._complete(row, 2) == 3.0


def test_seconds_count_from_the_given_start() -> None:
    with _service({"version": "2", "pod": "a"}) as url:
        found = watch.seconds_until(url, watch.Wanted("2", 1), started=time.monotonic() - 1000, most_seconds=2000)
    assert found is not None and found >= 1000


def test_what_never_comes_ends_at_the_deadline() -> None:
    with _service({"version": "1", "pod": "a"}) as url:
        assert watch.seconds_until(url, watch.Wanted("2", 1), time.monotonic(), most_seconds=0.2) is None


def test_a_command_and_what_is_wanted_of_it_are_timed_apart() -> None:
    ran: list[str] = []
    with _service({"version": "2", "pod": "a"}) as url:
        done = watch.run_and_watch(lambda: ran.append("it"), url, watch.Wanted("2", 1), most_seconds=60)
    assert ran == ["it"]
    assert done.wanted_seconds is not None and done.command_seconds >= 0


def test_what_never_comes_of_a_command_ends_the_run() -> None:
    with _service({"version": "1", "pod": "a"}) as url, pytest.raises(SystemExit, match="was not reached"):
        watch.run_and_watch(lambda: None, url, watch.Wanted("2", 1), most_seconds=0.2)


def test_nothing_is_left_of_a_contestant_that_does_not_start() -> None:
    contestant, before = _Unstartable(), set(threading.enumerate())
    releases = (Release("1", "image:1", "/nowhere"), Release("2", "image:2", "/nowhere"))
    with pytest.raises(SystemExit, match="no memory left"):
        Turn(contestant, releases, lambda line: None).run()
    assert contestant.stopped
    assert set(threading.enumerate()) <= before, "nobody watches any more"


class _Unstartable:
    key, name, instances = "none", "None", 1

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.stopped = False

    def start(self) -> None:
        raise SystemExit("no memory left")

    def stop(self) -> None:
        self.stopped = True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of what never started")


def test_a_prober_without_its_last_line_counts_nothing() -> None:
    with pytest.raises(SystemExit):
        watch.final(['{"final": false}'])


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_closed_loop_sends_so_many_and_no_more() -> None:
    with _service({"version": "2"}) as url:
        load = closed_loop(url, "/version", connections=4, seconds=60, most=50)
    assert (load.requests, load.failed) == (50, 0)
    assert load.per_second > 0 and load.p99_seconds >= load.p50_seconds > 0


def test_a_closed_loop_counts_refusals_as_failed() -> None:
    with _service({"error": "no"}, status=503) as url:
        load = closed_loop(url, "/version", connections=2, seconds=60, most=6)
    assert (load.requests, load.failed) == (0, 6)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_family_is_the_process_and_all_below_it() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = memory.family(process.pid)
        assert found[0] == process.pid and len(found) == 2
        assert memory.parent(found[1]) == process.pid
        assert memory.total(set(found)) > memory.resident(found[1]) > 1_000_000


def test_a_process_that_is_gone_takes_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert memory.family(process.pid) == []
    assert memory.resident(process.pid) == memory.parent(process.pid) == 0
    assert os.getpid() in memory.family(os.getpid())


# -- the proxy ---------------------------------------------------------------------------------------------------------


def test_the_proxys_servers_that_are_up_are_counted() -> None:
    def row(backend: str, server: str, status: str) -> str:
        return ",".join([backend, server, *["0"] * 15, status, "1"])

    figures = [
        row("users", "FRONTEND", "OPEN"),
        row("web", "web1", "UP"),
        row("web", "web2", "DOWN"),
        row("web", "web3", "UP 1/2"),
        row("web", "web4", "MAINT"),
        row("web", "BACKEND", "UP"),
    ]
    assert proxy._up("\n".join(figures)) == 2


def test_ports_are_different_ones() -> None:
    assert len({free_port() for _ in range(5)}) == 5
