"""Asks a service again and again while it is deployed, and counts what its clients would have seen.

    python -m releaser.prober http://192.168.49.2:31181 --rate 20 --path /version

Standard library only and nothing of releaser, Python 3.9 or newer: inside a cluster it runs as `python -c SOURCE`.

Open loop: request k is due at start + k/rate whatever came of those before, and its latency counts from when it was
due. So a stall is seen by every request that was due in it ("coordinated omission", Gil Tene, can't hide it).
Each request has a connection of its own, because a Service balances connections. Due times have the event loop's
resolution: a request starts, and so seems slower, by up to 1 ms.

It writes one JSON document a line: the counters since the start, and a last one with "final": true after SIGTERM,
SIGINT, the end of a pipe on stdin, or --for SECONDS.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import itertools
import json
import math
import os
import re
import resource
import signal
import socket
import stat
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

_EVERY_SECONDS = 0.4
_LONGEST_SECONDS = 3600.0
_DISTINCT = 50
_CONNECT_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
# A Service picks one of its pods by chance, which may be on any node.
_IN_A_ROW = 20
# files that are open besides the connections
_SPARE_FILES = 64


class Tally(Counter[str]):
    """Counts names; what comes after the first fifty different ones counts as `others`, so that memory is bounded."""

    def count(self, name: object) -> None:
        name = str(name)[:63]
        self[name if name in self or len(self) < _DISTINCT else "others"] += 1


class Histogram:
    """Durations in buckets 1 % wide: a quantile is exact to 0.5 %, and memory doesn't grow with their number."""

    _FINEST_SECONDS = 1e-6
    _RATIO = math.log(1.01)

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        finest = self._FINEST_SECONDS
        self._buckets[round(math.log(max(seconds, finest) / finest) / self._RATIO)] += 1

    def quantile(self, share: float) -> float:
        """The nearest rank's bucket, by its middle; 0 when nothing was added."""
        rank = math.ceil(share * sum(self._buckets.values()))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return self._FINEST_SECONDS * math.exp(bucket * self._RATIO)
        return 0.0


class Account:
    """What came of the requests. Moments are seconds on one monotonic clock."""

    def __init__(self, rate: float, started: float) -> None:
        self._rate = rate
        self._started = started
        self._sent = self._failed = 0
        self._latencies = Histogram()
        self._versions, self._pods, self._errors = Tally(), Tally(), Tally()
        self._longest_gap = 0.0
        self._last_answer = started

    def sent(self) -> None:
        self._sent += 1

    def failed(self, kind: str) -> None:
        self._failed += 1
        self._errors.count(kind)

    def answered(self, due: float, now: float, body: bytes) -> None:
        self._latencies.add(now - due)
        self._longest_gap = max(self._longest_gap, now - self._last_answer)
        self._last_answer = now
        named = _object(body)
        for key, tally in (("version", self._versions), ("pod", self._pods)):
            if named.get(key):
                tally.count(named[key])

    def line(self, now: float, *, final: bool = False) -> bytes:
        """The counters; a gap that is still open counts up to `now`."""
        document = {
            "final": final,
            "elapsed_seconds": round(now - self._started, 3),
            "sent": self._sent,
            "failed": self._failed,
            "longest_gap_seconds": round(max(self._longest_gap, now - self._last_answer), 6),
            "p50_seconds": round(self._latencies.quantile(0.50), 6),
            "p99_seconds": round(self._latencies.quantile(0.99), 6),
            "rate_per_second": self._rate,
            "versions": self._versions,
            "pods": self._pods,
            "errors": self._errors,
        }
        return json.dumps(document).encode() + b"\n"


class Sender:
    """Sends requests when they are due, each on a connection of its own."""

    def __init__(self, url: str, path: str, rate: float, timeout: float, account: Account, started: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port or 80
        self._request = (
            f"GET {parts.path.rstrip('/')}{path} HTTP/1.1\r\n"
            f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
            "Accept: application/json\r\nUser-Agent: releaser-prober\r\nConnection: close\r\n\r\n"
        ).encode()
        self._rate = rate
        self._timeout = timeout
        self._account = account
        self._started = started
        # As many as can wait for their timeout at once: a bound that only a lack of files makes felt.
        self._most = _files_for(math.ceil(rate * timeout) + 1)
        self._asking: set[asyncio.Task[None]] = set()
        self.begun = asyncio.Event()

    async def send(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        for number in itertools.count():
            due = self._started + number / self._rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._account.sent()
            self.begun.set()
            if len(self._asking) >= self._most:
                self._account.failed("not started")
                continue
            task = loop.create_task(self._ask(due))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def drain(self) -> None:
        """Until each request that was sent has its answer or its timeout."""
        if self._asking:
            await asyncio.wait(self._asking)

    async def _ask(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        # The timeout counts from here: that this program itself was late is no failure of the service.
        alarm = loop.call_later(self._timeout, task.cancel)
        writer = None
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(self._request)
            status, body = await _answer(reader)
            if 200 <= status < 400:
                self._account.answered(due, loop.time(), body)
            else:
                self._account.failed(f"status {status}")
        except asyncio.CancelledError:
            self._account.failed("timeout")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
            self._account.failed(_kind(exc))
        finally:
            alarm.cancel()
            if writer is not None:
                writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body, read whole. Raises ValueError for what is not HTTP, EOFError for what ends too soon."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    match = re.match(r"HTTP/1\.[01] (\d{3})", head)
    if match is None:
        raise ValueError(head)
    status = int(match[1])
    fields = dict(re.findall(r"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)", head.lower()))
    if status in (204, 304):
        return status, b""
    if "chunked" in fields.get("transfer-encoding", ""):
        return status, await _chunks(reader)
    if "content-length" in fields:
        return status, await reader.readexactly(int(fields["content-length"]))
    return status, await reader.read()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        chunk = await reader.readexactly(size + 2)
        if size == 0:
            return body
        body += chunk[:-2]


def _kind(exc: Exception) -> str:
    """The name that a failure is counted by."""
    if isinstance(exc, ConnectionRefusedError):
        return "refused"
    if isinstance(exc, ConnectionError):
        return "reset"
    if isinstance(exc, EOFError):
        return "cut short"
    if isinstance(exc, socket.gaierror):
        return "unknown host"
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, OSError):
        return errno.errorcode.get(exc.errno or 0, "no connection")
    return "not HTTP"


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object that the body is, or an empty one."""
    try:
        found = json.loads(body) if body.lstrip().startswith(b"{") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _files_for(connections: int) -> int:
    """How many of so many connections may be open at once, after asking for that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, soft - _SPARE_FILES)


def _end_with_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The end of a pipe on stdin stops us: whoever held it has gone. /dev/null, as a pod has it, says nothing."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, read)


def _write(line: bytes) -> bool:
    """False when nobody reads any more."""
    try:
        while line:
            line = line[os.write(1, line) :]
    except BrokenPipeError:
        return False
    return True


async def _await_network(url: str, longest: float, stop: asyncio.Event) -> None:
    """Until connections open, so many in a row: the network of a new pod may not let it out from its first moment on,
    and each node lets it in when it has heard of it. No longer than that; what doesn't answer then is to be counted."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    end = loop.time() + longest
    opened = 0
    while opened < _IN_A_ROW and not stop.is_set() and loop.time() < end:
        try:
            opening = asyncio.open_connection(parts.hostname, parts.port or 80)
            _, writer = await asyncio.wait_for(opening, _CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):  # noqa: UP041 - another class before Python 3.11
            opened = 0
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            opened += 1
            writer.close()


async def probe(url: str, path: str, rate: float, timeout: float, longest: float, awaiting: float = 0.0) -> None:
    """Send and write lines until told to stop, then wait for the answers that are still due."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    _end_with_stdin(loop, stop)
    await _await_network(url, awaiting, stop)
    loop.call_later(longest, stop.set)
    started = loop.time()
    account = Account(rate, started)
    sender = Sender(url, path, rate, timeout, account, started)
    sending, stopping = loop.create_task(sender.send()), loop.create_task(stop.wait())
    # the first line says that a first request was sent
    beginning = loop.create_task(sender.begun.wait())
    await asyncio.wait({sending, stopping, beginning}, return_when=asyncio.FIRST_COMPLETED)
    beginning.cancel()
    while _write(account.line(loop.time())) and not stopping.done() and not sending.done():
        await asyncio.wait({sending, stopping}, timeout=_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    stopped = loop.time()
    if sending.done():
        sending.result()  # it never ends by itself: this raises what ended it
    sending.cancel()
    stopping.cancel()
    await sender.drain()
    _write(account.line(stopped, final=True))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="prober", description="Open-loop requests; counters as JSON lines.")
    parser.add_argument("url", type=_http_url, help="http://HOST[:PORT]")
    parser.add_argument("--path", default="/version", help="what to ask for (default: %(default)s)")
    parser.add_argument("--rate", type=_positive, default=20.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--timeout", type=_positive, default=5.0, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--for", type=_positive, default=_LONGEST_SECONDS, dest="longest", help="seconds (default: %(default)s)"
    )
    parser.add_argument(
        "--await",
        type=float,
        default=0.0,
        dest="awaiting",
        help="seconds that a new pod's network is given before counting begins (default: %(default)s)",
    )
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)
    asyncio.run(probe(given.url, given.path, given.rate, given.timeout, given.longest, given.awaiting))


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or parts.port == 0:  # a port that is none raises ValueError
        raise argparse.ArgumentTypeError(f"{text} is no http:// address")
    return text


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


if __name__ == "__main__":
    main()
