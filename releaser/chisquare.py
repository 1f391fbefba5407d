"""Are counts as even as chance would make them? Pearson's test against equal shares. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence

_CLOSE = 1e-15


def chi_square(counts: Sequence[int]) -> tuple[float, float]:
    """Pearson's statistic of counts against equal shares, and its p-value: the chance of counts at least as uneven
    where each request goes to each of them equally often."""
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    return statistic, upper_tail(statistic, len(counts) - 1)


def upper_tail(statistic: float, degrees: int) -> float:
    """P(X >= statistic) of the chi-square distribution, which is the regularised upper incomplete gamma function
    Q(degrees/2, statistic/2): by a series where that converges fast, else by a continued fraction (Numerical Recipes,
    6.2)."""
    if degrees < 1:
        return 1.0
    a, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - scale * _series(a, x) if x < a + 1 else scale * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while term > total * _CLOSE:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """Lentz's method."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    value = d
    change = 0.0
    i = 0
    while abs(change - 1) > _CLOSE:
        i += 1
        step = -i * (i - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        change = c * d
        value *= change
    return value
