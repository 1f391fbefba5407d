from __future__ import annotations

import pytest

from releaser.chisquare import chi_square, upper_tail


# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4: critical values of the chi-square distribution.
@pytest.mark.parametrize(
    ("degrees", "statistic", "chance"),
    [
        (1, 2.706, 0.10),
        (1, 3.841, 0.05),
        (1, 10.828, 0.001),
        (2, 5.991, 0.05),
        (4, 9.488, 0.05),
        (5, 1.145, 0.95),
        (10, 23.209, 0.01),
        (30, 59.703, 0.001),
        (100, 77.929, 0.95),
        (100, 124.342, 0.05),
    ],
)
def test_the_tail_is_that_of_the_table(degrees: int, statistic: float, chance: float) -> None:
    assert upper_tail(statistic, degrees) == pytest.approx(chance, rel=2e-3)


@pytest.mark.parametrize("statistic", [0.1, 1.0, 2.0, 2.1, 5.0, 20.0, 90.0])
def test_with_two_degrees_it_is_the_exponential_that_it_is_exactly(statistic: float) -> None:
    from math import exp

    assert upper_tail(statistic, 2) == pytest.approx(exp(-statistic / 2), rel=1e-12)


def test_even_counts_are_surely_fair_and_uneven_ones_surely_not() -> None:
    assert chi_square([100, 100, 100]) == (0.0, 1.0)
    statistic, chance = chi_square([250, 150])
    assert statistic == pytest.approx(25.0)
    assert chance == pytest.approx(5.733e-7, rel=1e-3)


def test_a_single_place_gets_its_fair_share() -> None:
    assert chi_square([7]) == (0.0, 1.0)
