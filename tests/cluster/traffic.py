"""Clients that ask the service at a steady rate, each time by a new connection, as new users would.

Open loop: a request is due at its time whether the ones before were answered or not, so that a pause of the service
is met by every request that falls into it. Not releaser's own prober, which is among the things to be proven.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
# Who waits for an answer can't send the next request: enough clients for answers that take a third of a second.
_CLIENTS_PER_RATE = 1 / 3


@dataclass(frozen=True)
class Answer:
    """One request: when it was due (time.monotonic), the greeting that came, and what went wrong (empty: nothing)."""

    due: float
    message: str
    error: str = ""


@dataclass
class Traffic:
    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.error]

    @property
    def messages(self) -> set[str]:
        """Every greeting that was answered."""
        return {answer.message for answer in self.answers if not answer.error}


@contextmanager
def asking(url: str, per_second: float = 20) -> Iterator[Traffic]:
    """GET `url` from now on until the context ends."""
    traffic = Traffic()
    ended = threading.Event()
    numbers = itertools.count()
    address = urlsplit(url)
    began = time.monotonic()

    def ask_on() -> None:
        while True:
            due = began + next(numbers) / per_second
            if ended.wait(max(0.0, due - time.monotonic())):
                return
            traffic.answers.append(_ask(address.netloc, address.path or "/", due))

    clients = [threading.Thread(target=ask_on) for _ in range(max(4, round(per_second * _CLIENTS_PER_RATE)))]
    for client in clients:
        client.start()
    try:
        yield traffic
    finally:
        ended.set()
        for client in clients:
            client.join()


def _ask(netloc: str, path: str, due: float) -> Answer:
    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return Answer(due, "", f"status {response.status}")
        return Answer(due, json.loads(body)["message"])
    except (OSError, http.client.HTTPException) as exc:
        return Answer(due, "", f"{type(exc).__name__}: {exc} after {time.monotonic() - due:.2f} s")
    finally:
        connection.close()
