"""The prober as a program of its own, against a server that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from releaser import prober
from releaser.prober import Account, Histogram
from tests.unit.misbehaving import (
    DEADLINE_SECONDS,
    Behaviour,
    good,
    in_turn,
    never,
    reset,
    response,
    serving,
    whole,
    writing,
)

SCRIPT = Path(prober.__file__)


def command(url: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", str(SCRIPT), url, *arguments]


def last(stdout: str) -> dict[str, Any]:
    """The final line, of which there is one. Each failure has a kind."""
    documents: list[dict[str, Any]] = [json.loads(line) for line in stdout.splitlines()]
    assert [document["final"] for document in documents] == [False] * (len(documents) - 1) + [True]
    final = documents[-1]
    assert final["failed"] == sum(final["errors"].values())
    return final


def probe(url: str, *arguments: str, seconds: float = 0.5, rate: int = 100) -> dict[str, Any]:
    """Run for a while; the final line."""
    argv = command(url, "--for", str(seconds), "--rate", str(rate), *arguments)
    finished = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return last(finished.stdout)


def due(final: dict[str, Any]) -> float:
    """How many requests were due in the time that it ran."""
    return float(final["elapsed_seconds"] * final["rate_per_second"])


def test_good_answers_are_counted_by_version_and_pod_at_the_wanted_rate() -> None:
    with serving(good) as server:
        final = probe(server.url)
    assert final["failed"] == 0 and final["errors"] == {}
    assert final["sent"] == pytest.approx(due(final), rel=0.1) and final["elapsed_seconds"] >= 0.5
    assert final["versions"] == {"1.0": final["sent"]}
    assert final["pods"] == {"web-0": (final["sent"] + 1) // 2, "web-1": final["sent"] // 2}
    assert 0 < final["p50_seconds"] <= final["p99_seconds"]
    assert final["rate_per_second"] == 100


def test_a_request_asks_for_the_path_by_json_on_a_connection_of_its_own() -> None:
    with serving(good) as server:
        probe(f"{server.url}/base/", "--path", "/version?all=1", seconds=0.05)
    lines = server.heads[0].splitlines()
    assert lines[0] == "GET /base/version?all=1 HTTP/1.1"
    assert {f"Host: {server.url.removeprefix('http://')}", "Accept: application/json", "Connection: close"} <= {*lines}


def test_a_stall_is_seen_by_every_request_that_was_due_in_it_and_slows_none_down() -> None:
    stalled_until = 0.0

    async def stall(number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal stalled_until
        now = asyncio.get_running_loop().time()
        if number == 20:
            stalled_until = now + 1.0
        await asyncio.sleep(max(0.0, stalled_until - now))
        await good(number, writer)

    with serving(stall) as server:
        final = probe(server.url, seconds=1.5)
    assert final["failed"] == 0
    assert final["sent"] == pytest.approx(due(final), rel=0.1)
    assert final["longest_gap_seconds"] >= 0.9
    assert final["p99_seconds"] >= 0.9
    # two thirds were due in the stall, evenly: a closed loop would have met it once
    assert final["p50_seconds"] >= 0.1


ANSWERS: tuple[tuple[Behaviour, str], ...] = (
    (good, ""),
    (reset, "reset"),
    (writing(b""), "cut short"),
    (writing(response(b'{"versi', "Content-Length: 100")), "cut short"),
    (writing(response(b"5\r\nabc", "Transfer-Encoding: chunked")), "cut short"),
    (writing(response(b"no number\r\n\r\n", "Transfer-Encoding: chunked")), "not HTTP"),
    (writing(b"220 mail.example ESMTP\r\n\r\n"), "not HTTP"),
    (writing(whole({"version": "broken"}, status="500 Internal Server Error")), "status 500"),
    (writing(whole({"version": "broken"}, status="404 Not Found")), "status 404"),
    (never, "timeout"),
)


def test_what_is_no_whole_good_answer_is_lost_and_counted_by_kind() -> None:
    with serving(in_turn(*(behaviour for behaviour, _ in ANSWERS))) as server:
        final = probe(server.url, "--timeout", "0.3", seconds=0.3)
    kinds = Counter(ANSWERS[number % len(ANSWERS)][1] for number in range(final["sent"]))
    assert final["versions"] == {"1.0": kinds.pop("")}
    assert final["errors"] == kinds and len(kinds) == 6


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but doesn't listen
        final = probe(f"http://127.0.0.1:{taken.getsockname()[1]}", seconds=0.3)
    assert final["errors"] == {"refused": final["sent"]} and final["sent"] > 20
    assert final["longest_gap_seconds"] == pytest.approx(final["elapsed_seconds"], abs=0.001)
    assert (final["p50_seconds"], final["p99_seconds"]) == (0, 0)


@contextmanager
def opening_late(seconds: float) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers well, at a port that refuses connections so long; its URL, and what each asked."""
    asked: list[bytes] = []
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))

        def serve() -> None:
            time.sleep(seconds)
            late.listen(100)
            with suppress(OSError):
                while True:
                    connection, _ = late.accept()
                    with connection:
                        asked.append(connection.recv(4096))
                        if asked[-1]:
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{late.getsockname()[1]}", asked
        late.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_network_that_needs_a_moment_is_awaited_before_anything_is_counted() -> None:
    with opening_late(0.5) as (url, asked):
        final = probe(url, "--await", "20", seconds=0.3)
    assert final["sent"] > 20 and final["failed"] == 0
    assert asked.index(next(filter(None, asked))) >= 20  # one connection may meet a node that knows, the next one not


def test_a_network_is_awaited_no_longer_than_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but doesn't listen
        final = probe(f"http://127.0.0.1:{taken.getsockname()[1]}", "--await", "0.2", seconds=0.3)
    assert final["errors"] == {"refused": final["sent"]} and final["sent"] > 20


def test_an_answer_is_read_whole_however_its_length_is_told() -> None:
    chunked = response(b'f;a=1\r\n{"version":"chu\r\n6\r\nnked"}\r\n0\r\n\r\n', "transfer-encoding: Chunked")
    to_the_end = response(b'{"version":"all"}', "Connection: close")
    of_a_length = response(b'{"version":"told"}', "CONTENT-LENGTH:18")
    with serving(in_turn(*map(writing, (chunked, to_the_end, of_a_length)))) as server:
        final = probe(server.url, seconds=0.2)
    assert sorted(final["versions"]) == ["all", "chunked", "told"]
    assert sum(final["versions"].values()) == final["sent"]


def test_an_answer_that_names_no_version_is_an_answer_all_the_same() -> None:
    async def redirect(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("", status="302 Found"))

    async def empty(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"", status="204 No Content"))
        await asyncio.sleep(DEADLINE_SECONDS)  # the connection stays open: there is no body to wait for

    bodies = (b"", b"OK", b"[1]", b'{"version": ', b'{"version": null}', b"\xff")
    others = [writing(response(body, f"Content-Length: {len(body)}")) for body in bodies]
    with serving(in_turn(redirect, empty, *others)) as server:
        final = probe(server.url, "--timeout", "1", seconds=0.2)
    assert (final["failed"], final["versions"], final["pods"]) == (0, {}, {}) and final["sent"] > 8


def test_a_new_version_is_counted_beside_the_old_one() -> None:
    async def upgraded(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(whole({"version": "1.0" if number < 20 else "1.1"}))

    with serving(upgraded) as server:
        final = probe(server.url, seconds=0.4)
    assert final["versions"] == {"1.0": 20, "1.1": final["sent"] - 20}


def test_names_without_end_take_no_memory_without_end() -> None:
    async def named(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(whole({"version": f"{number}-{'x' * 1000}", "pod": "web"}))

    with serving(named) as server:
        final = probe(server.url, seconds=0.4, rate=200)
    assert len(final["versions"]) == 51 and max(map(len, final["versions"])) <= 63
    assert final["versions"]["others"] == final["sent"] - 50


def test_without_files_for_connections_requests_are_lost_and_not_left_out() -> None:
    with serving(never) as server:
        argv = command(server.url, "--for", "0.5", "--rate", "100", "--timeout", "0.6")
        limited = ["sh", "-c", 'ulimit -n 80 && exec "$@"', "sh", *argv]
        finished = subprocess.run(limited, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_SECONDS)
    final = last(finished.stdout.decode())
    assert final["errors"] == {"timeout": 16, "not started": final["sent"] - 16}
    assert final["sent"] == pytest.approx(due(final), rel=0.1)


# -- its end -----------------------------------------------------------------------------------------------------------


def held_back(seconds: float) -> Behaviour:
    async def answer_late(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await good(number, writer)

    return answer_late


def end_stdin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None  # or communicate() would flush it


@pytest.mark.parametrize(
    "stop",
    [
        lambda process: process.send_signal(signal.SIGTERM),
        lambda process: process.send_signal(signal.SIGINT),
        end_stdin,
    ],
    ids=["SIGTERM", "SIGINT", "end of stdin"],
)
def test_told_to_stop_it_waits_for_the_answers_still_due_and_writes_its_last_line(
    stop: Callable[[subprocess.Popen[str]], None],
) -> None:
    with (
        serving(held_back(0.3)) as server,
        subprocess.Popen(
            # as it runs inside a pod
            [sys.executable, "-I", "-c", SCRIPT.read_text(), server.url, "--rate", "100"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        server.await_requests(5)
        stop(process)
        stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    final = last(stdout)
    assert (process.returncode, stderr) == (0, "")
    assert final["sent"] >= 5
    assert (final["failed"], final["versions"]) == (0, {"1.0": final["sent"]})


def test_it_ends_when_nobody_reads_it_any_more() -> None:
    with (
        serving(good) as server,
        subprocess.Popen(command(server.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["https://127.0.0.1"],
        ["127.0.0.1:80"],
        ["http://"],
        ["http://127.0.0.1:65536"],
        ["http://127.0.0.1", "--rate", "0"],
        ["http://127.0.0.1", "--rate", "nan"],
        ["http://127.0.0.1", "--timeout", "inf"],
        ["http://127.0.0.1", "--for", "-1"],
        ["http://127.0.0.1", "--pace", "1"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        prober.main(["--for", "0.01", *arguments])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert "error: " in err and out == ""


# -- counting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "rank"), [(0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_the_nearest_ranks_to_half_a_percent(share: float, rank: int) -> None:
    histogram = Histogram()
    for milliseconds in range(1, 101):
        histogram.add(milliseconds / 1000)
    assert histogram.quantile(share) == pytest.approx(rank / 1000, rel=0.005)


def test_nothing_added_is_a_quantile_of_zero_and_no_time_at_all_is_a_duration() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) == 0
    histogram.add(0.0)
    assert histogram.quantile(0.5) == pytest.approx(1e-6)


def test_the_longest_gap_counts_from_the_start_between_answers_and_up_to_now() -> None:
    def gap(*answers: float, now: float) -> float:
        account = Account(10, started=100)
        for moment in answers:
            account.answered(due=moment - 0.01, now=moment, body=b"")
        return float(json.loads(account.line(now))["longest_gap_seconds"])

    assert gap(103, 104, 105, now=105) == 3
    assert gap(101, 105, 106, now=107) == 4
    assert gap(101, 102, 103, now=108) == 5
    assert gap(now=102) == 2
