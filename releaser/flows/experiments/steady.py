"""The steady state that each experiment begins from: rolled out, every pod ready, none leaving, and it answers."""

from __future__ import annotations

from releaser.flows.experiments.recording import served
from releaser.flows.experiments.trial import NoSteadyState, Trial
from releaser.models import Phase, Snapshot, Verdict
from releaser.rollout import Judge

# What pods may take to be at rest again after they were disturbed.
_STEADY_SECONDS = 120.0
_ANSWER_SECONDS = 1.0


def require_steady(trial: Trial) -> None:
    """Raises NoSteadyState, which says what isn't at rest."""
    trial.say("waiting for a steady state")
    if trial.standing.verdict is not Verdict.GOOD:
        raise NoSteadyState(f"revision {trial.standing.number} is {trial.standing.verdict}")
    judge = Judge()
    said = "nothing is known of its pods"

    def holds(snapshot: Snapshot) -> bool:
        nonlocal said
        rollout = judge.judge(snapshot)
        pods = served(snapshot)
        ready = sum(pod.ready for pod in pods)
        leaving = sum(bool(pod.owner_uid) and pod.terminating for pod in snapshot.pods)
        said = f"{rollout.summary}; {ready} of {len(pods)} pods ready, {leaving} leaving"
        complete = len(pods) == ready == sum(each.desired for each in snapshot.deployments) > 0
        return rollout.phase is Phase.COMPLETE and complete and not leaving

    if trial.await_pods(holds, _STEADY_SECONDS) is None:
        raise NoSteadyState(said)
    _require_answers(trial)


def _require_answers(trial: Trial) -> None:
    home = trial.home
    service = home.cluster.service_name(home.namespace, home.release)
    if not service:
        return
    path = home.environment.probe.path
    with home.prober.probe(home.namespace, service, trial.workload.image, trial.rate_per_second, path) as probing:
        trial.rest(_ANSWER_SECONDS)
    trial.budget.close(probing.receipt.failed)
    if probing.receipt.failed or not probing.receipt.sent:
        raise NoSteadyState(f"the service doesn't answer every request: {probing.receipt.line}")
