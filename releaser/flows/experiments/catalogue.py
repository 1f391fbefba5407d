"""Every experiment, in the order in which they run: those that only look first, those that take longest last."""

from __future__ import annotations

from collections.abc import Sequence

from releaser.errors import UsageError
from releaser.flows.experiments import (
    discovery,
    drain,
    isolation,
    kills,
    limits,
    runtimes,
    scaling,
    secrets,
    traffic,
    updates,
)
from releaser.flows.experiments.trial import Experiment
from releaser.located import did_you_mean

CATALOGUE: tuple[Experiment, ...] = (
    traffic.LOAD_SPREAD,
    discovery.DNS,
    secrets.SECRETS,
    isolation.NETWORK_POLICY,
    kills.POD_DELETE,
    kills.PROCESS_KILL,
    limits.RESOURCE_LIMITS,
    runtimes.RUNTIME_RESTART,
    updates.ROLLING_UPDATE,
    updates.CONFIG_CHANGE,
    updates.BAD_UPDATE,
    updates.ROLLBACK,
    kills.LIVENESS_KILL,
    drain.DRAIN,
    scaling.AUTOSCALE,
)


def choose(names: Sequence[str]) -> tuple[Experiment, ...]:
    """Those that are named, in the catalogue's order; all when none is. Raises UsageError."""
    known = {each.promise.name: each for each in CATALOGUE}
    for name in names:
        if name not in known:
            raise UsageError(
                f'Unknown experiment "{name}"{did_you_mean(name, known)}',
                hint=f"releaser verify ENV --list shows them: {', '.join(known)}",
            )
    return tuple(each for name, each in known.items() if name in names or not names)
