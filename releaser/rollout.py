"""Judges a rollout: snapshot in, verdict out. Pure: no I/O, no clock.

The rule of completion is kubectl's (`kubectl rollout status`, polymorphichelpers/rollout_status.go); the signs of
failure are those that no amount of waiting mends.
"""

from __future__ import annotations

from releaser.models import (
    Cause,
    ContainerState,
    DeploymentState,
    Phase,
    PodProblem,
    PodState,
    ReplicaSetState,
    Rollout,
    Snapshot,
)

_IMAGE_REASONS = {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_CONFIG_REASONS = {"CreateContainerConfigError"}
# One crash may be bad luck, two in a row are not: kubelet restarts the first at once.
_SURE_RESTARTS = 2


def judge(snapshot: Snapshot) -> Rollout:
    """The worst Deployment decides; all problems of all new pods are reported."""
    if not snapshot.deployments:
        return Rollout(Phase.PROGRESSING, "waiting for the Deployment")
    pods = tuple(pod for deployment in snapshot.deployments for pod in _new_pods(snapshot, deployment))
    problems = tuple(problem for deployment in snapshot.deployments for problem in _problems(snapshot, deployment))
    summary = "; ".join(_summary(deployment) for deployment in snapshot.deployments)
    if problems:
        return Rollout(Phase.FAILED, summary, pods, problems)
    complete = all(_complete(deployment) for deployment in snapshot.deployments)
    return Rollout(Phase.COMPLETE if complete else Phase.PROGRESSING, summary, pods)


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


def _problems(snapshot: Snapshot, deployment: DeploymentState) -> list[PodProblem]:
    if not _observed(deployment):
        return []
    problems = [
        PodProblem(Cause.FORBIDDEN, f"ReplicaSet {rs.name}", rs.failure)
        for rs in _new_replica_sets(snapshot, deployment)
        if rs.failure
    ]
    pods = _new_pods(snapshot, deployment)
    problems += [
        problem
        for pod in pods
        if not pod.terminating
        for container in pod.containers
        if (problem := _container_problem(pod, container))
    ]
    if not problems and deployment.deadline_exceeded:
        problems.append(_deadline_problem(deployment, pods))
    return problems


def _container_problem(pod: PodState, container: ContainerState) -> PodProblem | None:
    where = f"pod {pod.name}, container {container.name}"

    def problem(cause: Cause, message: str) -> PodProblem:
        return PodProblem(cause, where, message, pod.name, container.name)

    if container.waiting_reason in _IMAGE_REASONS:
        return problem(Cause.IMAGE_MISSING, container.waiting_message or container.waiting_reason)
    if container.waiting_reason in _CONFIG_REASONS:
        return problem(Cause.CONFIG_MISSING, container.waiting_message or container.waiting_reason)
    looping = container.waiting_reason == "CrashLoopBackOff" or container.restarts >= _SURE_RESTARTS
    if not looping or container.ready:
        return None
    reason = container.last_terminated_reason or container.terminated_reason
    if reason == "OOMKilled":
        return problem(Cause.OUT_OF_MEMORY, f"killed for its memory, {container.restarts} restarts")
    code = container.last_exit_code if container.last_exit_code is not None else container.exit_code
    return problem(Cause.CRASH_AT_START, f"ended with exit code {code}, {container.restarts} restarts")


def _deadline_problem(deployment: DeploymentState, pods: tuple[PodState, ...]) -> PodProblem:
    unready = next((pod for pod in pods if not pod.ready and not pod.terminating), None)
    if unready is None:
        return PodProblem(Cause.TIMEOUT, f"Deployment {deployment.name}", deployment.deadline_exceeded)
    if unready.unschedulable:
        return PodProblem(Cause.UNSCHEDULABLE, f"pod {unready.name}", unready.unschedulable, unready.name)
    container = next((c.name for c in unready.containers if not c.ready), "")
    return PodProblem(
        Cause.NEVER_READY,
        f"pod {unready.name}",
        f"{unready.progress}, but not ready within the progress deadline",
        unready.name,
        container,
    )
