"""What flows need of the outside, each as few methods as will do. cli wires the adapters that satisfy them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from releaser.incident import Incident
from releaser.lease import Lease
from releaser.ledger import HelmRevision
from releaser.models import Image, ObjectEvent, PodState, Receipt, Sent, Snapshot, TestRun, Values
from releaser.objects import Body, Comparison, KubeObject, Prediction


class Records(Protocol):
    """The labels on Helm's records, and the ledger beside them."""

    def revision_labels(self, namespace: str, release: str) -> Mapping[int, Mapping[str, str]]: ...

    def label_revision(self, namespace: str, release: str, number: int, labels: Mapping[str, str]) -> None: ...

    def entries(self, namespace: str, release: str) -> Mapping[int, str]: ...

    def enter(self, namespace: str, release: str, number: int, text: str, known: Collection[int]) -> None: ...

    def close_ledger(self, namespace: str, release: str) -> None: ...


class Cluster(Records, Protocol):
    context: str

    def version(self) -> str: ...

    def node_port_holder(self, port: int) -> tuple[str, str] | None: ...

    def service_url(self, namespace: str, release: str) -> str: ...

    def service_name(self, namespace: str, release: str) -> str: ...

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]: ...

    def remove_pod(self, namespace: str, pod: str) -> None: ...

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str: ...

    def follow_log(self, namespace: str, pod: str, container: str, lines: int) -> Iterator[str]: ...

    def snapshots(self, namespace: str, release: str, deadline_seconds: float) -> Iterator[Snapshot]: ...

    def witnesses(self, namespace: str, release: str, since: datetime) -> tuple[PodState, ...]: ...

    def events(self, namespace: str, since: datetime) -> tuple[ObjectEvent, ...]: ...

    def images_named(self) -> set[str]:
        """Every image that a pod or ReplicaSet of any namespace names, as it is named there."""
        ...

    def await_settled(self, namespace: str, release: str, number: int, seconds: float) -> bool: ...


class Incidents(Protocol):
    """Where incidents are kept."""

    def save(self, incident: Incident, path: Path | None = None) -> Path: ...


class History(Protocol):
    def history(self, release: str, namespace: str) -> tuple[HelmRevision, ...]: ...


class Manifests(Protocol):
    """What a revision was made of."""

    def manifest(self, release: str, namespace: str, number: int) -> str: ...

    def values(self, release: str, namespace: str, number: int) -> Values: ...


class Helm(History, Manifests, Protocol):
    def render(self, release: str, namespace: str, chart: Path, values: Values) -> str: ...

    def upgrade(self, release: str, namespace: str, chart: Path, values: Values, labels: Mapping[str, str]) -> int: ...

    def rollback(self, release: str, namespace: str, number: int) -> None: ...

    def uninstall(self, release: str, namespace: str) -> None: ...

    def test(self, release: str, namespace: str, deadline_seconds: float) -> TestRun: ...


class Drafts(Protocol):
    """The chart tried out: no cluster, and other texts for some of its files."""

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str: ...


class Images(Protocol):
    def identify(self, repository: str, version: str, dockerfile: Path) -> Image: ...

    def build(
        self, image: Image, dockerfile: Path, labels: dict[str, str], on_line: Callable[[str], None] = ...
    ) -> Image: ...

    def sbom(self, image: Image) -> str: ...


class Store(Protocol):
    """Where pods get images from: the nodes themselves, or a registry."""

    pulled: bool
    """From a registry, by digest."""

    @property
    def target(self) -> str: ...

    def named(self, image: Image) -> Image:
        """As pods name it."""
        ...

    def pull_secrets(self, release: str) -> tuple[str, ...]:
        """Names of the Secrets that pods need for it."""
        ...

    def prepare(self, namespace: str, release: str) -> None:
        """See to it that those Secrets are there."""
        ...

    def clear(self, namespace: str, release: str) -> None:
        """Take away what `prepare` made."""
        ...

    def image_ids(self, *refs: str) -> tuple[str, ...]:
        """Config digests that the tags resolve to; empty for one that isn't there."""
        ...

    def load(self, image: Image, on_progress: Callable[[str], None] = ...) -> Sent: ...

    def tag(self, image: Image, ref: str) -> None: ...


class Saves(Protocol):
    """What was saved in a directory since somebody began to look."""

    def wait(self) -> frozenset[Path]:
        """The files of the next save; of all that came together."""
        ...

    def pending(self) -> bool:
        """Whether `wait` would return at once."""
        ...


class Containers(Protocol):
    """Running containers as places for files."""

    def write(
        self, namespace: str, release: str, directory: str, files: Mapping[str, bytes | None], path: str
    ) -> tuple[str, ...]:
        """Write the files (None: remove) into the directory in each of the release's pods, and wait until every pod
        answers with them at `path`; the pods' names. Raises EnvironmentUnfit."""
        ...


class Shelf(Protocol):
    """Where images are kept under their tags."""

    @property
    def target(self) -> str: ...

    def refs(self, repository: str) -> tuple[str, ...]:
        """REPOSITORY:TAG of all that there are."""
        ...

    def remove(self, ref: str) -> bool:
        """Take the tag away, and with its last one the image; False when something that runs holds it."""
        ...

    def sweep(self) -> None:
        """Drop what transfers that broke off have left behind."""
        ...


class Live(Protocol):
    """The live objects of a cluster, of any kind."""

    context: str

    def cluster_uid(self) -> str: ...

    def get(self, wanted: KubeObject) -> Body | None: ...

    def owned(self, release: str, namespace: str, kinds: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
        """The release's objects of the kinds of those given, with no more than their metadata."""
        ...

    def compare(self, wanted: KubeObject) -> Comparison: ...

    def predict(self, wanted: KubeObject) -> Prediction: ...

    def restore(self, compared: Comparison) -> None: ...

    def delete(self, live: KubeObject) -> None: ...


class Leases(Protocol):
    """Leases with optimistic concurrency: a write names the version that it is based on, and None says that somebody
    else wrote first. Raises EnvironmentUnfit when the answer is unknown; the write may have happened all the same."""

    def read(self, namespace: str, name: str) -> Lease | None: ...

    def waiters(self, namespace: str, release: str) -> tuple[Lease, ...]: ...

    def create(self, namespace: str, lease: Lease) -> Lease | None: ...

    def update(self, namespace: str, lease: Lease) -> Lease | None: ...

    def delete(self, namespace: str, name: str, version: str = "") -> None:
        """With a version: only if nobody wrote since. A Lease that isn't there is deleted already."""


class Probing(Protocol):
    """Requests that are being sent; once the context has ended, those that were."""

    @property
    def receipt(self) -> Receipt:
        """The newest known; after the end the final one."""


class Prober(Protocol):
    def probe(
        self, namespace: str, service: str, image: str, rate_per_second: float, path: str
    ) -> AbstractContextManager[Probing]:
        """Ask the service until the context ends. Raises EnvironmentUnfit when no request can be sent at all."""
