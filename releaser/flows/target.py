"""What a flow works on: one release in one environment, and the hands for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from releaser.flows.ports import Cluster, Helm, Images, Incidents, Leases, Live, Prober, Store
from releaser.lint.subject import Charts
from releaser.models import Reporter, Source
from releaser.settings import Environment


def _nothing() -> None:
    """Nobody else may work here anyway."""


@dataclass(frozen=True)
class Target:
    """One release in one environment, and the hands to work on it.

    `still_ours` raises when the lock was lost: it is asked before each change.
    """

    release: str
    environment: Environment
    source: Source
    helm: Helm
    cluster: Cluster
    live: Live
    leases: Leases
    prober: Prober
    incidents: Incidents
    reporter: Reporter
    still_ours: Callable[[], None] = _nothing

    @property
    def namespace(self) -> str:
        return self.environment.namespace


@dataclass(frozen=True)
class Workshop:
    """Where the image comes from and goes to."""

    charts: Charts
    images: Images
    store: Store
