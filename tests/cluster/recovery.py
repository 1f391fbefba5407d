"""Deploys that are killed half way, and the next deploy, which has to put everything right. Also for bench/."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api_proxy import Kill, counting
from tests.cluster.broken import greeting
from tests.cluster.site import Ended, Running, Site
from tests.cluster.traffic import asking

STEP_EVENTS = ("StepStarted", "StepEnded")

Death = Callable[[Site], str]
"""Runs a deploy and kills it. Says where; empty when the deploy had ended before."""


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

    def death(site: Site) -> str:
        running = site.start("deploy", "dev")
        seen = 0
        for event in running.events():
            seen += event["event"] in STEP_EVENTS
            if seen == number:
                return _killed(running, f"{event['event']} {event['name']}")
        _require_success(running.end())
        return ""

    return death


def at_step(event: str, step: str) -> Death:
    """SIGKILL of releaser at one boundary, by its name."""

    def death(site: Site) -> str:
        running = site.start("deploy", "dev")
        running.until(event, step)
        return _killed(running, f"{event} {step}")

    return death


def at_write(number: int, *, done: bool, both: bool) -> Death:
    """SIGKILL of helm at its n-th write to the API server, before or after it is done there; with `both`, of releaser
    too, as when a machine is switched off."""

    def death(site: Site) -> str:
        running: Running | None = None

        def kill_releaser() -> None:
            if both and running is not None:
                running.process.kill()

        with (
            tempfile.TemporaryDirectory() as directory,
            counting(site.cluster.context, Path(directory), Kill(number, done, kill_releaser)) as proxy,
        ):
            running = site.start("deploy", "dev", environment=proxy.environment)
            ended = running.end()
        if proxy.killed is None:
            _require_success(ended)
            return ""
        victims = "helm and releaser" if both else f"helm (releaser then ended with {ended.code})"
        return f"{victims} {'after' if done else 'before'} write {proxy.killed}"

    return death


def recovered(site: Site, death: Death, wanted: str) -> Recovery | None:
    """A deploy that dies, then the next one, which is to answer `wanted`. None when the deploy didn't die.

    The site has a good revision. Both deploys change the greeting, so that pods really roll.
    """
    greeting(site, f"{wanted}, killed")
    with asking(site.url) as traffic:
        where = death(site)
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
