"""A node is emptied of the release's pods, as before its maintenance."""

from __future__ import annotations

from collections import Counter

from releaser.flows.experiments.recording import served
from releaser.flows.experiments.trial import Experiment, Skipped, Trial, all_ready
from releaser.models import Snapshot
from releaser.verification import Measurement, Promise, exactly, lost

# What eviction, scheduler and kubelet may take besides the pods' own times.
_SLACK_SECONDS = 30.0


def drain(trial: Trial) -> list[Measurement]:
    nodes = trial.hands.nodes
    before = trial.pods()
    if len(nodes.schedulable()) < 2:
        raise Skipped("only one node takes pods; a local Minikube gets another by releaser up --nodes 2")
    budget = nodes.disruption_budget(trial.namespace, trial.release)
    if budget is None:
        raise Skipped("the release has no PodDisruptionBudget: a drain may take all of its pods at once")
    [(node, _)] = Counter(pod.node for pod in before).most_common(1)
    workload = trial.workload
    # the budget lets them go one after the other
    allowed = (workload.start_seconds + workload.grace_seconds) * len(before) + _SLACK_SECONDS
    trial.afterwards(f"cordoned node {node}", lambda: nodes.uncordon(node))
    with trial.requests() as sent:
        trial.target.still_ours()
        nodes.cordon(node, trial.namespace, trial.release)
        trial.mark(f"node {node} cordoned")
        began = len(trial.recording.timeline.pods)
        eviction = _Eviction(trial, node)
        evicted = trial.until(f"the pods of {node} evicted", eviction.go_on, allowed)
        moved = trial.await_pods(lambda snapshot: _elsewhere(snapshot, node, len(before)), allowed)
        trial.mark("all pods are ready elsewhere" if moved is not None else "not all pods are ready elsewhere")
    ready = [len(before), *(sample.ready for sample in trial.recording.timeline.pods[began:])]
    return [
        Measurement("fewest ready pods", min(ready), at_least=budget.desired, note=f"{budget.name}, of {len(before)}"),
        Measurement(
            "ready on other nodes", None if evicted is None or moved is None else evicted + moved, "s", at_most=allowed
        ),
        exactly("left on the node", len([pod for pod in trial.pods() if pod.node == node]), 0, note=node),
        Measurement("evictions", len(eviction.accepted), at_least=1),
        *eviction.judged,
        *lost(sent.receipt, at_most=0),
    ]


class _Eviction:
    """Of the release's pods on one node, and of no others: each is asked for again until the budget lets it go."""

    def __init__(self, trial: Trial, node: str) -> None:
        self._trial, self._node = trial, node
        self.accepted: set[str] = set()
        self._refused = 0
        self._beyond: list[bool] = []

    def go_on(self) -> bool:
        """Evict what may go now; whether nothing is left to evict."""
        trial, nodes = self._trial, self._trial.hands.nodes
        waiting = [pod for pod in trial.pods() if pod.node == self._node and pod.name not in self.accepted]
        for pod in waiting:
            trial.target.still_ours()
            if not nodes.evict(trial.namespace, pod.name):
                self._refused += 1
                continue
            trial.mark(f"pod {pod.name} evicted")
            self.accepted.add(pod.name)
            self._ask_beyond()
        return not waiting

    @property
    def judged(self) -> list[Measurement]:
        """Whether the budget refuses: where its last disruption was taken, the next one was asked for in a dry run."""
        informs = Measurement("evictions put off by the budget", self._refused)
        if not self._beyond:
            return [informs]
        return [informs, exactly("evictions beyond the budget accepted", sum(self._beyond), 0, note="dry run")]

    def _ask_beyond(self) -> None:
        trial, nodes = self._trial, self._trial.hands.nodes
        budget = nodes.disruption_budget(trial.namespace, trial.release)
        others = [pod for pod in trial.pods() if pod.name not in self.accepted]
        if budget is not None and budget.allowed == 0 and others:
            self._beyond.append(nodes.evict(trial.namespace, others[0].name, dry_run=True))


def _elsewhere(snapshot: Snapshot, node: str, number: int) -> bool:
    return all_ready(snapshot, number) and all(pod.node != node for pod in served(snapshot))


DRAIN = Experiment(
    Promise(
        "drain",
        "A node can be emptied for its maintenance: the PodDisruptionBudget is respected, and nobody notices.",
        "While the release's pods are evicted from one node there are never fewer ready than the budget wants; an "
        "eviction beyond the budget is refused; all pods are ready on other nodes in the end; no request is lost.",
        about_seconds=45,
    ),
    drain,
)
