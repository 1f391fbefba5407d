"""The words of the domain: frozen dataclasses and enums, no behaviour beyond what they can say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from releaser.traffic import Traffic

Values = dict[str, Any]
"""Helm values: the one place where a plain dict is the honest type."""


# -- what is released --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """A container image. The tag is derived from content; `id` is the config digest (sha256:...), empty if unbuilt.
    `digest` is that of its manifest in the registry from which it is pulled, empty for one that is sent into nodes."""

    repository: str
    tag: str
    id: str = ""
    digest: str = ""

    @property
    def ref(self) -> str:
        return f"{self.repository}:{self.tag}"

    def is_one_of(self, said: Iterable[str]) -> bool:
        """Whether a pod that says these image ids runs it. One that was pulled is named by its manifest."""
        return any(each == self.id or (self.digest != "" and each.rpartition("@")[2] == self.digest) for each in said)


def full_name(ref: str) -> str:
    """`web:1` is short for docker.io/library/web:1, `team/web:1` for docker.io/team/web:1; a host makes a name full."""
    first, slash, _ = ref.partition("/")
    if not slash:
        return f"docker.io/library/{ref}"
    return ref if "." in first or ":" in first or first == "localhost" else f"docker.io/{ref}"


@dataclass(frozen=True)
class Source:
    """Who releases what: user and host, and the git commit (empty outside a repository) with its dirty flag.

    `commit_time` is the committer's date in seconds since 1970; 0 when it isn't known."""

    user: str
    host: str
    commit: str
    dirty: bool
    commit_time: int = 0

    @property
    def revision(self) -> str:
        """Short commit, with `+` when the work tree had changes; `-` outside a repository."""
        return f"{self.commit[:9]}{'+' if self.dirty else ''}" if self.commit else "-"


class Verdict(StrEnum):
    """What releaser itself saw of a revision. UNKNOWN: never judged, e.g. made by plain helm, or still being judged."""

    GOOD = "good"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Receipt:
    """What became of requests that were sent through the service at a steady rate, whatever came back.

    `failed` are those without a whole 2xx or 3xx answer in time, `errors` counts them by kind. The longest gap is the
    longest time without any answer. Latencies count from when a request was due; 0 while none was answered. `versions`
    and `pods` count answers by who gave them, most first. `trouble`: why it doesn't cover the whole time; empty when it
    does.
    """

    sent: int
    failed: int
    longest_gap_seconds: float
    p50_seconds: float
    p99_seconds: float
    rate_per_second: float
    versions: tuple[tuple[str, int], ...] = ()
    pods: tuple[tuple[str, int], ...] = ()
    errors: tuple[tuple[str, int], ...] = ()
    trouble: str = ""

    @property
    def line(self) -> str:
        """At most 76 characters."""
        line = f"{self.sent} requests, {self.failed} lost, longest gap {_shown(self.longest_gap_seconds)}"
        if self.p99_seconds == 0:
            return line
        return f"{line}, p50 {_shown(self.p50_seconds)}, p99 {_shown(self.p99_seconds)}"


def _shown(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    if milliseconds >= 1000:
        return f"{seconds:.1f} s"
    return f"{milliseconds} ms" if milliseconds else "<1 ms"


@dataclass(frozen=True)
class LedgerEntry:
    """What releaser knows of a revision beyond Helm's record and its labels. Empty texts: not known, or none."""

    verb: str = ""
    duration_seconds: float = 0.0
    image_id: str = ""
    plan: str = ""
    cause: str = ""
    incident: str = ""
    promoted_from: str = ""
    receipt: Receipt | None = None
    image: str = ""
    """Of a registry, whose name may be longer than a label."""


@dataclass(frozen=True)
class Revision:
    """One revision of a release. `content` is the number of the revision whose manifest it carries (itself, unless
    it is a rollback)."""

    number: int
    status: str
    verdict: Verdict
    updated: datetime
    source: Source
    image: str
    description: str
    content: int
    entry: LedgerEntry = LedgerEntry()

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending-")


@dataclass(frozen=True)
class ReleaseStatus:
    """What runs now: the current revision (None: not installed), its pods and where the service answers."""

    environment: str
    release: str
    namespace: str
    context: str
    revision: Revision | None
    pods: tuple[PodState, ...]
    url: str
    traffic: Traffic | None = None
    """None where nothing is installed."""


# -- a rollout ---------------------------------------------------------------------------------------------------------


class Cause(StrEnum):
    """Why a rollout failed."""

    IMAGE_MISSING = "image missing"
    IMAGE_WRONG = "image wrong digest"
    CRASH_AT_START = "crash at start"
    CRASH_LOOP = "crash loop"
    OUT_OF_MEMORY = "out of memory"
    NEVER_READY = "never ready"
    LIVENESS_KILL = "liveness kill"
    UNSCHEDULABLE = "unschedulable"
    UNSCHEDULABLE_CPU = "unschedulable: cpu"
    UNSCHEDULABLE_MEMORY = "unschedulable: memory"
    UNSCHEDULABLE_AFFINITY = "unschedulable: affinity"
    CONFIG_MISSING = "missing Secret or ConfigMap key"
    QUOTA = "quota exceeded"
    FORBIDDEN = "forbidden by admission"
    PORT_TAKEN = "port taken"
    IMMUTABLE_FIELD = "immutable field"
    REFUSED = "refused by the API server"
    BROKEN_OFF = "upgrade broken off"
    HOOK_FAILED = "hook failed"
    TEST_FAILED = "test failed"
    REQUESTS_LOST = "requests lost"
    NOT_IDENTICAL = "live state differs"
    TIMEOUT = "timeout"

    @property
    def link(self) -> str:
        """What to do about it: a heading of docs/operations.md."""
        return f"docs/operations.md#{self.lower().replace(':', '').replace(' ', '-')}"


@dataclass(frozen=True)
class ContainerState:
    """One container as the API reports it. `last_exit_code` is of the previous run, None if it never ended."""

    name: str
    ready: bool
    started: bool
    restarts: int
    waiting_reason: str = ""
    waiting_message: str = ""
    running: bool = False
    exit_code: int | None = None
    terminated_reason: str = ""
    last_exit_code: int | None = None
    last_terminated_reason: str = ""
    image_id: str = ""
    """Digest that the runtime reports: `sha256:...` of the config, or `NAME@sha256:...` of a pulled manifest."""


@dataclass(frozen=True)
class PodState:
    """One pod. `new` tells whether it belongs to the revision being rolled out."""

    name: str
    phase: str
    scheduled: bool
    ready: bool
    terminating: bool
    containers: tuple[ContainerState, ...]
    owner_uid: str = ""
    node: str = ""
    unschedulable: str = ""
    """The scheduler's message while it finds no node."""
    uid: str = ""
    init_containers: tuple[ContainerState, ...] = ()
    edited: bool = False
    """`releaser dev` has written code into it that its image hasn't got."""

    @property
    def restarts(self) -> int:
        return sum(container.restarts for container in self.containers)

    @property
    def pulled(self) -> bool:
        """The image is in the node: the container has run at least once."""
        return bool(self.containers) and all(bool(c.image_id) or c.running for c in self.containers)

    @property
    def started(self) -> bool:
        return bool(self.containers) and all(c.running for c in self.containers)

    @property
    def progress(self) -> str:
        """The furthest point reached, as users say it."""
        if self.terminating:
            return "terminating"
        if self.ready:
            return "ready"
        trouble = next((c.waiting_reason for c in self.containers if c.waiting_reason not in _ORDINARY_WAITS), "")
        if trouble:
            return trouble
        if any(c.exit_code is not None for c in self.containers):
            return "exited"
        for reached, word in ((self.started, "started"), (self.pulled, "pulled"), (self.scheduled, "scheduled")):
            if reached:
                return word
        return "unschedulable" if self.unschedulable else "pending"


_ORDINARY_WAITS = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class ReplicaSetState:
    uid: str
    name: str
    revision: int
    desired: int
    failure: str = ""
    """Message of the ReplicaFailure condition: why pods can't be made at all."""


@dataclass(frozen=True)
class DeploymentState:
    name: str
    generation: int
    observed_generation: int
    desired: int
    replicas: int
    updated: int
    available: int
    revision: int
    deadline_exceeded: str = ""
    """Message of the Progressing condition once the progress deadline has passed."""


@dataclass(frozen=True)
class ObjectEvent:
    """A Kubernetes Event: what a controller or the kubelet says of an object. `count` times, last at `last_seen`."""

    uid: str
    where: str
    reason: str
    message: str
    warning: bool = False
    count: int = 1
    last_seen: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """All that a rollout is judged by, at one moment: `at_seconds` since the watch began."""

    deployments: tuple[DeploymentState, ...]
    replica_sets: tuple[ReplicaSetState, ...]
    pods: tuple[PodState, ...]
    events: tuple[ObjectEvent, ...] = ()
    at_seconds: float = 0.0


@dataclass(frozen=True)
class PodProblem:
    """A sure sign of failure: the cause, where, and the message that shows it."""

    cause: Cause
    where: str
    message: str
    pod: str = ""
    container: str = ""
    log: str = ""


class Phase(StrEnum):
    PROGRESSING = "progressing"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Rollout:
    """The judgement of a snapshot. `pods` are those of the new revision."""

    phase: Phase
    summary: str
    pods: tuple[PodState, ...] = ()
    problems: tuple[PodProblem, ...] = ()


@dataclass(frozen=True)
class TestRun:
    """`helm test`: passed or not, with the logs of its pods."""

    __test__ = False  # not a pytest class

    passed: bool
    log: str


# -- what clients saw --------------------------------------------------------------------------------------------------


# -- findings ----------------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that lint found. `line` and `column` count from 1; 0 means that the place isn't known.

    `rule` is LAYER/NAME and explained in docs/rules.md; `object` is the rendered object that shows it, as kubectl's
    users say it, empty where a file shows it; `fix` tells what to do."""

    file: str
    line: int
    column: int
    rule: str
    severity: Severity
    message: str
    fix: str = ""
    object: str = ""

    @property
    def place(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)

    @property
    def layer(self) -> str:
        return self.rule.partition("/")[0]

    @property
    def link(self) -> str:
        """The rule's page: a heading of docs/rules.md."""
        return f"docs/rules.md#{self.rule.replace('/', '')}"


@dataclass(frozen=True)
class FieldPair:
    """A field that two renderings of one object have differently; Mark texts stand for what is absent or hidden."""

    object: str
    address: str
    one: Any
    other: Any


# -- what commands return ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    image: Image
    rebuilt: bool
    elapsed_seconds: float


@dataclass(frozen=True)
class Sent:
    """What went into each node: the way it took, how many bytes (None: nobody counted) and how many of the image's
    layers. With several nodes it is the one that lacked most."""

    way: str
    bytes_sent: int | None = None
    layers_sent: int = 0
    layers: int = 0

    @property
    def amount(self) -> str:
        return "the whole" if self.bytes_sent is None else f"{self.bytes_sent / 1e6:.1f} MB"

    def __str__(self) -> str:
        if self.bytes_sent is None:
            return self.way
        return f"{self.amount}, {self.layers_sent} of {self.layers} layers, {self.way}"


@dataclass(frozen=True)
class Loaded:
    """`sent` is None when the target had the image."""

    image: Image
    target: str
    sent: Sent | None
    elapsed_seconds: float


@dataclass(frozen=True)
class Fixed:
    """A file that lint has mended, with what changed as a unified diff."""

    file: str
    diff: str


@dataclass(frozen=True)
class Linted:
    """`waived` are findings that a waiver covers; `unchecked` are kinds of objects without a schema here; `directory`
    is the project's in its repository, empty where the two are one."""

    findings: tuple[Finding, ...]
    environments: tuple[str, ...]
    elapsed_seconds: float
    chart: str = ""
    waived: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    directory: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)


@dataclass(frozen=True)
class Contrast:
    """What two environments' rendered objects have differently: fields, and objects that only one has."""

    one: str
    other: str
    fields: tuple[FieldPair, ...]
    only_one: tuple[str, ...]
    only_other: tuple[str, ...]


@dataclass(frozen=True)
class Packaged:
    """A chart's archive. The digest (sha256:...) is that of its bytes, and of its layer in a registry."""

    archive: Path
    digest: str


@dataclass(frozen=True)
class Pushed:
    """A chart in a registry: oci://HOST/PATH/NAME:VERSION. Not sent: it was there."""

    reference: str
    digest: str
    sent: bool


@dataclass(frozen=True)
class Deployed:
    environment: str
    before: Revision | None
    after: Revision
    image: Image
    url: str
    elapsed_seconds: float


@dataclass(frozen=True)
class RolledBack:
    environment: str
    before: Revision
    target: Revision
    after: Revision
    url: str
    elapsed_seconds: float


@dataclass(frozen=True)
class History:
    environment: str
    release: str
    namespace: str
    revisions: tuple[Revision, ...]


@dataclass(frozen=True)
class Developed:
    """What `releaser dev` did: how many revisions it made, how many saves didn't end as pods that are ready, and how
    many it wrote into the running pods."""

    environment: str
    releases: int
    failed: int
    written: int = 0


@dataclass(frozen=True)
class PrunedShelf:
    """What was taken from one place (in a dry run: would be) and what stayed."""

    target: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Pruned:
    shelves: tuple[PrunedShelf, ...]
    dry_run: bool

    @property
    def removed(self) -> frozenset[str]:
        return frozenset(ref for shelf in self.shelves for ref in shelf.removed)


@dataclass(frozen=True)
class Destroyed:
    environment: str
    release: str
    namespace: str
    existed: bool


@dataclass(frozen=True)
class Opened:
    environment: str
    url: str


@dataclass(frozen=True)
class Need:
    """One line of `doctor`: something that releaser needs, what was found, and the command that mends it."""

    name: str
    wanted: str
    found: str
    ok: bool
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    needs: tuple[Need, ...]

    @property
    def healthy(self) -> bool:
        return all(need.ok for need in self.needs)


@dataclass(frozen=True)
class LocalNode:
    """What Minikube starts from where no registry answers: an image made here, and the versions inside it."""

    image: str
    kubernetes: str
    metrics_server: str
    pod_network: Path
    """The manifest that Minikube applies as its CNI."""


@dataclass(frozen=True)
class Up:
    """A running local cluster. `already` tells that it was running before."""

    profile: str
    context: str
    node_ip: str
    nodes: int
    kubernetes: str
    already: bool
    elapsed_seconds: float


@dataclass(frozen=True)
class Down:
    profile: str
    deleted: bool
    existed: bool


# -- progress ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepStarted:
    name: str
    log: Path | None = None


@dataclass(frozen=True)
class StepProgressed:
    """What a running step does now, in a few words."""

    name: str
    text: str


@dataclass(frozen=True)
class StepEnded:
    name: str
    elapsed_seconds: float
    detail: str = ""
    failed: bool = False
    log: Path | None = None


@dataclass(frozen=True)
class PodsChanged:
    """A rollout moved: the new revision's pods and one line that sums them up."""

    summary: str
    pods: tuple[PodState, ...]
    elapsed_seconds: float


@dataclass(frozen=True)
class Probed:
    """What the service's clients have seen so far."""

    receipt: Receipt
    elapsed_seconds: float


@dataclass(frozen=True)
class Note:
    text: str
    warning: bool = False


@dataclass(frozen=True)
class CommandRan:
    """An external command as it could be repeated by hand; shown with -v."""

    argv: tuple[str, ...]


Event = StepStarted | StepProgressed | StepEnded | PodsChanged | Probed | Note | CommandRan


class Reporter(Protocol):
    """Where progress goes. One method; safe to call from several threads."""

    def emit(self, event: Event, /) -> None: ...
