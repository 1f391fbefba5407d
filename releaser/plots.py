"""A Timeline as a picture: requests and pods over time, in SVG that stands inside a page and takes its colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from releaser.verification import Timeline, rates

_WIDTH, _LEFT, _RIGHT = 720, 44, 12
_TOP, _REQUESTS, _GAP, _PODS, _BOTTOM = 34, 96, 20, 56, 22
_PLOT = _WIDTH - _LEFT - _RIGHT
# Over shorter times the prober's counters, which come every 0.4 s, make a saw of a steady rate.
_RATE_SECONDS = 0.8
_TICKS = 8


def drawn(timeline: Timeline, title: str) -> str:
    """The picture; empty when nothing was recorded. Moments are numbered as they stand in the timeline, from 1."""
    end = timeline.end_seconds
    if end <= 0 or not (timeline.requests or timeline.pods):
        return ""
    bands = [band for band in (_requests(timeline, end), _pods(timeline, end)) if band]
    top = _TOP
    drawn_bands = []
    for height, band in bands:
        drawn_bands.append(f'<g transform="translate({_LEFT} {top})">{band}</g>')
        top += height + _GAP
    bottom = top - _GAP
    parts = [*_times(end, bottom), *_moments(timeline, end, bottom), *drawn_bands]
    height = bottom + _BOTTOM
    return (
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _requests(timeline: Timeline, end: float) -> tuple[int, str] | None:
    found = rates(timeline.requests, _RATE_SECONDS)
    if not found:
        return None
    most = _rounded(max(answered + failed for _, answered, failed in found))
    height = _REQUESTS

    def y(value: float) -> float:
        return height - value / most * height

    ups = [(_x(at, end), y(answered + failed)) for at, answered, failed in found]
    line = " ".join(f"{x:.1f},{level:.1f}" for x, level in ups)
    area = f"{ups[0][0]:.1f},{height} {line} {ups[-1][0]:.1f},{height}"
    lost = [(_x(at, end), y(failed)) for at, _, failed in found if failed > 0]
    bars = "".join(f'<path class="lost" d="M{x:.1f} {height}V{level:.1f}"/>' for x, level in lost)
    return height, (
        f"{_axis(height, most, 'requests/s')}"
        f'<polygon class="sent-area" points="{area}"/><polyline class="sent" points="{line}"/>{bars}'
    )


def _pods(timeline: Timeline, end: float) -> tuple[int, str] | None:
    samples = timeline.pods
    if not samples:
        return None
    most = _rounded(max(max(each.ready, each.total) for each in samples))
    height = _PODS
    ready = _stairs([(each.at_seconds, each.ready) for each in samples], end, most, height)
    total = _stairs([(each.at_seconds, each.total) for each in samples], end, most, height)
    first = _x(samples[0].at_seconds, end)
    area = f"M{first:.1f} {height}L{ready[1:]}V{height}Z"
    return height, (
        f"{_axis(height, most, 'pods')}"
        f'<path class="ready-area" d="{area}"/><path class="ready" d="{ready}"/><path class="total" d="{total}"/>'
    )


def _stairs(levels: Sequence[tuple[float, int]], end: float, most: float, height: int) -> str:
    """Each level lasts until the next one; the last one to the end."""
    at, level = levels[0]
    parts = [f"M{_x(at, end):.1f} {height - level / most * height:.1f}"]
    for at, following in levels[1:]:
        if following != level:
            parts.append(f"H{_x(at, end):.1f}V{height - following / most * height:.1f}")
            level = following
    return "".join([*parts, f"H{_PLOT}"])


def _axis(height: int, most: float, unit: str) -> str:
    lines = "".join(
        f'<path class="grid" d="M0 {y:.1f}H{_PLOT}"/>'
        f'<text class="tick" x="-6" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value, y in ((0, height), (most / 2, height / 2), (most, 0))
        if value == int(value)
    )
    return f'{lines}<text class="unit" x="0" y="-5">{unit}</text>'


def _times(end: float, bottom: float) -> Iterator[str]:
    step = _step(end)
    for index in range(int(end / step) + 1):
        x = _LEFT + _x(index * step, end)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
        if x < _WIDTH - 40 or index == 0:
            yield f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{index * step:g} s</text>'


def _moments(timeline: Timeline, end: float, bottom: float) -> Iterator[str]:
    """Numbers that would lie on each other stand side by side."""
    free = 0.0
    for number, moment in enumerate(timeline.moments, start=1):
        x = _LEFT + _x(moment.at_seconds, end)
        at = min(max(x, free), _WIDTH - 8.0)
        free = at + 14
        yield f'<path class="moment" d="M{x:.1f} 16V{bottom}"/>'
        yield f'<circle class="number" cx="{at:.1f}" cy="9" r="7"/>'
        yield f'<text class="number" x="{at:.1f}" y="12.5" text-anchor="middle">{number}</text>'


def _x(at_seconds: float, end: float) -> float:
    return at_seconds / end * _PLOT


def _rounded(most: float) -> float:
    """A little more, and with a whole half."""
    wanted = max(2, math.ceil(most))
    size = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return float(math.ceil(wanted / size / 2) * 2 * size)


def _step(end: float) -> float:
    """A round number of seconds, so that there are not too many of them."""
    rough = end / _TICKS
    size = math.pow(10, math.floor(math.log10(rough)))
    return float(next(each for each in (1, 2, 5, 10) if each * size >= rough)) * size
