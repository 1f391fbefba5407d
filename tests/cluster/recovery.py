"""Deploys that are killed half way, and the next deploy, which has to put everything right. Also for bench/."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from tests.cluster.api_proxy import Kill, counting
from tests.cluster.broken import greeting
from tests.cluster.site import Ended, Running, Site
from tests.cluster.traffic import asking

STEP_EVENTS = ("StepStarted", "StepEnded")

Death = Callable[[Site], AbstractContextManager[str]]
"""Runs a deploy and kills it. Says where; empty when the deploy had ended before. What survives may go on until the
context ends."""


@dataclass(frozen=True)
class Recovery:
    """What came after a kill: how the next deploy ended, what is recorded, what users got all the while."""

    where: str
    next_code: int
    next_error: str
    newest: str
    answer: str
    wanted: str
    requests: int
    failed_requests: int
    failures: tuple[str, ...]
    """The first few: seconds after the first request, and what went wrong."""

    @property
    def good(self) -> bool:
        """The next deploy did its work with no manual step, and no request was lost from the kill on."""
        return (
            self.next_code == 0
            and self.newest == "deployed, good"
            and self.answer == self.wanted
            and not self.failed_requests
        )


def at_boundary(number: int) -> Death:
    """SIGKILL of releaser at its n-th step boundary, counted from 1: each step has one at its start and one at its end.
    Helm, if it runs, goes on alone, as it would."""

    @contextmanager
    def death(site: Site) -> Iterator[str]:
        running = site.start("deploy", "dev")
        boundaries = (event for event in running.events() if event["event"] in STEP_EVENTS)
        last = next(islice(boundaries, number - 1, None), None)
        if last is None:
            _require_success(running.end())
            yield ""
        else:
            yield _killed(running, f"{last['event']} {last['name']}")

    return death


def at_step(event: str, step: str) -> Death:
    """SIGKILL of releaser at one boundary, by its name."""

    @contextmanager
    def death(site: Site) -> Iterator[str]:
        running = site.start("deploy", "dev")
        running.until(event, step)
        yield _killed(running, f"{event} {step}")

    return death


class Victim(StrEnum):
    """Who is killed at a write of helm. HELM: releaser sees it fail. RELEASER: helm goes on alone, and comes to its
    end while the next deploy begins. BOTH: as when a machine is switched off."""

    HELM = "helm"
    RELEASER = "releaser"
    BOTH = "helm and releaser"


def at_write(number: int, victim: Victim, *, done: bool) -> Death:
    """SIGKILL at helm's n-th write to the API server, counted from 1, before or after it is done there."""

    @contextmanager
    def death(site: Site) -> Iterator[str]:
        running: Running | None = None

        def kill_releaser() -> None:
            if victim is not Victim.HELM and running is not None:
                running.process.kill()

        kill = Kill(number, done, spare_helm=victim is Victim.RELEASER, also=kill_releaser)
        with (
            tempfile.TemporaryDirectory() as directory,
            counting(site.cluster.context, Path(directory), kill) as proxy,
        ):
            running = site.start("deploy", "dev", environment=proxy.environment)
            ended = running.end()
            if proxy.killed is None:
                _require_success(ended)
                yield ""
                return
            survivor = f" (releaser ended with {ended.code})" if victim is Victim.HELM else ""
            yield f"{victim} {'after' if done else 'before'} write {proxy.killed}{survivor}"

    return death


def recovered(site: Site, death: Death, wanted: str) -> Recovery | None:
    """A deploy that dies, then the next one, which is to answer `wanted`. None when the deploy didn't die.

    The site has a good revision. Both deploys change the greeting, so that pods really roll.
    """
    greeting(site, f"{wanted}, killed")
    with asking(site.url) as traffic, death(site) as where:
        if not where:
            return None
        greeting(site, wanted)
        ended = site.run("deploy", "dev")
    newest = site.history()[0]
    return Recovery(
        where=where,
        next_code=ended.code,
        next_error=str(ended.error.get("message", "")) or ("" if ended.code == 0 else ended.stderr[-500:]),
        newest=f"{newest['status']}, {newest['verdict']}",
        answer=site.get()["message"],
        wanted=wanted,
        requests=len(traffic.answers),
        failed_requests=len(traffic.failed),
        failures=tuple(f"{each.due - traffic.answers[0].due:.1f} s: {each.error[:200]}" for each in traffic.failed[:3]),
    )


def _killed(running: Running, where: str) -> str:
    running.signal(signal.SIGKILL)
    running.end()
    return f"releaser at {where}"


def _require_success(ended: Ended) -> None:
    assert ended.code == 0, f"a deploy that nobody killed ended with {ended.code}: {ended.stderr}"
