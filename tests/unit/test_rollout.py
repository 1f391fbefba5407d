from __future__ import annotations

from dataclasses import replace

import pytest

from releaser.models import Cause, ContainerState, Phase, PodState, ReplicaSetState, Rollout, Snapshot
from releaser.rollout import Judge, cause_of_refusal
from tests.fakes import DEPLOYMENT, pod, snapshot

READY = pod("web-1-a", {})
WAITING = ContainerState(name="web", ready=False, started=False, restarts=0)
RUNNING = replace(WAITING, running=True, started=True, image_id="sha256:1")


def unready(container: ContainerState = WAITING, **changes: object) -> PodState:
    return replace(READY, ready=False, containers=(container,), **changes)  # type: ignore[arg-type]


def judged(container: ContainerState) -> Rollout:
    return Judge().judge(snapshot(replace(DEPLOYMENT, available=0), unready(container)))


def test_a_rollout_without_a_deployment_yet_is_progressing() -> None:
    assert Judge().judge(Snapshot((), (), ())).phase is Phase.PROGRESSING


def test_it_is_complete_when_all_are_updated_and_available_and_no_old_pod_is_left() -> None:
    assert Judge().judge(snapshot(DEPLOYMENT, READY)).phase is Phase.COMPLETE


@pytest.mark.parametrize(
    "changes",
    [
        {"observed_generation": 1},
        {"updated": 0},
        {"replicas": 2},
        {"available": 0},
    ],
    ids=["not observed", "not updated", "an old pod left", "not available"],
)
def test_it_is_progressing_while_one_of_these_is_missing(changes: dict[str, int]) -> None:
    assert Judge().judge(snapshot(replace(DEPLOYMENT, **changes), READY)).phase is Phase.PROGRESSING  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("container", "cause", "words"),
    [
        (
            replace(WAITING, waiting_reason="ImagePullBackOff", waiting_message='Back-off pulling "web:9"'),
            Cause.IMAGE_MISSING,
            "web:9",
        ),
        (
            replace(WAITING, waiting_reason="ErrImageNeverPull", waiting_message="not present"),
            Cause.IMAGE_MISSING,
            "not present",
        ),
        (
            replace(WAITING, waiting_reason="CreateContainerConfigError", waiting_message='secret "x" not found'),
            Cause.CONFIG_MISSING,
            'secret "x" not found',
        ),
        (
            replace(
                WAITING, waiting_reason="CrashLoopBackOff", restarts=1, last_exit_code=3, last_terminated_reason="Error"
            ),
            Cause.CRASH_AT_START,
            "exit code 3",
        ),
        (replace(RUNNING, restarts=2, last_exit_code=1), Cause.CRASH_AT_START, "2 restarts"),
        (
            replace(
                WAITING,
                waiting_reason="CrashLoopBackOff",
                restarts=1,
                last_exit_code=137,
                last_terminated_reason="OOMKilled",
            ),
            Cause.OUT_OF_MEMORY,
            "memory",
        ),
    ],
)
def test_a_sure_sign_of_failure_ends_it_with_its_cause(container: ContainerState, cause: Cause, words: str) -> None:
    rollout = judged(container)
    assert rollout.phase is Phase.FAILED
    assert rollout.problems[0].cause is cause
    assert words in rollout.problems[0].message
    assert rollout.problems[0].pod == "web-1-a"


@pytest.mark.parametrize(
    "container",
    [
        replace(WAITING, waiting_reason="ContainerCreating"),
        replace(WAITING, waiting_reason="ErrImagePull", waiting_message="i/o timeout"),
        replace(WAITING, exit_code=1, terminated_reason="Error"),
        replace(RUNNING, restarts=1, last_exit_code=1),
        replace(RUNNING, ready=True, restarts=3),
    ],
    ids=["being made", "first failed pull", "first crash", "restarted once", "restarted long ago, ready"],
)
def test_what_may_still_mend_itself_is_no_failure(container: ContainerState) -> None:
    assert judged(container).phase is Phase.PROGRESSING


def test_trouble_of_an_old_pod_does_not_fail_the_new_revision() -> None:
    old = unready(replace(WAITING, waiting_reason="CrashLoopBackOff", restarts=9), name="web-0-z", owner_uid="rs-0")
    old_set = ReplicaSetState("rs-0", "web-0", 0, 1)
    seen = Snapshot((DEPLOYMENT,), (old_set, ReplicaSetState("rs-1", "web-1", 1, 1)), (old, READY))
    assert Judge().judge(seen).phase is Phase.COMPLETE


def test_a_pod_on_its_way_out_does_not_fail_it() -> None:
    leaving = unready(replace(WAITING, waiting_reason="CrashLoopBackOff", restarts=9), terminating=True)
    assert Judge().judge(snapshot(DEPLOYMENT, leaving)).phase is Phase.COMPLETE


def test_pods_that_may_not_be_made_at_all_are_forbidden() -> None:
    forbidden = ReplicaSetState("rs-1", "web-1", 1, 1, failure='pods "web" is forbidden: exceeded quota')
    rollout = Judge().judge(Snapshot((replace(DEPLOYMENT, updated=0),), (forbidden,), ()))
    assert rollout.problems[0].cause is Cause.FORBIDDEN
    assert "exceeded quota" in rollout.problems[0].message


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (unready(RUNNING), Cause.NEVER_READY),
        (unready(unschedulable="0/1 nodes are available: insufficient cpu"), Cause.UNSCHEDULABLE),
    ],
)
def test_after_the_progress_deadline_the_unready_pod_tells_the_cause(seen: PodState, cause: Cause) -> None:
    late = replace(DEPLOYMENT, available=0, deadline_exceeded="ReplicaSet has timed out progressing")
    assert Judge().judge(snapshot(late, seen)).problems[0].cause is cause


def test_a_crash_is_named_rather_than_the_deadline_that_it_missed() -> None:
    late = replace(DEPLOYMENT, available=0, deadline_exceeded="timed out")
    crash = unready(replace(WAITING, waiting_reason="CrashLoopBackOff", restarts=5, last_exit_code=1))
    assert [p.cause for p in Judge().judge(snapshot(late, crash)).problems] == [Cause.CRASH_AT_START]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (READY, "ready"),
        (unready(RUNNING), "started"),
        (unready(replace(WAITING, waiting_reason="ContainerCreating")), "scheduled"),
        (unready(replace(WAITING, waiting_reason="CrashLoopBackOff", image_id="sha256:1")), "CrashLoopBackOff"),
        (unready(replace(WAITING, exit_code=1, image_id="sha256:1")), "exited"),
        (replace(READY, terminating=True), "terminating"),
        (replace(READY, ready=False, scheduled=False, containers=(), unschedulable="no node"), "unschedulable"),
        (replace(READY, ready=False, scheduled=False, containers=()), "pending"),
    ],
)
def test_a_pods_progress_is_the_furthest_point_reached(seen: PodState, word: str) -> None:
    assert seen.progress == word
