"""Sends requests at a steady rate and counts what comes back: python -m releaser.prober URL --rate 20

Open loop: request k is due at k / rate, whatever became of those before, and its latency counts from when it was due,
so a service that stalls can't slow down who measures it (Gil Tene's "coordinated omission"). Each request is a
connection of its own, so that a Service spreads them over its pods. Good is a whole answer with a status below 400.

Prints cumulative figures as one JSON line twice a second and, at SIGTERM, SIGINT, the end of standard input (--stdin)
or of --for seconds, a last one with "final": true. Standard library only: it also runs by `python -c` in a pod.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import time
import urllib.parse
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

TELL_SECONDS = 0.5
# Beyond so many open requests a new one counts as lost: it could not even be sent.
OPEN_MAX = 2000
ANSWER_MAX_BYTES = 1024 * 1024
# Latencies are kept in buckets of this width: percentiles are exact to 1 %.
BUCKET = math.log(1.01)
FLOOR_SECONDS = 1e-4


class Failed(Exception):
    """One request that was lost, and how."""


@dataclass
class Tally:
    """What was seen so far; times in seconds since the start."""

    sent: int = 0
    failed: int = 0
    longest_gap: float = 0.0
    last_good: float = 0.0
    latencies: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def good(self, due: float, now: float, body: bytes) -> None:
        self.longest_gap = max(self.longest_gap, now - self.last_good)
        self.last_good = now
        self.latencies[math.floor(math.log(max(now - due, FLOOR_SECONDS)) / BUCKET)] += 1
        with suppress(ValueError):
            said = json.loads(body)
            if isinstance(said, dict):
                for key, counter in (("version", self.versions), ("pod", self.pods)):
                    if said.get(key):
                        counter[str(said[key])] += 1

    def lost(self, how: str) -> None:
        self.failed += 1
        self.errors[how] += 1

    def percentile(self, share: float) -> float:
        """Upper edge of the bucket in which so large a share of the good answers lies; 0 without any."""
        left = share * sum(self.latencies.values())
        for bucket in sorted(self.latencies):
            left -= self.latencies[bucket]
            if left <= 0:
                return math.exp((bucket + 1) * BUCKET)
        return 0.0

    def figures(self, now: float, *, final: bool) -> str:
        return json.dumps(
            {
                "sent": self.sent,
                "failed": self.failed,
                "longest_gap_seconds": round(max(self.longest_gap, now - self.last_good), 4),
                "p50_seconds": round(self.percentile(0.5), 4),
                "p99_seconds": round(self.percentile(0.99), 4),
                "versions": self.versions,
                "pods": self.pods,
                "errors": self.errors,
                "final": final,
            }
        )


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    path: str
    timeout_seconds: float

    async def ask(self) -> bytes:
        """The body of a good answer. Raises Failed."""
        try:
            return await asyncio.wait_for(self._ask(), self.timeout_seconds)
        except TimeoutError as exc:
            raise Failed("timeout") from exc
        except ConnectionRefusedError as exc:
            raise Failed("refused") from exc
        except (ConnectionResetError, BrokenPipeError) as exc:
            raise Failed("reset") from exc
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            raise Failed(type(exc).__name__) from exc

    async def _ask(self) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            lines = (
                f"GET {self.path} HTTP/1.1",
                f"Host: {self.host}:{self.port}",
                "Accept: application/json",
                "User-Agent: releaser-prober",
                "Connection: close",
            )
            writer.write("\r\n".join((*lines, "", "")).encode())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(ANSWER_MAX_BYTES)
            while more := await reader.read(ANSWER_MAX_BYTES):
                body = (body + more)[:ANSWER_MAX_BYTES]
        finally:
            writer.close()
        return _checked(head.decode("latin-1"), body)


def _checked(head: str, body: bytes) -> bytes:
    status_line, *lines = head.split("\r\n")
    status = int(status_line.split()[1])
    if status >= 400:
        raise Failed(f"status {status}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    promised = headers.get("content-length")
    if promised is not None and int(promised) > len(body):
        raise Failed("cut off")
    return body


async def probe(endpoint: Endpoint, rate: float, seconds: float, *, until_eof: bool) -> None:
    """Send until told to end, and wait for what is still open."""
    tally, started = Tally(), time.monotonic()
    stop, tasks = asyncio.Event(), set[asyncio.Task[None]]()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    if until_eof:
        loop.add_reader(0, lambda: None if os.read(0, 1024) else stop.set())

    def now() -> float:
        return time.monotonic() - started

    async def one(due: float) -> None:
        try:
            body = await endpoint.ask()
        except Failed as exc:
            tally.lost(str(exc))
        else:
            tally.good(due, now(), body)

    told = 0.0
    for number in range(int(rate * seconds)):
        due = number / rate
        while not stop.is_set() and (early := due - now()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(early, TELL_SECONDS))
            if now() - told >= TELL_SECONDS:
                told = now()
                print(tally.figures(told, final=False), flush=True)
        if stop.is_set():
            break
        tally.sent += 1
        if len(tasks) >= OPEN_MAX:
            tally.lost("too many open")
            continue
        task = loop.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(0)  # also when we are late: what is open must go on
    end = now()
    if tasks:
        await asyncio.wait(tasks)
    print(tally.figures(max(end, tally.last_good), final=True), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="releaser.prober", description="Requests at a steady rate; what came back.")
    parser.add_argument("url", help="http://HOST[:PORT]/PATH")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--timeout", type=float, default=5, help="seconds until an answer counts as lost")
    parser.add_argument("--for", dest="seconds", type=float, default=3600, help="seconds until it ends by itself")
    parser.add_argument("--stdin", action="store_true", help="end with standard input")
    given = parser.parse_args()
    url = urllib.parse.urlsplit(given.url)
    if url.scheme != "http" or not url.hostname or given.rate <= 0:
        parser.error("an http:// URL and a rate above 0 are wanted")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    endpoint = Endpoint(url.hostname, url.port or 80, path, given.timeout)
    asyncio.run(probe(endpoint, given.rate, given.seconds, until_eof=given.stdin))


if __name__ == "__main__":
    main()
