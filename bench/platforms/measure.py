"""One contestant's turn: from nothing to nothing again, every figure in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench.platforms.contestant import Contestant, Release
from bench.platforms.load import closed_loop
from bench.platforms.watch import Wanted, asking, run_and_watch, seconds_until

RATE = 10.0
LATENCY_RATE = 20.0
LOAD_SECONDS = 10.0
CONNECTIONS = 8
MOST_REQUESTS = 20_000
BY_ITSELF_SECONDS = {"process": 120.0, "unit": 30.0}
# translated machines on a busy computer take minutes
_START_SECONDS = 600.0
_CHANGE_SECONDS = 600.0
_CALM_SECONDS = 2.0


class Turn:
    """`say` gets one line for each figure."""

    def __init__(self, contestant: Contestant, releases: tuple[Release, Release], say: Callable[[str], None]) -> None:
        self._contestant = contestant
        self._old, self._new = (release.version for release in releases)
        self._say = say

    def run(self) -> dict[str, Any]:
        """The figures by phase. Whatever happens, nothing of the contestant's is left."""
        contestant = self._contestant
        try:
            found: dict[str, Any] = {"start": self._start()}
            time.sleep(_CALM_SECONDS)
            found["memory"] = {str(contestant.instances): asdict(contestant.memory())}
            for what in ("process", "unit"):
                found[f"kill {what}"] = self._kill(what)
            found["update"] = self._change("update", contestant.update, self._new)
            found["rollback"] = self._change("rollback", contestant.roll_back, self._old)
            if contestant.instances > 1:
                self._scale(1)
                found["memory"]["1"] = asdict(contestant.memory())
            found["load"] = self._load()
            if contestant.instances > 1:
                found["scale"] = self._scale(contestant.instances)
            return found
        finally:
            contestant.stop()

    def _wanted(self, version: str, gone: str = "", instances: int = 0) -> Wanted:
        return Wanted(version, instances or self._contestant.instances, gone)

    def _start(self) -> dict[str, Any]:
        wanted = self._wanted(self._old)
        done = run_and_watch(self._contestant.start, self._contestant.url, wanted, _START_SECONDS)
        self._tell("start", f"{done.wanted_seconds:.1f} s")
        return {"seconds": done.wanted_seconds, "command_seconds": done.command_seconds}

    def _kill(self, what: str) -> dict[str, Any]:
        """Until all instances answer again. If nothing has brought them back in time, somebody does it by hand, from
        then on counted by itself: how soon somebody comes is nothing to measure."""
        contestant = self._contestant
        kill, gone = (contestant.arm_process(), "") if what == "process" else contestant.arm_unit()
        wanted = self._wanted(self._old, gone)
        with asking(contestant.url, RATE) as receipt:
            time.sleep(_CALM_SECONDS)
            started = time.monotonic()
            kill()
            time.sleep(0.3)  # what was killed has no answer under way
            seconds = seconds_until(contestant.url, wanted, started, BY_ITSELF_SECONDS[what])
            by_hand = None
            if seconds is None:
                by_hand = run_and_watch(contestant.revive, contestant.url, wanted, _START_SECONDS).wanted_seconds
            time.sleep(_CALM_SECONDS)
        shown = f"{seconds:.1f} s" if seconds is not None else f"not by itself; {by_hand:.1f} s by hand"
        self._tell(f"kill {what}", f"{shown}, {_counted(receipt.counted)}")
        return {"seconds": seconds, "by_hand_seconds": by_hand, **receipt.counted}

    def _change(self, what: str, command: Callable[[], None], version: str) -> dict[str, Any]:
        contestant = self._contestant
        with asking(contestant.url, RATE) as receipt:
            time.sleep(_CALM_SECONDS)
            done = run_and_watch(command, contestant.url, self._wanted(version), _CHANGE_SECONDS)
            time.sleep(_CALM_SECONDS)
        self._tell(what, f"{done.wanted_seconds:.1f} s, {_counted(receipt.counted)}")
        return {"seconds": done.wanted_seconds, "command_seconds": done.command_seconds, **receipt.counted}

    def _scale(self, instances: int) -> dict[str, Any]:
        contestant = self._contestant
        before = contestant.memory()
        wanted = self._wanted(self._old, instances=instances)
        done = run_and_watch(lambda: contestant.scale(instances), contestant.url, wanted, _START_SECONDS)
        time.sleep(_CALM_SECONDS)
        if instances < contestant.instances:
            self._await_alone()
        more = contestant.memory().instances - before.instances
        self._tell(f"scale to {instances}", f"{done.wanted_seconds:.1f} s, {more / 1e6:+.0f} MB")
        return {"seconds": done.wanted_seconds, "more_bytes": more}

    def _await_alone(self) -> None:
        """Until the instance that was taken away is gone, for an ending one takes memory and answers still."""
        end = time.monotonic() + _START_SECONDS
        last = self._contestant.memory().instances
        while time.monotonic() < end:
            time.sleep(_CALM_SECONDS)
            now = self._contestant.memory().instances
            if abs(now - last) < 2_000_000:
                return
            last = now

    def _load(self) -> dict[str, Any]:
        """Of one instance: everyone has the same workers, threads and CPU."""
        url = self._contestant.url
        load = closed_loop(url, "/version", connections=CONNECTIONS, seconds=LOAD_SECONDS, most=MOST_REQUESTS)
        time.sleep(_CALM_SECONDS)
        with asking(url, LATENCY_RATE) as receipt:
            time.sleep(LOAD_SECONDS)
        counted = receipt.counted
        self._tell(
            "load",
            f"{load.per_second:.0f} requests/s; at {LATENCY_RATE:.0f}/s p50 {counted['p50_seconds'] * 1e3:.1f} ms",
        )
        return {"closed": {**asdict(load), "per_second": load.per_second}, "open": counted}

    def _tell(self, what: str, said: str) -> None:
        self._say(f"{self._contestant.name:16} {what:14} {said}")


def _counted(counted: dict[str, Any]) -> str:
    return f"{counted['failed']} of {counted['sent']} lost, gap {counted['longest_gap_seconds'] * 1e3:.0f} ms"
