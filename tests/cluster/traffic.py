"""One client that asks the service over and over, each time by a new connection, as a new user would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent (time.monotonic), the greeting that came, and what went wrong (empty: nothing)."""

    sent: float
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
def asking(url: str) -> Iterator[Traffic]:
    """GET `url` from now on until the context ends."""
    traffic = Traffic()
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.wait(PAUSE_SECONDS):
            traffic.answers.append(_ask(url))

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield traffic
    finally:
        ended.set()
        thread.join()


def _ask(url: str) -> Answer:
    sent = time.monotonic()
    try:
        response = requests.get(url, timeout=5, headers={"Accept": "application/json", "Connection": "close"})
        response.raise_for_status()
        return Answer(sent, response.json()["message"])
    except requests.RequestException as exc:
        return Answer(sent, "", f"{type(exc).__name__}: {exc}")
