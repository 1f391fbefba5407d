"""A few of the changes that `make mutation` tries: each is noticed by the chart's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.mutation import Mutant, Outcome, Suite, explained, helm, mutants, try_out

ALL = mutants()
# The same ones every time, from all over the chart; a prime, so that not each is of the same sort.
SAMPLE = [mutant for mutant in ALL if mutant.known_as not in explained()][11::97]


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with Suite() as made:
        yield made


def test_there_are_mutants_of_every_template() -> None:
    assert len(ALL) > 1000
    assert len({mutant.file for mutant in ALL}) >= 20
    assert len({mutant.known_as for mutant in SAMPLE}) >= 10


def test_every_explained_survivor_is_still_a_mutant() -> None:
    known = {mutant.known_as for mutant in ALL}
    assert [each for each in explained() if each not in known] == []
    assert all(len(why) > 20 for why in explained().values())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutant", SAMPLE, ids=str)
def test_a_changed_line_is_noticed(mutant: Mutant, tmp_path: Path, suite: Suite) -> None:
    assert try_out(mutant, helm(tmp_path), suite) is not Outcome.SURVIVED
