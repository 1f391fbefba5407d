"""Takes and leaves a lock while real signals come at random moments; fails when one of them leaves a trace.

A process of its own: python -m tests.unit.signal_rounds SEED ROUNDS. Each round sends one to three signals. In every
other round somebody else holds the lock, so that the signals find a waiter.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime

from releaser.flows.lock import Claim, lock
from releaser.interrupts import Interrupted, deferred, install, interruptible
from releaser.lease import Holder, Lease, held_by, holder_of, lock_name
from releaser.models import Source
from tests.fakes import FakeLeases, Recorder

ANN, BOB = (Source(user, "laptop", "c0ffee", False, 1) for user in ("ann", "bob"))
CLAIM = Claim("ns", "web", ANN, "deploy")
OTHER = Holder("bob@laptop:1:1", BOB, "deploy", datetime(2026, 1, 1, tzinfo=UTC))


def main(seed: str, rounds: str) -> None:
    moments = random.Random(int(seed))
    install()
    where: dict[str, int] = {}
    # Our own bookkeeping is safe from signals; each round opens a window, which stands for a program without this.
    with deferred() as signals:
        for number in range(int(rounds)):
            leases = FakeLeases()
            if held := number % 2 == 1:
                leases.create("ns", held_by(Lease(lock_name("web")), OTHER))
            reached = work(leases, moments)
            first = next((each for each in reached if each.startswith("interrupted")), "not interrupted")
            where[first] = where.get(first, 0) + 1
            holder = holder_of(leases.read("ns", lock_name("web")))
            assert holder == (OTHER if held else None), f"round {number}: {holder}"
            assert leases.waiters("ns", "web") == (), f"round {number}"
        signals.take()
    sys.stdout.write(f"{where}\n")


def work(leases: FakeLeases, moments: random.Random) -> list[str]:
    """One round, until its signals have had their effect; what was reached. Plain lists tell the threads of each
    other: a signal that raises inside threading's own locks would break those."""
    main_thread = threading.main_thread().ident or 0
    reached: list[str] = []
    go: list[bool] = []
    sent: list[bool] = []
    pauses = [moments.uniform(0, 0.0015) for _ in range(moments.randint(1, 3))]

    def send() -> None:
        while not go:
            time.sleep(0.0001)
        for pause in pauses:
            time.sleep(pause)
            signal.pthread_kill(main_thread, moments.choice((signal.SIGINT, signal.SIGTERM)))
        sent.append(True)

    sender = threading.Thread(target=send)
    sender.start()
    while not sent:
        try:
            with interruptible():
                if not go:  # a signal of the round before may have come first
                    go.append(True)
                    reached.append("start")
                    take(leases, reached)
                while not sent:
                    time.sleep(0.0005)
        except Interrupted:
            reached.append(f"interrupted after {reached[-1] if reached else 'nothing'}")
    sender.join()
    return reached


def take(leases: FakeLeases, reached: list[str]) -> None:
    with lock(CLAIM, leases, Recorder()):
        reached.append("held")
        with interruptible():
            time.sleep(0.0005)
        reached.append("worked")
    reached.append("left")


if __name__ == "__main__":
    main(*sys.argv[1:])
