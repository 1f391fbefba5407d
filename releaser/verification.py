"""The words of `releaser verify`: what an experiment promises, what was measured, what that makes of the promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from releaser.models import Receipt, Revision


class Outcome(StrEnum):
    """What came of an experiment. NOT_RUN: it could not be tried, which is no good news; SKIPPED: it doesn't apply."""

    HOLDS = "holds"
    BROKEN = "does not hold"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Promise:
    """What an experiment is about: its name, what is believed of the service, by which figures that is judged, and
    about how many seconds the experiment takes."""

    name: str
    hypothesis: str
    criterion: str
    about_seconds: float


@dataclass(frozen=True)
class Measurement:
    """One figure, with the bounds within which the promise holds; without bounds it only informs.

    A value of None is one that never came: it holds within no bounds. `note` says where or what, in a few words.
    """

    name: str
    value: float | None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def bounded(self) -> bool:
        return self.at_most is not None or self.at_least is not None

    @property
    def holds(self) -> bool:
        if not self.bounded:
            return True
        if self.value is None:
            return False
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def shown(self) -> str:
        return "never" if self.value is None else _with_unit(self.value, self.unit)

    @property
    def bounds(self) -> str:
        """As people say them; empty when there are none."""
        if self.at_most is not None and self.at_most == self.at_least:
            return f"wanted {_with_unit(self.at_most, self.unit)}"
        parts = (
            f"at least {_with_unit(self.at_least, self.unit)}" if self.at_least is not None else "",
            f"at most {_with_unit(self.at_most, self.unit)}" if self.at_most is not None else "",
        )
        return ", ".join(part for part in parts if part)


def _with_unit(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.1f} s" if value >= 1 or value == 0 else f"{value * 1000:.0f} ms"
    number = f"{value:.0f}" if value == int(value) else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def exactly(name: str, value: float, wanted: float, unit: str = "", note: str = "") -> Measurement:
    """A figure that has to be just that one."""
    return Measurement(name, value, unit, at_most=wanted, at_least=wanted, note=note)


def lost(receipt: Receipt, at_most: float | None) -> tuple[Measurement, Measurement]:
    """Of requests that were sent all the while: how many, and how many of them were lost."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in receipt.errors)
    trouble = f"; {receipt.trouble}" if receipt.trouble else ""
    return (
        Measurement(
            "requests sent", receipt.sent, at_least=1, note=f"p99 {receipt.p99_seconds * 1000:.0f} ms{trouble}"
        ),
        Measurement("requests lost", receipt.failed, at_most=at_most, note=kinds),
    )


# -- what happened, moment by moment -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RequestSample:
    """The prober's counters at a moment: requests sent and lost since its start."""

    at_seconds: float
    sent: int
    failed: int


@dataclass(frozen=True)
class PodSample:
    at_seconds: float
    ready: int
    total: int


@dataclass(frozen=True)
class Moment:
    """Something that the experiment did or saw."""

    at_seconds: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """All times count from the experiment's beginning."""

    requests: tuple[RequestSample, ...] = ()
    pods: tuple[PodSample, ...] = ()
    moments: tuple[Moment, ...] = ()

    @property
    def end_seconds(self) -> float:
        samples: Sequence[RequestSample | PodSample | Moment] = (*self.requests, *self.pods, *self.moments)
        return max((each.at_seconds for each in samples), default=0.0)


def rates(samples: Sequence[RequestSample], width_seconds: float) -> tuple[tuple[float, float, float], ...]:
    """(middle of the interval, answered or under way a second, lost a second), in intervals at least so wide."""
    found = []
    last = samples[0] if samples else None
    for each in samples:
        assert last is not None
        if each.sent < last.sent:  # another prober began
            last = each
            continue
        seconds = each.at_seconds - last.at_seconds
        if seconds >= width_seconds:
            failed = (each.failed - last.failed) / seconds
            sent = (each.sent - last.sent) / seconds
            found.append((last.at_seconds + seconds / 2, max(0.0, sent - failed), failed))
            last = each
    return tuple(found)


# -- results -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conclusion:
    """One experiment from its beginning to its verdict. `reason`: why it was skipped or not run, or what broke it."""

    promise: Promise
    outcome: Outcome
    measurements: tuple[Measurement, ...]
    timeline: Timeline
    receipt: Receipt | None
    began: datetime
    elapsed_seconds: float
    reason: str = ""


def outcome_of(measurements: Sequence[Measurement]) -> Outcome:
    """A promise of which nothing was judged doesn't hold."""
    judged = [each for each in measurements if each.bounded]
    return Outcome.HOLDS if judged and all(each.holds for each in judged) else Outcome.BROKEN


def headline(conclusion: Conclusion) -> str:
    """Why it doesn't hold, or the figures that it is judged by, in one line."""
    if conclusion.outcome is not Outcome.HOLDS:
        return conclusion.reason
    receipt = conclusion.receipt
    figures = [
        f"{each.name} {each.shown}"
        for each in conclusion.measurements
        # what must not be there at all goes without saying
        if each.bounded and each.at_most != 0 and not (receipt and each.name.startswith("requests "))
    ]
    return ", ".join([*([f"{receipt.failed} of {receipt.sent} lost"] if receipt else []), *figures])


def fit(text: str, width: int) -> str:
    """At most so many characters; what is too long loses its end."""
    return text if len(text) <= width else f"{text[: width - 3].rstrip(' ,;:')}..."


def why_broken(measurements: Sequence[Measurement]) -> str:
    """The figures that are out of their bounds."""
    return "; ".join(f"{each.name} {each.shown}, {each.bounds}" for each in measurements if not each.holds)


@dataclass(frozen=True)
class Verified:
    """A whole run. It `holds` when every promise that applies was tried and holds, there was one, and all is as it was
    before. `left` is what could not be put back; `ended_early` why some experiments were not run."""

    environment: str
    release: str
    namespace: str
    context: str
    kubernetes: str
    before: Revision
    after: Revision
    holds: bool
    sent: int
    lost: int
    conclusions: tuple[Conclusion, ...]
    began: datetime
    elapsed_seconds: float
    budget: int | None = None
    left: tuple[str, ...] = ()
    ended_early: str = ""

    def count(self, outcome: Outcome) -> int:
        return sum(each.outcome is outcome for each in self.conclusions)


def all_hold(conclusions: Sequence[Conclusion], left: Sequence[str]) -> bool:
    outcomes = {each.outcome for each in conclusions}
    return Outcome.HOLDS in outcomes and outcomes <= {Outcome.HOLDS, Outcome.SKIPPED} and not left


@dataclass(frozen=True)
class Promises:
    """What `releaser verify ENV --list` shows."""

    promises: tuple[Promise, ...]


# -- what hands bring back ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """A program that ended in a pod."""

    exit_status: int
    output: str


@dataclass(frozen=True)
class Autoscaler:
    """An HPA as it is now: pods that it wants, its bounds, for how long it waits before it takes pods away, and why it
    can't work (empty: it can)."""

    name: str
    wanted: int
    minimum: int
    maximum: int
    down_after_seconds: float
    trouble: str = ""


@dataclass(frozen=True)
class DisruptionBudget:
    """A PodDisruptionBudget as it is now: ready pods that it wants, and how many may go at this moment."""

    name: str
    desired: int
    allowed: int
