"""The lock on the real cluster, wanted by processes of their own."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from releaser.adapters.cluster import Cluster
from releaser.adapters.lease import Leases
from releaser.lease import LEASE_SECONDS, holder_of, lock_name
from tests.cluster.site import eventually
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster


@dataclass
class Locker:
    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.lines.append(line)
        return line

    def until(self, said: str) -> dict[str, Any]:
        while (line := self.next())["said"] != said:
            pass
        return line

    def end(self) -> int:
        out, _ = self.process.communicate(timeout=180)
        self.lines += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode


Start = Callable[..., Locker]


@pytest.fixture
def start(context: str, namespace: str) -> Iterator[Start]:
    lockers = []

    def start(user: str, commit_time: int = 0, seconds: float = 1) -> Locker:
        argv = [sys.executable, "-m", "tests.cluster.locker", context, namespace, user, str(commit_time), str(seconds)]
        lockers.append(Locker(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)))
        return lockers[-1]

    yield start
    for locker in lockers:
        locker.process.kill()
        locker.process.communicate()


@pytest.fixture
def leases(cluster: Cluster) -> Leases:
    return Leases(cluster.context)


def waiters(leases: Leases, namespace: str) -> set[str]:
    return {holder.source.user for lease in leases.waiters(namespace, "web") if (holder := holder_of(lease))}


def test_two_processes_take_turns(start: Start, leases: Leases, namespace: str) -> None:
    ann = start("ann", seconds=8)
    ann.until("held")
    bob = start("bob")
    eventually("bob waits", lambda: waiters(leases, namespace) == {"bob"})
    assert (ann.end(), bob.end()) == (0, 0)
    assert bob.lines[1]["at"] >= ann.lines[-1]["at"]
    assert bob.lines[1]["over"] == ""
    lease = leases.read(namespace, lock_name("web"))
    assert lease is not None and lease.holder == ""
    assert waiters(leases, namespace) == set()


def test_a_killed_holder_is_overtaken(start: Start, leases: Leases, namespace: str) -> None:
    ann = start("ann", seconds=300)
    ann.until("held")
    bob = start("bob")
    eventually("bob waits", lambda: waiters(leases, namespace) == {"bob"})
    ann.process.kill()
    ann.process.wait()
    # the bound that the deadline of this test stands for: a lease, and what the waiter needs to notice
    bob.process.wait(LEASE_SECONDS + 20)
    assert bob.end() == 0
    assert [line["over"] for line in bob.lines if line["said"] == "held"] == ["ann"]


def test_the_newest_of_three_goes_last_and_the_older_ones_behind_it_are_dropped(
    start: Start, leases: Leases, namespace: str
) -> None:
    first = start("first", 1, seconds=25)
    first.until("held")
    three = [start(user, commit_time) for user, commit_time in (("ann", 3), ("bob", 4), ("cid", 2))]
    assert [each.end() for each in (first, *three)] == [0, 4, 0, 4]
    assert "commit4 of bob is newer than commit3" in three[0].lines[-1]["message"]
    # whichever of the newer ones cid saw first
    assert re.search("(commit4 of bob|commit3 of ann) is newer than commit2", three[2].lines[-1]["message"])
    assert waiters(leases, namespace) == set()


def test_a_signal_at_any_moment_leaves_a_free_lock_and_an_empty_queue(
    start: Start, leases: Leases, namespace: str
) -> None:
    """Half of them find the lock held and wait."""
    moments = random.Random(4)
    for run in range(12):
        holder = start("holder", seconds=60) if run % 2 else None
        if holder:
            holder.until("held")
        ann = start("ann", seconds=60)
        ann.until("start")
        pause = moments.uniform(0, 3)
        with pytest.raises(subprocess.TimeoutExpired):
            ann.process.wait(pause)
        for _ in range(1 + run % 3):
            ann.process.send_signal(moments.choice((signal.SIGINT, signal.SIGTERM)))
        assert ann.end() == 130
        assert "ann" not in waiters(leases, namespace)
        if holder:
            holder.process.send_signal(signal.SIGTERM)
            assert holder.end() == 130
        lease = leases.read(namespace, lock_name("web"))
        assert lease is None or lease.holder == "", (run, pause)
