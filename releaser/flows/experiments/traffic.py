"""Who gets the requests."""

from __future__ import annotations

from releaser.chisquare import chi_square
from releaser.flows.experiments.trial import Experiment, Skipped, Trial
from releaser.verification import Measurement, Promise, lost

_RATE_PER_SECOND = 100.0
_SECONDS = 3.0
# So unlikely counts come about once in a thousand fair runs.
_SIGNIFICANCE = 0.001


def load_spread(trial: Trial) -> list[Measurement]:
    pods = [pod.name for pod in trial.pods()]
    if len(pods) < 2:
        raise Skipped("there is only one pod to send requests to")
    with trial.requests(_RATE_PER_SECOND) as sent:
        trial.mark(f"{_RATE_PER_SECOND:.0f} requests a second, each on a connection of its own")
        trial.rest(_SECONDS)
    answered = dict(sent.receipt.pods)
    if not answered:
        raise Skipped(f"answers at {trial.home.environment.probe.path} don't name the pod that gave them")
    counts = [answered.get(name, 0) for name in pods]
    statistic, chance = chi_square(counts)
    told = ", ".join(f"{name.rpartition('-')[2]} {count}" for name, count in zip(pods, counts, strict=True))
    return [
        Measurement("p-value", chance, at_least=_SIGNIFICANCE, note=f"chi-square {statistic:.2f}: {told}"),
        Measurement("pods without a request", counts.count(0), at_most=0),
        Measurement("answers of other pods", sum(answered.values()) - sum(counts), at_most=0),
        *lost(sent.receipt, at_most=0),
    ]


LOAD_SPREAD = Experiment(
    Promise(
        "load-spread",
        "New connections are spread evenly over the pods.",
        f"Pearson's chi-square test of the pods' counts against equal shares gives p >= {_SIGNIFICANCE:g}, only ready "
        "pods answer, and no request is lost.",
        about_seconds=12,
    ),
    load_spread,
)
