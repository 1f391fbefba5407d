"""What flows need of the outside, each as few methods as will do. cli wires the adapters that satisfy them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from releaser.lease import Lease
from releaser.ledger import HelmRevision
from releaser.models import Image, PodState, Snapshot, TestRun, Values


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


class Leases(Protocol):
    """Leases with optimistic concurrency: a write names the version that it is based on, and None says that somebody
    else wrote first. Raises EnvironmentUnfit when the answer is unknown; the write may have happened all the same."""

    def read(self, namespace: str, name: str) -> Lease | None: ...

    def waiters(self, namespace: str, release: str) -> tuple[Lease, ...]: ...

    def create(self, namespace: str, lease: Lease) -> Lease | None: ...

    def update(self, namespace: str, lease: Lease) -> Lease | None: ...

    def delete(self, namespace: str, name: str, version: str = "") -> None:
        """With a version: only if nobody wrote since. A Lease that isn't there is deleted already."""
