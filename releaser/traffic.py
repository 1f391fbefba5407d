"""What a service answers: requests, errors and latency, from its counters. Pure.

The counters are those of app/metrics.py: http_requests_total and http_request_duration_seconds. Probes are requests,
too, but nobody's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

REQUESTS, BUCKET = "http_requests_total", "http_request_duration_seconds_bucket"
PROBES = ("/livez", "/readyz")
_SAMPLE = re.compile(rf"({REQUESTS}|{BUCKET})\{{(.*)\}} (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Counts:
    """Requests, those answered with 5xx, and those within each upper bound of latency (seconds; the last is infinity).

    Of all time, of a stretch of it, or in a second.
    """

    requests: float
    errors: float
    buckets: Mapping[float, float]

    @property
    def error_ratio(self) -> float | None:
        """None where there were no requests."""
        return self.errors / self.requests if self.requests else None

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of the requests (0 to 1) took at most, evenly spread within a bucket as PromQL's
        histogram_quantile() takes them to be; None where there were none."""
        return quantile(self.buckets, share)


@dataclass(frozen=True)
class PodTraffic:
    name: str
    requests_per_second: float
    error_ratio: float | None
    p95_seconds: float | None


@dataclass(frozen=True)
class Traffic:
    """What the release answers now. `source`: where that is known from; `note`: why something isn't known, or why not
    from where it should be. Without a source nothing is known."""

    source: str = ""
    window_seconds: float = 0.0
    requests_per_second: float = 0.0
    error_ratio: float | None = None
    p95_seconds: float | None = None
    pods: tuple[PodTraffic, ...] = ()
    note: str = ""


def traffic(source: str, window_seconds: float, rates: Mapping[str, Counts], note: str = "") -> Traffic:
    """Of what each pod, by name, answers in a second."""
    everything = total(rates.values())
    pods = tuple(
        PodTraffic(name, each.requests, each.error_ratio, each.quantile(0.95)) for name, each in sorted(rates.items())
    )
    return Traffic(
        source,
        window_seconds,
        everything.requests,
        everything.error_ratio,
        everything.quantile(0.95),
        pods,
        note,
    )


def counts(text: str) -> Counts:
    """Of an exposition in Prometheus' text format. Raises ValueError if it has no such counters."""
    if REQUESTS not in text:
        raise ValueError(f"there is no {REQUESTS}")
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for name, labels, value in _samples(text):
        if labels.get("route") in PROBES:
            continue
        if name == REQUESTS:
            requests += value
            errors += value if labels.get("status", "").startswith("5") else 0.0
        else:
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
    return Counts(requests, errors, buckets)


def rates(before: Counts, after: Counts, seconds: float) -> Counts:
    """What came in a second. Counters that fell began anew in between, as for PromQL's rate()."""
    if after.requests < before.requests:
        before = Counts(0.0, 0.0, {})
    return Counts(
        (after.requests - before.requests) / seconds,
        max(0.0, after.errors - before.errors) / seconds,
        {bound: max(0.0, value - before.buckets.get(bound, 0.0)) / seconds for bound, value in after.buckets.items()},
    )


def total(several: Iterable[Counts]) -> Counts:
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for each in several:
        requests += each.requests
        errors += each.errors
        for bound, value in each.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + value
    return Counts(requests, errors, buckets)


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """As bucketQuantile() in Prometheus' promql/quantile.go; None where it says NaN."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or not math.isinf(bounds[-1]) or not buckets[bounds[-1]]:
        return None
    cumulative: list[float] = []
    for bound in bounds:  # counters are not read at one moment: a bucket may lag behind the one below it
        cumulative.append(max(buckets[bound], cumulative[-1] if cumulative else 0.0))
    rank = share * cumulative[-1]
    place = next(index for index, count in enumerate(cumulative) if count >= rank)
    if place == len(bounds) - 1:
        return bounds[-2]
    low, below = (bounds[place - 1], cumulative[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * ((rank - below) / (cumulative[place] - below))


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            yield match[1], dict(_LABEL.findall(match[2])), float(match[3])
