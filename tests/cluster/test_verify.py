"""`releaser verify` on the real cluster: on a good service, on one that breaks a promise, and after it was killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from releaser.adapters.autoscalers import HorizontalAutoscalers
from tests.cluster.site import RELEASE, Running, Site

pytestmark = pytest.mark.cluster

LOOKING = ("load-spread", "dns", "secrets")


def outcomes(verified: dict[str, Any]) -> dict[str, str]:
    return {each["promise"]["name"]: each["outcome"] for each in verified["conclusions"]}


def figure(verified: dict[str, Any], experiment: str, name: str) -> Any:
    [conclusion] = [each for each in verified["conclusions"] if each["promise"]["name"] == experiment]
    [found] = [each["value"] for each in conclusion["measurements"] if each["name"] == name]
    return found


def until_rolling_out(running: Running) -> None:
    """Until the experiment's own upgrade is done."""
    running.until("StepStarted", "rolling-update")
    running.until("StepStarted", "roll out")


def test_a_good_service_holds_and_is_left_as_it_was_even_by_runs_that_end_too_soon(site: Site, tmp_path: Path) -> None:
    site.releaser("deploy", "dev")
    report = tmp_path / "report.html"

    verified = site.json("verify", "dev", *LOOKING, "pod-delete", "process-kill", "--report", str(report))

    assert outcomes(verified) == dict.fromkeys((*LOOKING, "pod-delete", "process-kill"), "holds")
    assert verified["holds"] and verified["left"] == []
    assert figure(verified, "load-spread", "requests sent") > 300
    assert figure(verified, "process-kill", "ready again") > 0
    assert report.read_text().count("<svg") == 5
    assert site.verdicts() == [(1, "good")]

    interrupted = site.start("verify", "dev", "rolling-update")
    until_rolling_out(interrupted)
    interrupted.signal(signal.SIGINT)
    assert interrupted.end().code == 130
    assert site.verdicts() == [(3, "good"), (2, "failed"), (1, "good")]

    killed = site.start("verify", "dev", "rolling-update")
    until_rolling_out(killed)
    killed.signal(signal.SIGKILL)
    killed.end()
    autoscalers = HorizontalAutoscalers(site.cluster)
    autoscalers.create(site.namespace, RELEASE, RELEASE, 2, 3, 50)

    after = site.run("verify", "dev", "dns")
    [cleared] = [each for each in after.events if each["event"] == "StepEnded" and each["name"] == "look for leftovers"]
    assert cleared["detail"] == "removed: 1 autoscalers, revision 4 of rolling-update"
    assert after.code == 0, after.stderr
    assert json.loads(after.stdout)["after"]["content"] == 1
    assert autoscalers.read(site.namespace, f"{RELEASE}-verify") is None
    site.releaser("drift", "dev", "--exit-code")


def test_a_service_that_cuts_its_answers_short_does_not_hold_what_it_promises(site: Site) -> None:
    site.settings("dev", probe={"ratePerSecond": 8})
    # each answer takes longer than a pod that is told to end waits for it
    site.values(
        "dev",
        faults={"latencySeconds": 3},
        gunicorn={"gracefulTimeoutSeconds": 1, "threads": 8},
        rollout={"preStopSleepSeconds": 1, "terminationGracePeriodSeconds": 7},
        tests={"enabled": False},  # they ask often, and each time that long
    )
    site.releaser("deploy", "dev")

    ended = site.run("verify", "dev", "rolling-update")

    assert ended.code == 10, ended.stderr
    verified = json.loads(ended.stdout)
    assert outcomes(verified) == {"rolling-update": "does not hold"}
    assert figure(verified, "rolling-update", "requests lost") > 0
    assert figure(verified, "rolling-update", "rolled out") > 0
    assert not verified["holds"] and verified["left"] == []
    assert site.verdicts()[0] == (3, "good")
