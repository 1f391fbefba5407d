"""More load, more pods; less load, fewer."""

from __future__ import annotations

from releaser.flows.experiments.recording import ready_pods
from releaser.flows.experiments.trial import Experiment, NoSteadyState, Skipped, Trial, all_ready
from releaser.flows.restore import repair
from releaser.verification import Autoscaler, Measurement, Promise, lost

_RATE_PER_SECOND = 40.0
_MORE_PODS = 2
# Of the CPU that the pods request: little, so that a small load is much.
_CPU_PERCENT = 30
# The metrics are up to a minute old, the HPA looks every 15 s.
_METRICS_SECONDS = 180.0


def autoscale(trial: Trial) -> list[Measurement]:
    autoscalers = trial.hands.autoscalers
    if not autoscalers.metrics_answer():
        raise Skipped("the metrics API isn't served; `releaser up` enables it in the local cluster")
    before = len(trial.pods())
    scaler = _scaler(trial, before)
    goal = min(before + _MORE_PODS, scaler.maximum) if not trial.workload.autoscaler else before + 1
    if scaler.maximum <= before:
        raise Skipped(f"there are {before} pods, and the HPA {scaler.name} makes no more")

    def wanted() -> int:
        found = autoscalers.read(trial.namespace, scaler.name)
        if found is not None and found.trouble:
            trial.say(found.trouble)
        return found.wanted if found else 0

    start = trial.workload.start_seconds
    with trial.requests(_RATE_PER_SECOND) as sent:
        trial.mark(f"{_RATE_PER_SECOND:.0f} requests a second")
        first = trial.until("waiting for the HPA to want more pods", lambda: wanted() > before, _METRICS_SECONDS)
        trial.mark(f"{wanted()} pods wanted")
        ready = trial.await_pods(lambda snapshot: ready_pods(snapshot) >= goal, _METRICS_SECONDS + start)
        trial.mark(f"{goal} pods ready" if ready is not None else f"not {goal} pods ready")
    trial.mark("no more requests")
    trial.say("waiting for the HPA to take pods away")
    down = trial.await_pods(
        lambda snapshot: all_ready(snapshot, before),
        scaler.down_after_seconds + _METRICS_SECONDS + trial.workload.grace_seconds,
    )
    trial.mark(f"{before} pods again" if down is not None else f"not {before} pods again")
    scaled = None if first is None or ready is None else first + ready
    return [
        Measurement("more pods wanted", first, "s", at_most=_METRICS_SECONDS),
        Measurement(f"{goal} pods ready", scaled, "s", at_most=2 * _METRICS_SECONDS + start),
        Measurement(f"{before} pods again", down, "s", at_most=scaler.down_after_seconds + _METRICS_SECONDS + 60),
        *lost(sent.receipt, at_most=0),
    ]


def _scaler(trial: Trial, before: int) -> Autoscaler:
    """The release's own HPA, or one for this experiment."""
    autoscalers, namespace = trial.hands.autoscalers, trial.namespace
    name = trial.workload.autoscaler
    if not name:
        trial.afterwards("number of pods", lambda: _restore(trial))
        trial.afterwards("HPA", lambda: _remove(trial))
        trial.target.still_ours()
        name = autoscalers.create(
            namespace, trial.release, trial.workload.deployment, before, before + _MORE_PODS, _CPU_PERCENT
        )
        trial.mark(f"HPA {name} made: {before} to {before + _MORE_PODS} pods, {_CPU_PERCENT} % CPU")
    scaler = autoscalers.read(namespace, name)
    if scaler is None:
        raise NoSteadyState(f"the HPA {name} isn't there")
    return scaler


def _remove(trial: Trial) -> None:
    trial.hands.autoscalers.sweep(trial.namespace, trial.release)


def _restore(trial: Trial) -> None:
    trial.home.still_ours()
    repair(trial.home, trial.home.live, trial.manifest)


AUTOSCALE = Experiment(
    Promise(
        "autoscale",
        "Under load the HPA adds pods by the real metrics API, and takes them away again when the load is over.",
        f"More pods are wanted within {_METRICS_SECONDS:.0f} s of {_RATE_PER_SECOND:.0f} requests a second and become "
        f"ready; after the load there are as many as before within {_METRICS_SECONDS:.0f} s more than the HPA holds "
        "still; no request is lost. Where the release has no HPA, one is made for the time being.",
        about_seconds=300,
    ),
    autoscale,
)
