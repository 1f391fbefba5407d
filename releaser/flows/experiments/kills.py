"""A pod goes: deleted, its process killed, or stuck until the kubelet kills it. Does it come back, and who notices?"""

from __future__ import annotations

from releaser.flows.experiments.recording import ready_pods, served
from releaser.flows.experiments.trial import Experiment, NoSteadyState, Skipped, Trial, all_ready
from releaser.models import PodState, Receipt, Snapshot
from releaser.verification import Measurement, Promise, lost

# What the kubelet, the scheduler and the endpoints' controller may take between one thing and the next.
_SLACK_SECONDS = 15.0
# So long a dead pod's address may stay in the rules of nodes: the kubelet looks for ended containers every second; it
# tells the API server, and from there it goes to the EndpointSlice and to kube-proxy, which writes once a second.
_UNNOTICED_SECONDS = 5.0
# The other pods serve on: so long there may be no answer at all.
_GAP_SECONDS = 2.0


def pod_delete(trial: Trial) -> list[Measurement]:
    before = trial.pods()
    victim = trial.a_pod()
    deadline = trial.workload.start_seconds + trial.workload.grace_seconds + _SLACK_SECONDS
    with trial.requests() as sent:
        trial.target.still_ours()
        trial.mark(f"pod {victim.name} deleted")
        began = trial.now()
        trial.target.cluster.remove_pod(trial.namespace, victim.name)

        def replaced(snapshot: Snapshot) -> bool:
            return victim.name not in _names(snapshot) and ready_pods(snapshot) >= len(before)

        ready = trial.since(began, trial.await_pods(replaced, deadline))
        trial.mark("another one is ready" if ready is not None else "no other one is ready")
        trial.await_pods(lambda snapshot: all_ready(snapshot, len(before)), deadline)
    return [
        Measurement("ready again", ready, "s", at_most=trial.workload.start_seconds + _SLACK_SECONDS),
        *lost(sent.receipt, at_most=0 if len(before) > 1 else None),
    ]


def process_kill(trial: Trial) -> list[Measurement]:
    trial.require_machines()
    before = trial.pods()
    victim = trial.a_pod()
    with trial.requests() as sent:
        trial.target.still_ours()
        trial.mark(f"process 1 of {victim.name} killed")
        began = trial.now()
        trial.hands.machines.kill_first_process(victim, trial.workload.container)
        deadline = trial.workload.start_seconds + _SLACK_SECONDS
        ready = trial.since(began, trial.await_pods(lambda snapshot: _restarted(snapshot, victim), deadline))
        trial.mark("ready again" if ready is not None else "not ready again")
    share = trial.rate_per_second / len(before)
    return [
        Measurement("ready again", ready, "s", at_most=trial.workload.start_seconds + _SLACK_SECONDS),
        elsewhere(trial, before, victim),
        *_served_on(sent.receipt, len(before)),
        *lost(sent.receipt, at_most=share * _UNNOTICED_SECONDS if len(before) > 1 else None),
    ]


def liveness_kill(trial: Trial) -> list[Measurement]:
    trial.require_machines()
    workload = trial.workload
    if workload.liveness is None:
        raise Skipped("the pods have no liveness probe")
    before = trial.pods()
    victim = trial.a_pod()
    allowed = workload.liveness.longest_seconds + workload.grace_seconds + workload.start_seconds + _SLACK_SECONDS
    trial.afterwards("stopped processes", lambda: _thaw(trial, victim))
    with trial.requests() as sent:
        trial.target.still_ours()
        trial.mark(f"every process of {victim.name} stopped")
        began = trial.now()
        if not trial.hands.machines.freeze(victim, workload.container):
            raise NoSteadyState(f"pod {victim.name} has no process that could be stopped")
        unready = trial.since(began, trial.await_pods(lambda snapshot: not _is_ready(snapshot, victim), allowed))
        trial.mark("the pod gets no more requests" if unready is not None else "the pod still gets requests")
        back = trial.since(began, trial.await_pods(lambda snapshot: _restarted(snapshot, victim), allowed))
        trial.mark("ready again" if back is not None else "not ready again")
    share = trial.rate_per_second / len(before)
    most = share * (workload.unseen_seconds + _UNNOTICED_SECONDS)
    return [
        Measurement("out of the Service", unready, "s", at_most=workload.unseen_seconds + _UNNOTICED_SECONDS),
        Measurement("ready again", back, "s", at_most=allowed),
        elsewhere(trial, before, victim),
        *_served_on(sent.receipt, len(before)),
        *lost(sent.receipt, at_most=most if len(before) > 1 and workload.readiness else None),
    ]


def _served_on(receipt: Receipt, pods: int) -> list[Measurement]:
    """With other pods there the service as a whole goes on answering."""
    most = _GAP_SECONDS if pods > 1 else None
    return [Measurement("longest time without an answer", receipt.longest_gap_seconds, "s", at_most=most)]


def _thaw(trial: Trial, victim: PodState) -> None:
    trial.hands.machines.thaw([victim])


def _names(snapshot: Snapshot) -> set[str]:
    return {pod.name for pod in served(snapshot)}


def _is_ready(snapshot: Snapshot, pod: PodState) -> bool:
    return any(each.uid == pod.uid and each.ready for each in snapshot.pods)


def _restarted(snapshot: Snapshot, pod: PodState) -> bool:
    """The very pod, with a new container, is ready."""
    return any(each.uid == pod.uid and each.restarts > pod.restarts and each.ready for each in snapshot.pods)


def elsewhere(trial: Trial, before: tuple[PodState, ...], victim: PodState) -> Measurement:
    """The others were left alone: as many restarts as before, and none is another one."""
    now = {pod.uid: pod.restarts for pod in trial.home.cluster.pods(trial.namespace, trial.release)}
    touched = sum(now.get(pod.uid) != pod.restarts for pod in before if pod.uid != victim.uid)
    return Measurement("other pods restarted", touched, at_most=0)


POD_DELETE = Experiment(
    Promise(
        "pod-delete",
        "A pod that is deleted is replaced, and no client notices.",
        "Another pod is ready within what its startup probe allows, and no request is lost (with two pods or more).",
        about_seconds=25,
    ),
    pod_delete,
)
PROCESS_KILL = Experiment(
    Promise(
        "process-kill",
        "A process that dies is started anew in its pod; the other pods serve on.",
        "The pod is ready again within what its startup probe allows and no other pod restarts. With two pods or more "
        f"there is never no answer for {_GAP_SECONDS:.0f} s, and no more requests are lost than one pod gets in "
        f"{_UNNOTICED_SECONDS:.0f} s: until every node knows of its end, connections to it are refused.",
        about_seconds=20,
    ),
    process_kill,
)
LIVENESS_KILL = Experiment(
    Promise(
        "liveness-kill",
        "A process that hangs is taken out of the Service by its readiness probe and killed by its liveness probe.",
        "Out of the Service, and ready again, within what the probes' periods and thresholds, the grace period and the "
        "startup probe add up to. With two pods or more there is never no answer for "
        f"{_GAP_SECONDS:.0f} s, and no more requests are lost than one pod gets until its readiness probe has failed.",
        about_seconds=90,
    ),
    liveness_kill,
)
