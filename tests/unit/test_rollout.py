from __future__ import annotations

from dataclasses import replace

import pytest

from releaser.models import (
    Cause,
    ContainerState,
    Image,
    ObjectEvent,
    Phase,
    PodState,
    ReplicaSetState,
    Rollout,
    Snapshot,
)
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
            replace(WAITING, waiting_reason="ErrImagePull", waiting_message='failed to resolve "web:9": not found'),
            Cause.IMAGE_MISSING,
            "not found",
        ),
        (
            replace(WAITING, exit_code=137, terminated_reason="OOMKilled"),
            Cause.OUT_OF_MEMORY,
            "killed for its memory",
        ),
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
    forbidden = ReplicaSetState("rs-1", "web-1", 1, 1, failure='pods "web" is forbidden: violates PodSecurity')
    rollout = Judge().judge(Snapshot((replace(DEPLOYMENT, updated=0),), (forbidden,), ()))
    assert rollout.problems[0].cause is Cause.FORBIDDEN
    assert "PodSecurity" in rollout.problems[0].message


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (unready(RUNNING), Cause.NEVER_READY),
        (unready(unschedulable="0/1 nodes are available: 1 Insufficient cpu."), Cause.UNSCHEDULABLE_CPU),
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


# -- what only time tells ----------------------------------------------------------------------------------------------


def at(seconds: float, *pods: PodState, events: tuple[ObjectEvent, ...] = ()) -> Snapshot:
    return replace(snapshot(replace(DEPLOYMENT, available=0), *pods), at_seconds=seconds, events=events)


def test_a_container_that_ran_well_once_and_ends_again_and_again_is_a_crash_loop() -> None:
    judge = Judge()
    assert judge.judge(at(1, READY)).phase is Phase.PROGRESSING
    looping = unready(replace(WAITING, waiting_reason="CrashLoopBackOff", restarts=2, last_exit_code=1))
    assert [p.cause for p in judge.judge(at(9, looping)).problems] == [Cause.CRASH_LOOP]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("0/1 nodes are available: 1 Insufficient cpu.", Cause.UNSCHEDULABLE_CPU),
        ("0/1 nodes are available: 1 Insufficient memory.", Cause.UNSCHEDULABLE_MEMORY),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", Cause.UNSCHEDULABLE_AFFINITY),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", Cause.UNSCHEDULABLE_AFFINITY),
        ("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.", Cause.PORT_TAKEN),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", Cause.UNSCHEDULABLE),
    ],
)
def test_a_lack_of_room_is_sure_once_it_lasts(message: str, cause: Cause) -> None:
    homeless = unready(unschedulable=message, scheduled=False, uid="p1")
    judge = Judge()
    assert judge.judge(at(1, homeless)).phase is Phase.PROGRESSING
    assert judge.judge(at(5.5, homeless)).phase is Phase.PROGRESSING
    assert [p.cause for p in judge.judge(at(6, homeless)).problems] == [cause]


def test_a_pod_that_is_leaving_may_make_room() -> None:
    homeless = unready(unschedulable="1 Insufficient cpu", uid="p1")
    leaving = replace(READY, name="web-0-z", owner_uid="rs-0", terminating=True)
    judge = Judge()
    judge.judge(at(1, homeless))
    assert judge.judge(at(60, homeless, leaving)).phase is Phase.PROGRESSING
    assert judge.judge(at(64, homeless)).phase is Phase.PROGRESSING
    assert judge.judge(at(65, homeless)).phase is Phase.FAILED


def test_a_node_that_is_on_its_way_is_waited_for() -> None:
    homeless = unready(unschedulable="1 Insufficient cpu", uid="p1")
    promise = (ObjectEvent("p1", "pod/web-1-a", "TriggeredScaleUp", "pod triggered scale-up"),)
    judge = Judge()
    judge.judge(at(1, homeless, events=promise))
    assert judge.judge(at(90, homeless, events=promise)).phase is Phase.PROGRESSING


def test_a_quota_that_leaves_no_room_is_sure_once_it_lasts() -> None:
    full = ReplicaSetState("rs-1", "web-1", 1, 1, failure='pods "web" is forbidden: exceeded quota: pods')
    judge = Judge()
    seen = [judge.judge(Snapshot((replace(DEPLOYMENT, updated=0),), (full,), (), at_seconds=s)) for s in (1, 3, 7)]
    assert [each.phase for each in seen] == [Phase.PROGRESSING, Phase.PROGRESSING, Phase.FAILED]
    assert seen[-1].problems[0].cause is Cause.QUOTA


def test_a_service_account_that_is_not_known_yet_is_waited_for() -> None:
    young = ReplicaSetState("rs-1", "web-1", 1, 1, failure="pods is forbidden: error looking up service account a/b")
    assert Judge().judge(Snapshot((replace(DEPLOYMENT, updated=0),), (young,), ())).phase is Phase.PROGRESSING


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("Killing", "Container web failed liveness probe, will be restarted", Cause.LIVENESS_KILL),
        ("Killing", "Container web failed startup probe, will be restarted", Cause.NEVER_READY),
        ("FailedMount", 'MountVolume.SetUp failed for volume "x": configmap "y" not found', Cause.CONFIG_MISSING),
    ],
)
def test_events_tell_what_the_status_does_not(reason: str, message: str, cause: Cause) -> None:
    pod = unready(RUNNING, uid="p1")
    event = ObjectEvent("p1", "pod/web-1-a", reason, message)
    assert [p.cause for p in Judge().judge(at(1, pod, events=(event,))).problems] == [cause]
    of_another = replace(event, uid="p0")
    assert Judge().judge(at(1, pod, events=(of_another,))).phase is Phase.PROGRESSING


def test_a_kill_from_before_the_rollout_fails_no_pod_that_it_finds_ready() -> None:
    killed = ObjectEvent("p1", "pod/web-1-a", "Killing", "Container web failed liveness probe, will be restarted")
    survivor = replace(READY, uid="p1")
    judge = Judge()
    assert judge.judge(snapshot(DEPLOYMENT, survivor)).phase is Phase.COMPLETE  # its events are listed a little later
    again = replace(snapshot(DEPLOYMENT, survivor), events=(killed,))
    assert judge.judge(again).phase is Phase.COMPLETE
    [container] = survivor.containers
    restarted = replace(survivor, containers=(replace(container, restarts=container.restarts + 1),))
    verdict = judge.judge(replace(snapshot(DEPLOYMENT, restarted), events=(killed,)))
    assert [problem.cause for problem in verdict.problems] == [Cause.LIVENESS_KILL]


def test_an_ordinary_end_of_a_container_is_no_liveness_kill() -> None:
    stopped = ObjectEvent("p1", "pod/web-1-a", "Killing", "Stopping container web")
    assert Judge().judge(at(1, unready(RUNNING, uid="p1"), events=(stopped,))).phase is Phase.PROGRESSING


# -- the image ---------------------------------------------------------------------------------------------------------


def test_pods_that_run_another_image_than_the_built_one_fail_it() -> None:
    built = Image("web", "1.0.0-one", "sha256:2")
    rollout = Judge(built).judge(snapshot(DEPLOYMENT, READY))
    assert [p.cause for p in rollout.problems] == [Cause.IMAGE_WRONG]
    assert "sha256:1" in rollout.problems[0].message and "sha256:2" in rollout.problems[0].message


@pytest.mark.parametrize("containers", [(), (WAITING,)], ids=["not scheduled", "not pulled"])
def test_a_pod_that_runs_nothing_yet_runs_no_wrong_image(containers: tuple[ContainerState, ...]) -> None:
    young = replace(READY, ready=False, containers=containers)
    rollout = Judge(Image("web", "1", "sha256:2")).judge(snapshot(replace(DEPLOYMENT, available=0), young))
    assert rollout.phase is Phase.PROGRESSING


@pytest.mark.parametrize("image", [None, Image("web", "1", ""), Image("web", "1", "sha256:1")])
def test_the_built_image_or_an_unknown_one_is_no_problem(image: Image | None) -> None:
    assert Judge(image).judge(snapshot(DEPLOYMENT, READY)).phase is Phase.COMPLETE


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("pre-upgrade hooks failed: warning: Hook pre-upgrade x/job.yaml failed: job failed", Cause.HOOK_FAILED),
        ("failed pre-install: warning: Hook pre-install x failed", Cause.HOOK_FAILED),
        ('Deployment.apps "web" is invalid: spec.selector: Invalid value: field is immutable', Cause.IMMUTABLE_FIELD),
        ("spec.ports[0].nodePort: Invalid value: 31181: provided port is already allocated", Cause.PORT_TAKEN),
        ('services "web" is forbidden: exceeded quota: services', Cause.QUOTA),
        ('admission webhook "policy" denied the request: no', Cause.FORBIDDEN),
        ('configmaps "web" is forbidden: User "x" cannot patch', Cause.FORBIDDEN),
        ("something else", Cause.REFUSED),
    ],
)
def test_a_refusal_has_a_cause(text: str, cause: Cause) -> None:
    assert cause_of_refusal(text) is cause
