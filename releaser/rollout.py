"""Judges a rollout: snapshots in, verdict out. Pure: no I/O, no clock but the snapshots' own.

The rule of completion is kubectl's (`kubectl rollout status`, polymorphichelpers/rollout_status.go); the signs of
failure are those that no amount of waiting mends. A slow rollout that moves on is not a failure.
"""

from __future__ import annotations

from releaser.models import (
    Cause,
    ContainerState,
    DeploymentState,
    Image,
    ObjectEvent,
    Phase,
    PodProblem,
    PodState,
    ReplicaSetState,
    Rollout,
    Snapshot,
)

_IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
# A first failed pull may be the network's; these answers of a registry will not change.
_FINAL_PULL_ANSWERS = ("not found", "manifest unknown", "unauthorized", "denied", "invalid reference")
_CONFIG_REASONS = frozenset({"CreateContainerConfigError"})
# One crash may be bad luck, two in a row are not: kubelet restarts the first at once.
_SURE_RESTARTS = 2
# A lack of room is sure once it lasts and no pod is leaving: nothing else will make room.
_SURE_LACK_SECONDS = 5.0
_SCALING_UP = "TriggeredScaleUp"  # the cluster autoscaler's promise of a node


class Judge:
    """Judges one rollout. It remembers what a single snapshot can't tell: who ran well once, how long room is lacking.

    `image`: what the new pods must run; None when that is not known.
    """

    def __init__(self, image: Image | None = None) -> None:
        self._image = image
        self._ran_well: set[tuple[str, str]] = set()
        self._lacking_since: dict[str, float] = {}
        self._first_seen: dict[str, PodState] = {}

    def judge(self, snapshot: Snapshot) -> Rollout:
        """The worst Deployment decides; all problems of all new pods are reported."""
        if not snapshot.deployments:
            return Rollout(Phase.PROGRESSING, "waiting for the Deployment")
        pods = tuple(pod for deployment in snapshot.deployments for pod in _new_pods(snapshot, deployment))
        for pod in pods:
            self._first_seen.setdefault(pod.uid, pod)
        self._ran_well |= {(pod.name, c.name) for pod in pods for c in pod.containers if c.started and c.ready}
        problems = tuple(p for deployment in snapshot.deployments for p in self._problems(snapshot, deployment))
        summary = "; ".join(_summary(deployment) for deployment in snapshot.deployments)
        if problems:
            return Rollout(Phase.FAILED, summary, pods, problems)
        complete = all(_complete(deployment) for deployment in snapshot.deployments)
        return Rollout(Phase.COMPLETE if complete else Phase.PROGRESSING, summary, pods)

    def _problems(self, snapshot: Snapshot, deployment: DeploymentState) -> list[PodProblem]:
        if not _observed(deployment):
            return []
        pods = [pod for pod in _new_pods(snapshot, deployment) if not pod.terminating]
        problems = [
            *self._refusals(snapshot, deployment),
            *(p for pod in pods for c in (*pod.init_containers, *pod.containers) if (p := self._broken(pod, c))),
            *(p for pod in pods if not self._as_found(pod) and (p := _told_by_events(pod, snapshot.events))),
            *(p for pod in pods if (p := self._without_room(snapshot, pod))),
            *(p for pod in pods if (p := self._wrong_image(pod))),
        ]
        if not problems and deployment.deadline_exceeded:
            return [_deadline_problem(deployment, pods)]
        return problems

    def _broken(self, pod: PodState, container: ContainerState) -> PodProblem | None:
        where = f"pod {pod.name}, container {container.name}"

        def problem(cause: Cause, message: str) -> PodProblem:
            return PodProblem(cause, where, message, pod.name, container.name)

        if _image_is_missing(container):
            return problem(Cause.IMAGE_MISSING, container.waiting_message or container.waiting_reason)
        if container.waiting_reason in _CONFIG_REASONS:
            return problem(Cause.CONFIG_MISSING, container.waiting_message or container.waiting_reason)
        if "OOMKilled" in (container.last_terminated_reason, container.terminated_reason) and not container.ready:
            return problem(Cause.OUT_OF_MEMORY, f"killed for its memory, {container.restarts} restarts")
        looping = container.waiting_reason == "CrashLoopBackOff" or container.restarts >= _SURE_RESTARTS
        if not looping or container.ready:
            return None
        code = container.last_exit_code if container.last_exit_code is not None else container.exit_code
        cause = Cause.CRASH_LOOP if (pod.name, container.name) in self._ran_well else Cause.CRASH_AT_START
        return problem(cause, f"ended with exit code {code}, {container.restarts} restarts")

    def _refusals(self, snapshot: Snapshot, deployment: DeploymentState) -> list[PodProblem]:
        """Pods that may not be made at all."""
        problems = []
        for each in _new_replica_sets(snapshot, deployment):
            cause = cause_of_refusal(each.failure)
            if not each.failure or "error looking up service account" in each.failure:
                continue  # the second: a new ServiceAccount that the admission's cache doesn't know yet
            if cause is Cause.QUOTA and not self._lasts(snapshot, each.uid):
                continue
            problems.append(PodProblem(cause, f"ReplicaSet {each.name}", each.failure))
        return problems

    def _without_room(self, snapshot: Snapshot, pod: PodState) -> PodProblem | None:
        if not pod.unschedulable:
            self._lacking_since.pop(pod.uid, None)
            return None
        if any(event.uid == pod.uid and event.reason == _SCALING_UP for event in snapshot.events):
            return None
        if not self._lasts(snapshot, pod.uid):
            return None
        return PodProblem(_cause_of_no_room(pod.unschedulable), f"pod {pod.name}", pod.unschedulable, pod.name)

    def _lasts(self, snapshot: Snapshot, uid: str) -> bool:
        """The lack that `uid` has, has lasted while no pod was leaving."""
        if any(pod.terminating for pod in snapshot.pods):
            self._lacking_since[uid] = snapshot.at_seconds
        since = self._lacking_since.setdefault(uid, snapshot.at_seconds)
        return snapshot.at_seconds - since >= _SURE_LACK_SECONDS

    def _as_found(self, pod: PodState) -> bool:
        """It was ready when it was first seen, as pods are that a rollback returns to, and hasn't been restarted since:
        what events tell of it is of an earlier time."""
        first = self._first_seen[pod.uid]
        return first.ready and first.restarts == pod.restarts

    def _wrong_image(self, pod: PodState) -> PodProblem | None:
        """No container of the pod runs the image that was built. Names of pulled manifests can't be compared."""
        ids = [c.image_id for c in pod.containers]
        if self._image is None or not self._image.id or not ids or not all(ids):
            return None
        if self._image.is_one_of(ids) or (not self._image.digest and any("@" in each for each in ids)):
            return None
        message = f"runs {', '.join(ids)}, not {self._image.ref} ({self._image.digest or self._image.id})"
        return PodProblem(Cause.IMAGE_WRONG, f"pod {pod.name}", message, pod.name)


def cause_of_refusal(text: str) -> Cause:
    """Why the API server or a controller refused an object, from its message."""
    for cause, signs in _REFUSALS.items():
        if any(sign in text for sign in signs):
            return cause
    return Cause.REFUSED


# In the order of precedence: the API server says "forbidden" of quotas, too.
_REFUSALS = {
    Cause.HOOK_FAILED: ("hooks failed", "failed pre-install", "failed post-install", "warning: Hook "),
    Cause.IMMUTABLE_FIELD: ("field is immutable", "is immutable after creation"),
    Cause.PORT_TAKEN: ("port is already allocated",),
    Cause.QUOTA: ("exceeded quota",),
    Cause.FORBIDDEN: ("violates PodSecurity", "admission webhook", "denied the request", "denied request", "forbidden"),
    Cause.TIMEOUT: ("timed out", "context deadline exceeded"),
}


def _image_is_missing(container: ContainerState) -> bool:
    if container.waiting_reason in _IMAGE_REASONS:
        return True
    answer = container.waiting_message
    return container.waiting_reason == "ErrImagePull" and any(final in answer for final in _FINAL_PULL_ANSWERS)


def _told_by_events(pod: PodState, events: tuple[ObjectEvent, ...]) -> PodProblem | None:
    """What only Events say: why kubelet killed a container, and which volume can't be mounted."""
    container = next((c.name for c in pod.containers if not c.ready), "")
    for event in events:
        if event.uid != pod.uid:
            continue
        if event.reason == "Killing" and "failed liveness probe" in event.message:
            return PodProblem(Cause.LIVENESS_KILL, f"pod {pod.name}", event.message, pod.name, container)
        if event.reason == "Killing" and "failed startup probe" in event.message:
            return PodProblem(Cause.NEVER_READY, f"pod {pod.name}", event.message, pod.name, container)
        if event.reason == "FailedMount" and "not found" in event.message:
            return PodProblem(Cause.CONFIG_MISSING, f"pod {pod.name}", event.message, pod.name)
    return None


def _cause_of_no_room(message: str) -> Cause:
    if "Insufficient cpu" in message:
        return Cause.UNSCHEDULABLE_CPU
    if "Insufficient memory" in message:
        return Cause.UNSCHEDULABLE_MEMORY
    if any(sign in message for sign in ("affinity", "node selector", "untolerated taint", "topology spread")):
        return Cause.UNSCHEDULABLE_AFFINITY
    if "free ports" in message:
        return Cause.PORT_TAKEN
    return Cause.UNSCHEDULABLE


def _observed(deployment: DeploymentState) -> bool:
    return deployment.observed_generation >= deployment.generation


def _complete(deployment: DeploymentState) -> bool:
    return (
        _observed(deployment)
        and deployment.updated >= deployment.desired
        and deployment.replicas <= deployment.updated
        and deployment.available >= deployment.updated
    )


def _summary(deployment: DeploymentState) -> str:
    if not _observed(deployment):
        return f"{deployment.name}: waiting for the controller to see the change"
    old = deployment.replicas - deployment.updated
    text = f"{deployment.name}: {deployment.updated} of {deployment.desired} updated, {deployment.available} available"
    return f"{text}, {old} old to go" if old > 0 else text


def _new_pods(snapshot: Snapshot, deployment: DeploymentState) -> tuple[PodState, ...]:
    """Pods of the Deployment's current ReplicaSet: the one that carries the Deployment's revision number."""
    if not _observed(deployment):
        return ()
    uids = {rs.uid for rs in _new_replica_sets(snapshot, deployment)}
    return tuple(sorted((pod for pod in snapshot.pods if pod.owner_uid in uids), key=lambda pod: pod.name))


def _new_replica_sets(snapshot: Snapshot, deployment: DeploymentState) -> list[ReplicaSetState]:
    return [
        rs
        for rs in snapshot.replica_sets
        if rs.revision == deployment.revision and rs.name.startswith(deployment.name + "-")
    ]


def _deadline_problem(deployment: DeploymentState, pods: list[PodState]) -> PodProblem:
    unready = next((pod for pod in pods if not pod.ready), None)
    if unready is None:
        return PodProblem(Cause.TIMEOUT, f"Deployment {deployment.name}", deployment.deadline_exceeded)
    if unready.unschedulable:
        cause = _cause_of_no_room(unready.unschedulable)
        return PodProblem(cause, f"pod {unready.name}", unready.unschedulable, unready.name)
    container = next((c.name for c in unready.containers if not c.ready), "")
    return PodProblem(
        Cause.NEVER_READY,
        f"pod {unready.name}",
        f"{unready.progress}, but not ready within the progress deadline",
        unready.name,
        container,
    )
