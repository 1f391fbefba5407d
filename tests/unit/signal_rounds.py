"""Takes and leaves a lock while real signals come at random moments; fails when one of them leaves a trace.

A process of its own: python -m tests.unit.signal_rounds SEED ROUNDS. Each round sends one to three signals. In every
other round somebody else holds the lock, so that the signals find a waiter.
"""

from __future__ import annotations

import os
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
    for number in range(int(rounds)):
        leases = FakeLeases()
        if held := number % 2 == 1:
            leases.create("ns", held_by(Lease(lock_name("web")), OTHER))
        reached: list[str] = []
        work(leases, moments, reached)
        first = next((each for each in reached if each.startswith("interrupted")), "not interrupted")
        where[first] = where.get(first, 0) + 1
        holder = holder_of(leases.read("ns", lock_name("web")))
        assert holder == (OTHER if held else None), f"round {number}: {holder}"
        assert leases.waiters("ns", "web") == (), f"round {number}"
    sys.stdout.write(f"{where}\n")


def work(leases: FakeLeases, moments: random.Random, reached: list[str]) -> None:
    """One round, until the last signal has had its effect. Plain lists tell the threads of each other: a signal that
    raises inside threading's own locks would break those."""
    go: list[bool] = []
    sent: list[bool] = []
    pauses = [moments.uniform(0, 0.0015) for _ in range(moments.randint(1, 3))]

    def send() -> None:
        while not go:
            time.sleep(0.0001)
        for pause in pauses:
            time.sleep(pause)
            os.kill(os.getpid(), moments.choice((signal.SIGINT, signal.SIGTERM)))
        sent.append(True)

    sender = threading.Thread(target=send)
    sender.start()
    # The window stands for a program in which every signal raises; around it our own bookkeeping is safe from them.
    with deferred():
        while True:
            try:
                with interruptible():
                    if not reached:
                        reached.append("start")
                        go.append(True)
                        take(leases, reached)
                    while not sent:
                        time.sleep(0.0005)
                    time.sleep(0.001)  # what was sent last has come when this ends
                break
            except Interrupted:
                reached.append(f"interrupted after {reached[-1]}")
    sender.join()


def take(leases: FakeLeases, reached: list[str]) -> None:
    with lock(CLAIM, leases, Recorder()):
        reached.append("held")
        with interruptible():
            time.sleep(0.0005)
        reached.append("worked")
    reached.append("left")


if __name__ == "__main__":
    main(*sys.argv[1:])
