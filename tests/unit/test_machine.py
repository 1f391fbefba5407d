"""A state machine of everything that can happen to a release: whatever the order, the flows keep their promises."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from releaser import interrupts
from releaser.errors import NothingToRollBackTo, Refused, ReleaseFailed
from releaser.flows.deploy import deploy
from releaser.flows.look import show_history
from releaser.flows.rollback import rollback
from releaser.interrupts import Interrupted, deferred
from releaser.models import Revision, Verdict
from tests.fakes import FakeCluster, FakeHelm
from tests.unit.conftest import YES, Bench, make_bench, make_project

GOOD = ("", "replicaCount: 2\n", "text: b\n", "extra: 0123456789\n")
BAD = ("crash: true\n", "stuck: true\n", "testFails: true\n", "refused: true\n")


class Killed(BaseException):
    """SIGKILL: nothing after this runs."""


class Fuse:
    """Blows at the n-th write to the cluster from now; unarmed it never does."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._blow = kill

    @contextmanager
    def armed(self, writes: int, blow: Callable[[], None]) -> Iterator[None]:
        self._left, self._blow = writes, blow
        try:
            yield
        finally:
            self._left = None

    def burn(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == -1:
                self._blow()


def kill() -> None:
    raise Killed


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class MortalHelm(FakeHelm):
    """Records, applies and finishes as Helm does, and may be killed between."""

    fuse: Fuse

    def upgrade(self, *args: object) -> int:  # type: ignore[override]
        return self._half_done("pending-upgrade", lambda: super(MortalHelm, self).upgrade(*args))  # type: ignore[arg-type]

    def rollback(self, release: str, namespace: str, number: int) -> None:
        def go() -> int:
            super(MortalHelm, self).rollback(release, namespace, number)
            return 0

        self._half_done("pending-rollback", go)

    def uninstall(self, release: str, namespace: str) -> None:
        self.fuse.burn()
        super().uninstall(release, namespace)

    def _half_done(self, status: str, go: Callable[[], int]) -> int:
        self.fuse.burn()
        number = go()
        try:
            self.fuse.burn()
        except Killed:
            if len(self.history("web", "web-dev")) == 1:
                status = "pending-install"
            self.strand("web", "web-dev", status)
            raise
        return number


class MortalCluster(FakeCluster):
    fuse: Fuse

    def label_revision(self, *args: object) -> None:  # type: ignore[override]
        self.fuse.burn()
        super().label_revision(*args)  # type: ignore[arg-type]

    def enter(self, *args: object) -> None:  # type: ignore[override]
        self.fuse.burn()
        super().enter(*args)  # type: ignore[arg-type]


@contextmanager
def signals_raise() -> Iterator[None]:
    """Interrupted is what they raise, and none is left behind."""
    former = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    interrupts.install()
    try:
        yield
    finally:
        with deferred() as signals:
            signals.take()
        signal.signal(signal.SIGINT, former[0])
        signal.signal(signal.SIGTERM, former[1])


class Releases(RuleBasedStateMachine):
    bench: Bench

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        make_project(self.directory)
        self.bench = make_bench(self.directory)
        self.fuse = Fuse()
        self.bench.helm = MortalHelm(self.bench.world)
        self.bench.cluster = MortalCluster(self.bench.world)
        self.bench.helm.fuse = self.bench.cluster.fuse = self.fuse
        self.died = False
        self.sources = 0

    def teardown(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- what users do -------------------------------------------------------------------------------------------------

    @rule(values=st.sampled_from(GOOD))
    def deploy_something_good(self, values: str) -> None:
        self._new_source()
        self.bench.values("dev", values)
        deployed = deploy(self.bench.project, self.bench.target("dev"), self.bench.workshop, YES)
        assert deployed.after.verdict is Verdict.GOOD
        assert self._newest() == deployed.after
        self.died = False

    @rule(values=st.sampled_from(BAD))
    def deploy_something_bad(self, values: str) -> None:
        good = self._good_contents()
        self._new_source()
        self.bench.values("dev", values)
        with pytest.raises(ReleaseFailed):
            deploy(self.bench.project, self.bench.target("dev"), self.bench.workshop, YES)
        newest = self._newest()
        if newest is None:
            assert not good
        else:
            assert newest.verdict is Verdict.GOOD
            assert newest.content != newest.number  # an older revision came back
        self.died = False

    @rule()
    def roll_back(self) -> None:
        good = self._good_contents()
        with suppress(NothingToRollBackTo):
            rolled = rollback(self.bench.target("dev"), None, YES)
            assert rolled.target.verdict is Verdict.GOOD
            assert rolled.after.verdict is Verdict.GOOD
            assert rolled.after.content in good
        self.died = False

    @rule(values=st.sampled_from(GOOD + BAD), writes=st.integers(0, 12))
    def die_in_a_deploy(self, values: str, writes: int) -> None:
        self._new_source()
        self.bench.values("dev", values)
        self.died = False
        with self.fuse.armed(writes, kill):
            try:
                deploy(self.bench.project, self.bench.target("dev"), self.bench.workshop, YES)
            except Killed:
                self.died = True
            except ReleaseFailed:
                pass

    @precondition(lambda self: not self.died)
    @rule(values=st.sampled_from(GOOD + BAD), writes=st.integers(0, 12))
    def interrupt_a_deploy(self, values: str, writes: int) -> None:
        good = self._good_contents()
        self._new_source()
        self.bench.values("dev", values)
        with signals_raise(), self.fuse.armed(writes, interrupt), suppress(Interrupted, ReleaseFailed):
            deploy(self.bench.project, self.bench.target("dev"), self.bench.workshop, YES)
        newest = self._newest()
        assert newest or not good
        assert newest is None or (newest.status == "deployed" and newest.verdict is not Verdict.FAILED)

    @precondition(lambda self: not self.died)
    @rule()
    def upgrade_by_plain_helm(self) -> None:
        with suppress(Refused):
            FakeHelm(self.bench.world).upgrade("web", "web-dev", self.bench.root, {"text": "by hand"}, {})

    @rule()
    def edit_by_hand(self) -> None:
        with suppress(StopIteration):
            self.bench.world.edit("deployment", "web", "spec", {"paused": True})

    # -- what always holds ---------------------------------------------------------------------------------------------

    @invariant()
    def never_two_are_deployed(self) -> None:
        if not self.died:
            assert [r.status for r in self._history()].count("deployed") <= 1

    @invariant()
    def nothing_is_pending_after_a_return(self) -> None:
        if not self.died:
            assert not any(r.pending for r in self._history()[:1])

    @invariant()
    def the_lock_is_free_after_a_return(self) -> None:
        if not self.died:
            assert not any(lease.holder for lease in self.bench.leases.stored.values())

    @invariant()
    def only_what_passed_is_called_good(self) -> None:
        for each in self._history():
            if each.verdict is Verdict.GOOD:
                values = self.bench.world.releases[("web-dev", "web")].values[each.number]
                assert not any(values.get(key) for key in ("crash", "stuck", "testFails", "refused"))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _history(self) -> tuple[Revision, ...]:
        return show_history(self.bench.target("dev")).revisions if hasattr(self, "bench") else ()

    def _newest(self) -> Revision | None:
        return next(iter(self._history()), None)

    def _good_contents(self) -> set[int]:
        return {each.content for each in self._history() if each.verdict is Verdict.GOOD}

    def _new_source(self) -> None:
        self.sources += 1
        self.bench.images.source = f"s{self.sources}"
        self._bury()

    def _bury(self) -> None:
        """Time has passed: a dead holder's lock has lapsed."""
        for key, lease in self.bench.leases.stored.items():
            self.bench.leases.stored[key] = replace(lease, holder="") if self.died else lease


TestReleases = Releases.TestCase
TestReleases.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    derandomize=os.environ.get("HYPOTHESIS_SEEDS") != "random",
    suppress_health_check=list(HealthCheck),
)
