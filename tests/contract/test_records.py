"""What flows rely on of the ledger: the fake and the API server must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from releaser.adapters.cluster import Cluster
from releaser.flows.ports import Records
from releaser.ledger import HelmRevision, entry_text, revisions
from releaser.models import LedgerEntry, Receipt
from tests.fakes import FakeCluster, World

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Side:
    records: Records
    namespace: str

    def enter(self, number: int, text: str, known: range, release: str = "web") -> None:
        self.records.enter(self.namespace, release, number, text, known)

    def entries(self, release: str = "web") -> dict[int, str]:
        return dict(self.records.entries(self.namespace, release))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        yield Side(FakeCluster(World()), "test")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    yield Side(cluster, request.getfixturevalue("namespace"))


def test_a_release_that_was_never_recorded_has_no_entries(side: Side) -> None:
    assert side.entries() == {}


def test_each_revision_has_the_entry_that_was_last_written(side: Side) -> None:
    side.enter(1, "one", range(1, 2))
    side.enter(2, "two", range(1, 3))
    side.enter(2, "two again", range(1, 3))
    assert side.entries() == {1: "one", 2: "two again"}


def test_entries_of_revisions_that_are_no_longer_known_go(side: Side) -> None:
    for number in range(1, 12):
        side.enter(number, str(number), range(1, number + 1))
    side.enter(12, "12", range(10, 13))
    assert side.entries() == {10: "10", 11: "11", 12: "12"}


def test_an_entry_may_be_written_before_the_revisions_own_number_is_known(side: Side) -> None:
    side.enter(1, "one", range(0))
    assert side.entries() == {1: "one"}


def test_releases_of_one_namespace_have_ledgers_of_their_own(side: Side) -> None:
    side.enter(1, "one", range(1, 2))
    side.enter(1, "another's", range(1, 2), release="web-2")
    side.enter(2, "two", range(2, 3))
    assert (side.entries(), side.entries("web-2")) == ({2: "two"}, {1: "another's"})


def test_a_closed_ledger_begins_anew_and_leaves_others_alone(side: Side) -> None:
    side.enter(1, "one", range(1, 2))
    side.enter(1, "another's", range(1, 2), release="web-2")
    side.records.close_ledger(side.namespace, "web")
    side.records.close_ledger(side.namespace, "web")  # and once more is no error
    assert (side.entries(), side.entries("web-2")) == ({}, {1: "another's"})
    side.enter(1, "one again", range(1, 2))
    assert side.entries() == {1: "one again"}


def test_what_was_read_does_not_change_with_what_is_written(side: Side) -> None:
    side.enter(1, "one", range(1, 2))
    read = side.records.entries(side.namespace, "web")
    side.enter(2, "two", range(1, 3))
    assert dict(read) == {1: "one"}


def test_an_entry_comes_back_whole(side: Side) -> None:
    receipt = Receipt(9, 1, 0.25, 0.004, 0.02, 20.0, (("1.0 β", 8),), (("web-1", 8),), (("reset", 1),), 'it "ended"\n')
    written = LedgerEntry("promote", 12.5, "sha256:one", "p1", "crash loop", "incidents/web-r1", "dev r7", receipt)
    side.enter(1, entry_text(written), range(1, 2))
    [found] = revisions((HelmRevision(1, "deployed", WHEN, ""),), {}, side.entries())
    assert found.entry == written
