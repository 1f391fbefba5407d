"""What flows need of the outside, each as few methods as will do. cli wires the adapters that satisfy them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from releaser.ledger import HelmRevision
from releaser.models import Image, PodState, Receipt, Snapshot, TestRun, Values


class Records(Protocol):
    """The labels on Helm's records."""

    def revision_labels(self, namespace: str, release: str) -> Mapping[int, Mapping[str, str]]: ...

    def label_revision(self, namespace: str, release: str, number: int, labels: Mapping[str, str]) -> None: ...


class Cluster(Records, Protocol):
    context: str

    def version(self) -> str: ...

    def node_port_holder(self, port: int) -> tuple[str, str] | None: ...

    def service_url(self, namespace: str, release: str) -> str: ...

    def service_name(self, namespace: str, release: str) -> str: ...

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]: ...

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str: ...

    def follow_log(self, namespace: str, pod: str, container: str, lines: int) -> Iterator[str]: ...

    def snapshots(self, namespace: str, release: str, deadline_seconds: float) -> Iterator[Snapshot]: ...


class History(Protocol):
    def history(self, release: str, namespace: str) -> tuple[HelmRevision, ...]: ...


class Helm(History, Protocol):
    def upgrade(self, release: str, namespace: str, chart: Path, values: Values, labels: Mapping[str, str]) -> int: ...

    def rollback(self, release: str, namespace: str, number: int) -> None: ...

    def uninstall(self, release: str, namespace: str) -> None: ...

    def test(self, release: str, namespace: str, deadline_seconds: float) -> TestRun: ...


class Images(Protocol):
    def identify(self, repository: str, version: str, dockerfile: Path) -> Image: ...

    def build(
        self, image: Image, dockerfile: Path, labels: dict[str, str], on_line: Callable[[str], None] = ...
    ) -> Image: ...


class Node(Protocol):
    @property
    def target(self) -> str: ...

    def image_id(self, ref: str) -> str: ...

    def load(self, image: Image) -> None: ...

    def tag(self, image: Image, ref: str) -> None: ...


class Probing(Protocol):
    """Requests that are being sent; once the context has ended, those that were."""

    @property
    def receipt(self) -> Receipt:
        """The newest known; after the end the final one."""

    @property
    def trouble(self) -> str:
        """Why the receipt doesn't cover the whole time; empty when it does."""


class Prober(Protocol):
    def probe(
        self, namespace: str, service: str, image: str, rate_per_second: float, path: str
    ) -> AbstractContextManager[Probing]:
        """Ask the service until the context ends. Raises EnvironmentUnfit when no request can be sent at all."""
