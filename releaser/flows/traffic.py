"""How many requests a release answers, how many of them badly, and how fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from releaser.errors import ReleaserError
from releaser.traffic import Traffic

DEADLINE_SECONDS = 3.0
_SHARE = 0.4
"""Of the time that is left, for a source that another one may stand in for."""


class TrafficSource(Protocol):
    def read(self, namespace: str, job: str, pods: Sequence[str], seconds: float) -> Traffic:
        """The traffic of the release whose Service is `job`, within so many seconds. Raises ReleaserError."""
        ...


def traffic(sources: Sequence[TrafficSource], namespace: str, job: str, pods: Sequence[str]) -> Traffic:
    """From the first source that knows it, within DEADLINE_SECONDS in all; else a note tells why it isn't known."""
    end = time.monotonic() + DEADLINE_SECONDS
    notes: list[str] = []
    for place, source in enumerate(sources, start=1):
        left = end - time.monotonic()
        try:
            found = source.read(namespace, job, pods, left if place == len(sources) else left * _SHARE)
        except ReleaserError as error:
            notes.append(str(error).removeprefix("While "))
            continue
        return replace(found, note="; ".join([*notes, *([found.note] if found.note else [])]))
    return Traffic(note="; ".join(notes))
