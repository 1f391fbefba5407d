"""As many requests as a service answers: a closed loop over a few connections, bounded in time and number."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from releaser.prober import Histogram

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Load:
    requests: int
    failed: int
    seconds: float
    p50_seconds: float
    p99_seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def closed_loop(url: str, path: str, *, connections: int, seconds: float, most: int) -> Load:
    """Each connection sends its next request when it has its answer, for so many seconds and `most` requests in all."""
    return asyncio.run(_Loop(url, path, seconds, most).run(connections))


class _Loop:
    def __init__(self, url: str, path: str, seconds: float, most: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode()
        self._seconds = seconds
        self._left = most
        self._answered = self._failed = 0
        self._latencies = Histogram()

    async def run(self, connections: int) -> Load:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._ask(started + self._seconds))
        elapsed = time.monotonic() - started
        return Load(
            self._answered, self._failed, elapsed, self._latencies.quantile(0.5), self._latencies.quantile(0.99)
        )

    async def _ask(self, end: float) -> None:
        while time.monotonic() < end and self._left > 0:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    reader, writer = await asyncio.open_connection(*self._address)
                try:
                    await self._converse(reader, writer, end)
                finally:
                    writer.close()
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                self._failed += 1
                # no storm of connections against a service that is down
                await asyncio.sleep(0.05)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: float) -> None:
        """Until the server closes the connection or time is over. Raises ValueError for an answer that is no 200."""
        while time.monotonic() < end and self._left > 0:
            self._left -= 1
            sent = time.monotonic()
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(_length(head))
            if not head.startswith(("http/1.1 200", "http/1.0 200")):
                raise ValueError(head.partition("\r\n")[0])
            self._answered += 1
            self._latencies.add(time.monotonic() - sent)
            if "\r\nconnection: close" in head:
                return


def _length(head: str) -> int:
    """Of the body. Raises ValueError where the head doesn't say it."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name == "content-length":
            return int(value)
    raise ValueError("an answer without Content-Length")
