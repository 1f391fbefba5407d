"""One who wants a lock, as a process: python -m tests.cluster.locker CONTEXT NAMESPACE USER COMMIT_TIME SECONDS

Says `held` (with whom it took the lock over from) and `done` on stdout; ends with the error's exit code. Works for
SECONDS, asking each tenth of one whether the lock is still its own.
"""

from __future__ import annotations

import json
import sys
import time

from releaser.adapters.lease import Leases
from releaser.errors import ReleaserError
from releaser.flows.lock import Claim, lock
from releaser.interrupts import Interrupted, install, interruptible
from releaser.models import Source
from tests.fakes import Recorder


def say(**what: object) -> None:
    sys.stdout.write(json.dumps({**what, "at": time.time()}) + "\n")
    sys.stdout.flush()


def main(context: str, namespace: str, user: str, commit_time: str, seconds: str) -> None:
    install()
    say(said="start")
    claim = Claim(namespace, "web", Source(user, "laptop", f"commit{commit_time}", False, int(commit_time)), "deploy")
    with lock(claim, Leases(context), Recorder()) as held, interruptible():
        dead = held.taken_over_from
        say(said="held", over=dead.source.user if dead else "")
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            held.require_held()
            time.sleep(0.1)
        say(said="done")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ReleaserError as exc:
        say(said=type(exc).__name__, message=exc.message)
        sys.exit(exc.exit_code)
    except Interrupted:
        say(said="interrupted")
        sys.exit(130)
