"""The container runtime below the pods is restarted."""

from __future__ import annotations

from releaser.flows.experiments.trial import Experiment, Trial
from releaser.verification import Measurement, Promise, lost

_BACK_SECONDS = 60.0
# The kubelet asks the runtime what it knows, a little later.
_SETTLE_SECONDS = 5.0


def runtime_restart(trial: Trial) -> list[Measurement]:
    trial.require_machines()
    before = {pod.uid: pod.restarts for pod in trial.pods()}
    node = trial.a_pod().node
    with trial.requests() as sent:
        trial.mark(f"container runtime of {node} restarted")
        trial.target.still_ours()
        started = trial.now()
        trial.hands.machines.restart_runtime(node)
        took = trial.now() - started
        trial.mark("it answers again")
        trial.rest(_SETTLE_SECONDS)
    now = {pod.uid: pod.restarts for pod in trial.home.cluster.pods(trial.namespace, trial.release)}
    touched = sum(now.get(uid) != restarts for uid, restarts in before.items())
    return [
        Measurement("runtime answers again", took, "s", at_most=_BACK_SECONDS),
        Measurement("pods restarted or gone", touched, at_most=0),
        *lost(sent.receipt, at_most=0),
    ]


RUNTIME_RESTART = Experiment(
    Promise(
        "runtime-restart",
        "Pods outlive a restart of their node's container runtime.",
        f"It answers again within {_BACK_SECONDS:.0f} s, no pod is restarted or replaced, and no request is lost.",
        about_seconds=20,
    ),
    runtime_restart,
)
