"""An HTTP server that does with each request what a test says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

DEADLINE_SECONDS = 30


@dataclass
class Server:
    """`heads` are the requests that came, each up to its empty line."""

    url: str = ""
    heads: list[str] = field(default_factory=list)

    def await_requests(self, count: int) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while len(self.heads) < count:
            assert time.monotonic() < end, f"only {len(self.heads)} of {count} requests came"
            time.sleep(0.01)


Behaviour = Callable[[int, asyncio.StreamWriter], Awaitable[None]]
"""What a server does with its request of this number, counted from 0. The connection is closed afterwards."""


@contextmanager
def serving(behave: Behaviour) -> Iterator[Server]:
    """A server on a free port of this machine, in a thread of its own."""
    server = Server()
    ready, stopped = threading.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await behave(len(server.heads) - 1, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the server stops
        finally:
            writer.close()

    async def serve() -> None:
        listening = await asyncio.start_server(connected, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stopped.wait()
        listening.close()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(DEADLINE_SECONDS)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stopped.set)
        thread.join(DEADLINE_SECONDS)


def response(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode() + body


def whole(document: object, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    return response(body, f"Content-Length: {len(body)}", status=status)


async def good(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(whole({"version": "1.0", "pod": f"web-{number % 2}"}))


async def never(number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(DEADLINE_SECONDS)


async def reset(number: int, writer: asyncio.StreamWriter) -> None:
    linger_not = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
    writer.transport.abort()


def writing(answer: bytes) -> Behaviour:
    async def write(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return write


def in_turn(*behaviours: Behaviour) -> Behaviour:
    async def each(number: int, writer: asyncio.StreamWriter) -> None:
        await behaviours[number % len(behaviours)](number, writer)

    return each
