"""The lock of a release, in simulated time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from releaser.errors import EnvironmentUnfit, LockHeld, LockLost, ReleaseFailed, ReleaserError, Superseded
from releaser.flows.lock import Claim, Held, lock
from releaser.lease import LEASE_SECONDS, RENEW_SECONDS, Holder, Lease, held_by, holder_of, last_release, lock_name
from releaser.models import Note, Source
from tests.fakes import Recorder
from tests.simulation import ShakyLeases, Simulation


@dataclass
class Yard:
    """A cluster, its time, and what became of those who wanted the lock."""

    seed: int = 0
    trouble: float = 0.0
    recorder: Recorder = field(default_factory=Recorder)
    endings: dict[str, str] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.time = Simulation(self.seed)
        self.leases = ShakyLeases(self.time, self.trouble)

    def comes(
        self,
        user: str,
        commit_time: int = 0,
        *,
        after: float = 0.0,
        works: float = 5.0,
        verb: str = "deploy",
        fails: bool = False,
        wait: bool = True,
        deadline_seconds: float = 3600.0,
    ) -> None:
        """An actor that wants the lock and then works under it, sure of it at each second."""

        def body() -> None:
            claim = Claim("ns", "web", Source(user, "laptop", f"c{commit_time}", False, commit_time), verb)
            try:
                with lock(
                    claim, self.leases, self.recorder, wait=wait, deadline_seconds=deadline_seconds, clock=self.time
                ) as held:
                    self.held[user] = held
                    self.inside.add(user)
                    try:
                        self._work(user, held, works)
                    finally:
                        self.inside.discard(user)
                    if fails:
                        raise ReleaseFailed("crash at start")
            except ReleaserError as exc:
                self.endings[user] = f"{type(exc).__name__}: {exc.message}"
            else:
                self.endings[user] = "done"
                self.finished.append(user)

        self.time.spawn(user, body, after)

    def _work(self, user: str, held: Held, seconds: float) -> None:
        end = self.time.monotonic() + seconds
        while self.time.monotonic() < end:
            held.require_held()
            sure = {each for each in self.inside if self.held[each]._heartbeat.certain}
            assert sure == {user}, f"two hold the lock: {sure}"
            self.time.sleep(1.0)

    def dies(self, user: str, at: float) -> None:
        def kill() -> None:
            self.inside.discard(user)
            self.time.kill(user)

        self.time.spawn(f"the end of {user}", kill, at)

    def run(self, limit_seconds: float = 600.0) -> None:
        self.time.run(limit_seconds)

    @property
    def lock(self) -> Lease:
        lease = self.leases.leases.read("ns", lock_name("web"))
        assert lease is not None
        return lease

    @property
    def waiters(self) -> set[str]:
        return {holder.source.user for each in self.leases.leases.waiters("ns", "web") if (holder := holder_of(each))}

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.recorder.events if isinstance(event, Note)]


def test_a_free_lock_is_taken_at_once_and_emptied_afterwards() -> None:
    yard = Yard()
    yard.comes("ann", 7)
    yard.run()
    assert yard.endings == {"ann": "done"}
    assert yard.held["ann"].waited_seconds == 0
    assert yard.lock.holder == ""
    released = last_release(yard.lock)
    assert released is not None and (released.user, released.commit_time) == ("ann", 7)
    assert yard.recorder.steps == []


def test_the_lease_says_who_holds_it() -> None:
    yard = Yard()
    yard.comes("ann", 7)
    yard.dies("ann", 2)
    yard.run()
    holder = holder_of(yard.lock)
    assert holder is not None
    assert str(holder) == "ann@laptop (deploy, commit c7, since 00:00:00 UTC)"
    assert holder.identity.startswith("ann@laptop:")


def test_a_second_one_waits_and_says_for_whom() -> None:
    yard = Yard()
    yard.comes("ann", 1, works=40)
    yard.comes("bob", 1, after=3)
    yard.run()
    assert yard.finished == ["ann", "bob"]
    assert yard.notes == ["waiting for ann@laptop (deploy, commit c1, since 00:00:00 UTC)"]
    assert yard.held["bob"].taken_over_from is None
    assert 36 < yard.held["bob"].waited_seconds < 42
    assert yard.waiters == set()


def test_one_who_must_not_wait_is_told_who_holds_it() -> None:
    yard = Yard()
    yard.comes("ann", works=20)
    yard.comes("bob", after=3, wait=False)
    yard.run()
    assert yard.endings["bob"].startswith("LockHeld: web in ns is locked by ann@laptop (deploy, ")
    assert LockHeld.exit_code == 4
    assert yard.waiters == set()


def test_waiting_has_a_deadline() -> None:
    yard = Yard()
    yard.comes("ann", works=300)
    yard.comes("bob", after=3, deadline_seconds=60)
    yard.run()
    assert yard.endings["ann"] == "done"
    assert yard.endings["bob"].startswith("LockHeld: web in ns is locked by ann@laptop")
    assert yard.waiters == set()


def test_a_dead_holder_is_overtaken_and_named() -> None:
    yard = Yard()
    yard.comes("ann", works=300)
    yard.dies("ann", 10)
    yard.comes("bob", after=3)
    yard.run()
    assert yard.endings == {"bob": "done"}
    dead = yard.held["bob"].taken_over_from
    assert dead is not None and dead.source.user == "ann"
    assert 10 - 3 - 3 + LEASE_SECONDS <= yard.held["bob"].waited_seconds <= 10 - 3 + LEASE_SECONDS + 3


def test_of_two_who_overtake_a_dead_holder_one_wins() -> None:
    for seed in range(30):
        yard = Yard(seed)
        yard.comes("ann", works=300)
        yard.dies("ann", 4)
        yard.comes("bob", after=1)
        yard.comes("cid", after=1)
        yard.run()
        assert set(yard.finished) == {"bob", "cid"}
        assert [bool(yard.held[each].taken_over_from) for each in yard.finished] == [True, False]


def test_a_living_holder_is_never_overtaken_while_the_api_server_is_away() -> None:
    for seed in range(10):
        yard = Yard(seed)
        yard.comes("ann", works=120)
        yard.comes("bob", after=1)
        yard.leases.outage = (20.0, 60.0)
        yard.run()
        assert yard.finished == ["ann", "bob"]
        assert yard.held["bob"].taken_over_from is None


def test_a_holder_who_is_cut_off_stops_before_another_begins() -> None:
    yard = Yard()
    yard.comes("ann", works=120)
    yard.comes("bob", after=1, works=30)
    yard.time.spawn("cable", lambda: yard.leases.partitioned.add("ann"), 20)
    yard.run()
    assert yard.endings["ann"].startswith("LockLost: ")
    assert yard.held["ann"].lost.is_set()
    assert yard.finished == ["bob"]


def test_a_holder_who_was_overtaken_learns_by_whom() -> None:
    yard = Yard()
    yard.comes("ann", works=120)

    def steal() -> None:
        holder = holder_of(yard.lock)
        assert holder is not None
        thief = Holder("eve@x:1:2", Source("eve", "x", "", False), "rollback", yard.time.now())
        assert yard.leases.leases.update("ns", held_by(yard.lock, thief))

    yard.time.spawn("eve", steal, 20)
    yard.run()
    assert "eve@x (rollback, since 00:00:20 UTC) has it" in yard.endings["ann"]
    assert LockLost.exit_code == 5
    assert holder_of(yard.lock) is not None  # ann leaves eve's lock alone


def test_a_newer_commit_that_waits_goes_first_and_the_older_one_is_dropped() -> None:
    yard = Yard()
    yard.comes("ann", 5, works=40)
    yard.comes("bob", 6, after=1)
    yard.comes("cid", 7, after=5)
    yard.run()
    assert yard.finished == ["ann", "cid"]
    assert yard.endings["bob"] == "Superseded: commit c7 of cid is newer than c6 and goes first; nothing was touched"
    assert Superseded.exit_code == 4
    assert yard.waiters == set()


def test_a_commit_that_was_overhauled_while_it_waited_is_dropped() -> None:
    yard = Yard()
    yard.comes("ann", 7, works=20)
    yard.comes("bob", 6, after=1)
    yard.run()
    assert yard.finished == ["ann"]
    assert yard.endings["bob"].startswith("Superseded: commit c7 of ann is newer than c6 and was released meanwhile")


def test_an_older_commit_that_comes_later_is_meant_and_goes() -> None:
    yard = Yard()
    yard.comes("ann", 7)
    yard.comes("bob", 6, after=20)
    yard.comes("cid", 5, after=21)
    yard.run()
    assert yard.finished == ["ann", "bob"]


def test_what_was_released_before_the_waiting_began_drops_nobody() -> None:
    yard = Yard()
    yard.comes("ann", 7)
    yard.comes("bob", 8, after=20, works=20, fails=True)
    yard.comes("cid", 6, after=21)
    yard.run()
    assert yard.finished == ["ann", "cid"]


def test_a_renewal_whose_answer_was_lost_loses_nothing() -> None:
    yard = Yard()
    yard.comes("ann", works=30)
    yard.leases.lose_answer.add(("update", lock_name("web")))
    yard.run()
    assert yard.endings == {"ann": "done"}
    assert not yard.leases.lose_answer


def test_a_newer_commit_that_failed_supersedes_nobody() -> None:
    yard = Yard()
    yard.comes("ann", 7, works=20, fails=True)
    yard.comes("bob", 6, after=1)
    yard.run()
    assert yard.finished == ["bob"]


@pytest.mark.parametrize(
    ("bob", "cid", "verb"), [(6, 6, "deploy"), (0, 6, "deploy"), (6, 0, "deploy"), (6, 7, "rollback")]
)
def test_equal_and_unknown_commits_and_other_verbs_drop_nobody(bob: int, cid: int, verb: str) -> None:
    yard = Yard()
    yard.comes("ann", 5, works=40)
    yard.comes("bob", bob, after=1)
    yard.comes("cid", cid, after=2, verb=verb)
    yard.run()
    assert set(yard.finished) == {"ann", "bob", "cid"}


@pytest.mark.parametrize("renewals", [0, 3])
def test_a_dead_waiter_drops_nobody_and_is_removed(renewals: int) -> None:
    yard = Yard()
    yard.comes("ann", 5, works=60)
    yard.comes("cid", 7, after=1)
    dead = 3.5 + renewals * RENEW_SECONDS
    yard.dies("cid", dead)
    yard.time.spawn("witness", lambda: seen.update(yard.waiters), dead)
    yard.comes("bob", 6, after=dead + 0.5)
    seen: set[str] = set()
    yard.run()
    assert seen == {"cid"}
    assert yard.finished == ["ann", "bob"]
    assert yard.waiters == set()


def test_a_lock_that_was_taken_though_the_answer_was_lost_is_let_go() -> None:
    yard = Yard()
    yard.comes("ann")
    yard.leases.lose_answer.add(("create", lock_name("web")))
    yard.run()
    assert yard.endings == {"ann": "EnvironmentUnfit: the answer was lost"}
    assert yard.lock.holder == ""


def test_a_waiter_who_took_a_dead_holders_lock_though_the_answer_was_lost_goes_on_and_knows_whose_it_was() -> None:
    yard = Yard()
    yard.comes("ann", works=300)
    yard.dies("ann", 2)
    yard.comes("bob", after=3)
    yard.leases.lose_answer.add(("update", lock_name("web")))
    yard.run()
    assert not yard.leases.lose_answer
    assert yard.endings == {"bob": "done"}
    assert yard.held["bob"].waited_seconds < 3 + LEASE_SECONDS + 5
    dead = yard.held["bob"].taken_over_from
    assert dead is not None and dead.source.user == "ann"


def test_a_cluster_that_never_answers_while_waiting_is_the_reason_given() -> None:
    yard = Yard()
    yard.comes("ann", works=10)
    yard.comes("bob", after=1, deadline_seconds=30)
    yard.leases.outage = (5.0, 100.0)
    yard.run()
    assert yard.endings["bob"] == "EnvironmentUnfit: the API server is away"


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_one_holds_it_at_a_time_and_everyone_gets_to_an_end(seed: int) -> None:
    """Actors at random moments, of random commits; some fail, some are killed, requests and answers get lost, the API
    server goes away for a while."""
    yard = Yard(seed, trouble=0.02)
    random = yard.time.random
    begin = random.uniform(0, 60)
    yard.leases.outage = (begin, begin + random.uniform(0, 8))
    users = [f"u{number}" for number in range(random.randint(2, 8))]
    killed = {user for user in users if random.random() < 0.25}
    for user in users:
        after = random.uniform(0, 40)
        yard.comes(
            user,
            random.randint(0, 4),
            after=after,
            works=random.uniform(0, 30),
            fails=random.random() < 0.2,
            verb=random.choice(("deploy", "deploy", "rollback")),
        )
        if user in killed:
            yard.dies(user, after + random.uniform(0, 60))
    yard.run(limit_seconds=40 + len(users) * (30 + 8 + LEASE_SECONDS + 10))
    assert set(users) - killed <= set(yard.endings)
    assert yard.waiters <= killed
    holder = holder_of(yard.leases.leases.read("ns", lock_name("web")))
    assert holder is None or holder.source.user in killed


@pytest.mark.parametrize("seed", range(40))
def test_of_all_who_wait_the_newest_commit_is_released_last(seed: int) -> None:
    yard = Yard(seed, trouble=0.02)
    random = yard.time.random
    commits = {f"u{number}": random.randint(1, 9) for number in range(random.randint(2, 7))}
    yard.comes("first", works=20)
    for user, commit_time in commits.items():
        yard.comes(user, commit_time, after=random.uniform(1, 15), works=random.uniform(0, 12))
    yard.run()
    waited = [user for user in commits if not yard.endings[user].startswith(EnvironmentUnfit.__name__)]
    released = [commits[user] for user in yard.finished if user != "first"]
    if waited and "first" in yard.finished:
        assert released == sorted(released)
        assert released[-1] == max(commits[user] for user in waited)
    assert yard.waiters == set()


def test_signals_at_random_moments_leave_neither_a_held_lock_nor_a_waiter() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.unit.signal_rounds", "4", "300"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    # they came at every stage: while waiting, under the lock, and when it was let go
    assert all(f"interrupted after {stage}" in finished.stdout for stage in ("start", "held", "left"))
