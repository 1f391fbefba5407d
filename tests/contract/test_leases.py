"""What the lock relies on of Leases: the fake and the API server must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.lease import Leases as RealLeases
from releaser.flows.ports import Leases
from releaser.lease import Holder, Lease, freed, held_by, holder_of, last_release, waiting
from releaser.models import Source
from tests.conftest import make_namespace
from tests.fakes import FakeLeases

SINCE = datetime(2026, 1, 1, 10, 2, 11, 5, UTC)
ANN = Holder("ann@laptop:1:a", Source("ann", "laptop", "c0ffee1", True, 7), "deploy", SINCE)


@dataclass
class Side:
    leases: Leases
    namespace: str

    def create(self, lease: Lease) -> Lease:
        stored = self.leases.create(self.namespace, lease)
        assert stored is not None
        return stored


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        yield Side(FakeLeases(), "test")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    core: client.CoreV1Api = request.getfixturevalue("core")
    namespace = make_namespace()  # not there yet: the first Lease makes it
    side = Side(RealLeases(cluster.context), namespace)
    yield side
    if any(each.metadata.name == namespace for each in core.list_namespace().items):
        core.delete_namespace(namespace)


def test_nothing_is_there_at_first(side: Side) -> None:
    assert side.leases.read(side.namespace, "one") is None
    assert side.leases.waiters(side.namespace, "web") == ()
    side.leases.delete(side.namespace, "one")
    assert side.leases.update(side.namespace, Lease("one", version="1")) is None


def test_what_is_written_is_read_again(side: Side) -> None:
    stored = side.create(held_by(Lease("one"), ANN))
    read = side.leases.read(side.namespace, "one")
    assert read == stored
    assert holder_of(read) == ANN
    emptied = side.leases.update(side.namespace, freed(stored, ANN))
    assert emptied is not None and holder_of(emptied) is None
    released = last_release(side.leases.read(side.namespace, "one"))
    assert released is not None and (released.user, released.commit, released.commit_time) == ("ann", "c0ffee1", 7)


def test_only_one_creates_it(side: Side) -> None:
    side.create(held_by(Lease("one"), ANN))
    assert side.leases.create(side.namespace, held_by(Lease("one"), replace(ANN, identity="bob"))) is None
    assert holder_of(side.leases.read(side.namespace, "one")) == ANN


def test_of_two_who_write_the_same_version_the_first_wins(side: Side) -> None:
    stored = side.create(held_by(Lease("one"), ANN))
    assert side.leases.update(side.namespace, replace(stored, holder="bob"))
    assert side.leases.update(side.namespace, replace(stored, holder="cid")) is None
    read = side.leases.read(side.namespace, "one")
    assert read is not None and read.holder == "bob"


def test_a_renewal_that_changes_nothing_changes_the_version(side: Side) -> None:
    stored = side.create(held_by(Lease("one"), ANN))
    renewed = side.leases.update(side.namespace, stored)
    assert renewed is not None and renewed.version != stored.version
    assert replace(renewed, version="") == replace(stored, version="")


def test_only_the_waiters_of_the_release_are_listed(side: Side) -> None:
    side.create(held_by(Lease("releaser-web"), ANN))
    one = side.create(waiting("web", "1", ANN))
    side.create(waiting("web-2", "1", ANN))
    assert side.leases.waiters(side.namespace, "web") == (one,)


def test_deleting_a_version_spares_a_newer_one(side: Side) -> None:
    stored = side.create(waiting("web", "1", ANN))
    assert side.leases.update(side.namespace, stored)
    side.leases.delete(side.namespace, stored.name, stored.version)
    assert side.leases.read(side.namespace, stored.name) is not None
    side.leases.delete(side.namespace, stored.name)
    assert side.leases.read(side.namespace, stored.name) is None


def test_a_full_second_is_a_time_too(side: Side) -> None:
    stored = side.create(held_by(Lease("one"), replace(ANN, since=SINCE.replace(microsecond=0))))
    assert stored.since is not None and abs(stored.since - SINCE) < timedelta(milliseconds=1)
