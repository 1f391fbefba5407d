"""Fakes that behave. They pass the same contract tests as the real adapters (tests/contract)."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from releaser.adapters.node import InNodes
from releaser.errors import EnvironmentUnfit, InvalidInput, Refused, ReleasePending
from releaser.expected import keep, replacement
from releaser.incident import Incident
from releaser.lease import WAITS_FOR, Lease
from releaser.ledger import HelmRevision
from releaser.models import (
    ContainerState,
    DeploymentState,
    Event,
    Image,
    ObjectEvent,
    PodState,
    Receipt,
    ReplicaSetState,
    Sent,
    Snapshot,
    StepEnded,
    TestRun,
    Values,
    full_name,
)
from releaser.objects import (
    RELEASE_NAME,
    Body,
    Comparison,
    KubeObject,
    Prediction,
    Refusal,
    as_released,
    parse_manifest,
)


@dataclass
class Recorder:
    """A Reporter that remembers."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    @property
    def steps(self) -> list[str]:
        return [event.name for event in self.events if isinstance(event, StepEnded)]


@dataclass
class _Release:
    revisions: list[HelmRevision] = field(default_factory=list)
    labels: dict[int, dict[str, str]] = field(default_factory=dict)
    values: dict[int, Values] = field(default_factory=dict)


class World:
    """A cluster with releases: what FakeHelm changes, FakeCluster shows."""

    def __init__(self) -> None:
        self.releases: dict[tuple[str, str], _Release] = {}
        self.ledgers: dict[tuple[str, str], dict[int, str]] = {}
        self.objects: dict[tuple[str, str, str, str], Body] = {}
        self.applied: dict[tuple[str, str, str, str], Body] = {}
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.settles = False
        self.lingering = 0
        """For so many rollouts or looks an old pod goes on answering, and not as the new ones do."""

    def running(self, namespace: str, release: str) -> Values | None:
        """Values of what runs: those of the newest revision."""
        found = self.releases.get((namespace, release))
        return found.values[found.revisions[-1].number] if found else None

    def live(self, kind: str, name: str) -> Body:
        """A live object, as the API server has it."""
        return next(body for (_, k, _, n), body in self.objects.items() if (k.lower(), n) == (kind, name))

    def edit(self, kind: str, name: str, key: str, added: Body) -> None:
        """Somebody lays fields over a live object by hand."""
        body = self.live(kind, name)
        body[key] = {**body[key], **added}

    # -- live objects --------------------------------------------------------------------------------------------------

    def apply(self, release: str, namespace: str, manifest: str) -> None:
        """As Helm does: what it applied before and doesn't any more goes, what others added stays."""
        objects = as_released(parse_manifest(manifest, namespace), release, namespace)
        wanted = {each.identity for each in objects}
        for identity, body in list(self.objects.items()):
            mine = (body["metadata"].get("annotations") or {}).get(RELEASE_NAME) == release
            if identity[2] == namespace and mine and identity in self.applied and identity not in wanted:
                del self.objects[identity], self.applied[identity]
        for each in objects:
            self.write(each, applied(self.objects.get(each.identity), self.applied.get(each.identity), each.body))
            self.applied[each.identity] = each.body

    def write(self, one: KubeObject, body: Body) -> None:
        version = int(self.objects.get(one.identity, {"metadata": {}})["metadata"].get("resourceVersion", "0"))
        own = {"uid": f"uid of {one.ref}", "resourceVersion": str(version + 1)}
        self.objects[one.identity] = {**body, "metadata": {**body["metadata"], **own}}


def applied(live: Body | None, before: Body | None, wanted: Body) -> Body:
    """Server-side apply, by one manager, of maps."""
    body: Body = deepcopy(live or {})
    _drop(body, before or {}, wanted)
    _lay(body, wanted)
    return body


def _drop(body: Body, before: Body, wanted: Body) -> None:
    for key, value in before.items():
        if key not in wanted:
            body.pop(key, None)
        elif all(isinstance(each, dict) for each in (value, wanted[key], body.get(key))):
            _drop(body[key], value, wanted[key])


def _lay(body: Body, wanted: Body) -> None:
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(body.get(key), dict):
            _lay(body[key], value)
        else:
            body[key] = deepcopy(value)


def rendered(release: str, values: Values) -> str:
    """The fake chart: a ConfigMap with `text` and the greeting, and a Deployment with the image and annotations on its
    pods; `extra` adds a Secret."""
    image = values.get("image") or {}
    container = {"name": "web", "image": f"{image.get('repository', 'web')}:{image.get('tag', '')}"}
    annotations = values.get("podAnnotations")
    annotated: Body = {"metadata": {"annotations": annotations}} if annotations else {}
    objects: list[Body] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"text": values.get("text", "a")}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {},
            "spec": {
                "replicas": values.get("replicaCount", 1),
                "selector": {"matchLabels": {"app": values.get("selector", release)}},
                "template": {**annotated, "spec": {"containers": [container]}},
            },
        },
    ]
    if greeting := (values.get("app") or {}).get("greeting"):
        objects[0]["data"]["greeting"] = greeting
    if values.get("extra"):
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"key": values["extra"]}})
    for each in objects:
        each["metadata"] = {"name": release}
    return "".join(f"---\n# Source: web/templates/web.yaml\n{json.dumps(each)}\n" for each in objects)


class FakeHelm:
    """Keeps revisions as Helm does: numbers rise, the former one is superseded, labels follow a rollback."""

    def __init__(self, world: World) -> None:
        self._world = world

    def history(self, release: str, namespace: str) -> tuple[HelmRevision, ...]:
        found = self._world.releases.get((namespace, release))
        return tuple(found.revisions) if found else ()

    def upgrade(self, release: str, namespace: str, chart: Path, values: Values, labels: Mapping[str, str]) -> int:
        if values.get("unknownKey"):
            raise InvalidInput("While running helm upgrade: chart or values were refused", detail="unknownKey")
        found = self._world.releases.setdefault((namespace, release), _Release())
        self._refuse_pending(found)
        failed = bool(values.get("refused"))
        number = self._add(found, "failed" if failed else "deployed", "Upgrade complete", dict(labels), values)
        if failed:
            raise InvalidInput("While running helm upgrade: chart or values were refused", detail="exceeded quota")
        self._world.apply(release, namespace, rendered(release, values))
        return number

    def manifest(self, release: str, namespace: str, number: int) -> str:
        return rendered(release, self.values(release, namespace, number))

    def values(self, release: str, namespace: str, number: int) -> Values:
        found = self._world.releases.get((namespace, release))
        if found is None or number not in found.values:
            raise Refused(f"{release} in {namespace} has no revision {number}")
        return found.values[number]

    def render(self, release: str, namespace: str, chart: Path, values: Values) -> str:
        if values.get("unknownKey"):
            raise InvalidInput("While running helm upgrade: chart or values were refused", detail="unknownKey")
        if found := self._world.releases.get((namespace, release)):
            self._refuse_pending(found)
        return rendered(release, values)

    def rollback(self, release: str, namespace: str, number: int) -> None:
        found = self._world.releases[(namespace, release)]
        self._add(
            found, "deployed", f"Rollback to {number}", found.labels[number], found.values[number], rollback_of=number
        )
        self._world.apply(release, namespace, rendered(release, found.values[number]))

    def uninstall(self, release: str, namespace: str) -> None:
        if self._world.releases.pop((namespace, release), None):
            self._world.apply(release, namespace, "")

    def test(self, release: str, namespace: str, deadline_seconds: float) -> TestRun:
        values = self._world.running(namespace, release) or {}
        passed = not (values.get("testFails") or self._world.lingering)
        return TestRun(passed, "GET / 200" if passed else "FAIL GET / 500\nok GET /metrics")

    def strand(self, release: str, namespace: str, status: str) -> None:
        """As a killed client leaves it: what was deployed before is called so still."""
        revisions = self._world.releases[(namespace, release)].revisions
        revisions[-1] = replace(revisions[-1], status=status)
        for index in range(len(revisions) - 2, -1, -1):
            if revisions[index].status == "superseded":
                revisions[index] = replace(revisions[index], status="deployed")
                break

    def _refuse_pending(self, release: _Release) -> None:
        if release.revisions and release.revisions[-1].status.startswith("pending-"):
            raise ReleasePending("another operation (install/upgrade/rollback) is in progress")

    def _add(
        self,
        release: _Release,
        status: str,
        description: str,
        labels: dict[str, str],
        values: Values,
        rollback_of: int = 0,
    ) -> int:
        if release.revisions and status == "deployed":
            release.revisions = [
                replace(each, status="superseded") if each.status == "deployed" else each for each in release.revisions
            ]
        number = release.revisions[-1].number + 1 if release.revisions else 1
        self._world.clock += timedelta(minutes=1)
        release.revisions.append(HelmRevision(number, status, self._world.clock, description, rollback_of))
        release.labels[number] = dict(labels)
        release.values[number] = values
        return number


class FakeDrafts:
    """Renders the fake chart, which has no files that could be edited, unless it is broken."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        if self.broken:
            raise InvalidInput("While running helm template: chart or values were refused", detail=self.broken)
        return rendered(release, values)


class FakeCluster:
    """Shows World as a cluster would. What a rollout does is told by the values that run: `crash`, `stuck`."""

    context = "fake"

    def __init__(self, world: World, node_ports: dict[int, tuple[str, str]] | None = None) -> None:
        self._world = world
        self._node_ports = node_ports or {}
        self.on_rollout: Callable[[], None] = lambda: None
        self.named_elsewhere: set[str] = set()
        self.removed: list[str] = []

    def version(self) -> str:
        return "v1.35.0"

    def node_port_holder(self, port: int) -> tuple[str, str] | None:
        return self._node_ports.get(port)

    def service_url(self, namespace: str, release: str) -> str:
        return "http://10.0.0.1:31181" if self._world.running(namespace, release) is not None else ""

    def images_named(self) -> set[str]:
        running = [each for key in self._world.releases if (each := self._world.running(*key))]
        return self.named_elsewhere | {f"{each['image']['repository']}:{each['image']['tag']}" for each in running}

    def service_name(self, namespace: str, release: str) -> str:
        return release if self._world.running(namespace, release) is not None else ""

    def revision_labels(self, namespace: str, release: str) -> Mapping[int, Mapping[str, str]]:
        found = self._world.releases.get((namespace, release))
        return found.labels if found else {}

    def label_revision(self, namespace: str, release: str, number: int, labels: Mapping[str, str]) -> None:
        self._world.releases[(namespace, release)].labels[number].update(labels)

    def entries(self, namespace: str, release: str) -> Mapping[int, str]:
        return dict(self._world.ledgers.get((namespace, release), {}))

    def enter(self, namespace: str, release: str, number: int, text: str, known: Collection[int]) -> None:
        ledger = self._world.ledgers.setdefault((namespace, release), {})
        for gone in set(ledger) - set(known):
            del ledger[gone]
        ledger[number] = text

    def close_ledger(self, namespace: str, release: str) -> None:
        self._world.ledgers.pop((namespace, release), None)

    def await_settled(self, namespace: str, release: str, number: int, seconds: float) -> bool:
        """Whoever works with plain Helm ends now, if `World.settles` says so."""
        found = self._world.releases[(namespace, release)]
        if self._world.settles:
            found.revisions[-1] = replace(found.revisions[-1], status="deployed")
        return self._world.settles

    def witnesses(self, namespace: str, release: str, since: datetime) -> tuple[PodState, ...]:
        return self.pods(namespace, release)

    def events(self, namespace: str, since: datetime) -> tuple[ObjectEvent, ...]:
        return ()

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]:
        values = self._world.running(namespace, release)
        if values is None:
            return ()
        old = (replace(pod("web-0-a", values), terminating=True),) if self._world.lingering else ()
        return (*old, pod("web-1-a", values))

    def remove_pod(self, namespace: str, pod: str) -> None:
        self.removed.append(pod)

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str:
        values = self._world.running(namespace, next(name for ns, name in self._world.releases if ns == namespace))
        return "Traceback (most recent call last):\nRuntimeError: told to" if values and values.get("crash") else "ok"

    def follow_log(self, namespace: str, pod: str, container: str, lines: int) -> Iterator[str]:
        yield from self.log(namespace, pod, container).splitlines()

    def snapshots(self, namespace: str, release: str, deadline_seconds: float) -> Iterator[Snapshot]:
        values = self._world.running(namespace, release) or {}
        self.on_rollout()
        yield snapshot(DEPLOYMENT, observed=False)
        self._world.lingering = max(0, self._world.lingering - 1)
        coming = pod("web-1-a", {"image": values.get("image")}, ready=False)
        yield snapshot(replace(DEPLOYMENT, updated=1, available=0), coming)
        if not values.get("stuck"):
            yield snapshot(DEPLOYMENT, pod("web-1-a", values))


DEPLOYMENT = DeploymentState(
    name="web", generation=2, observed_generation=2, desired=1, replicas=1, updated=1, available=1, revision=1
)


def snapshot(deployment: DeploymentState, *pods: PodState, observed: bool = True) -> Snapshot:
    if not observed:
        deployment = replace(deployment, observed_generation=deployment.generation - 1)
    return Snapshot((deployment,), (ReplicaSetState("rs-1", "web-1", 1, 1),), pods)


def pod(name: str, values: Values, *, ready: bool = True) -> PodState:
    crash = bool(values.get("crash"))
    state = ContainerState(
        name="web",
        ready=ready and not crash,
        started=not crash,
        restarts=2 if crash else 0,
        waiting_reason="CrashLoopBackOff" if crash else "",
        running=not crash,
        last_exit_code=1 if crash else None,
        last_terminated_reason="Error" if crash else "",
        image_id=f"sha256:{str((values.get('image') or {}).get('tag', '1')).rpartition('-')[2]}",
    )
    return PodState(name, "Running", True, ready and not crash, False, (state,), owner_uid="rs-1", node="n1")


class FakeLive:
    """World's objects as the API server would show them. A Deployment's selector can't be changed."""

    context = "fake"

    def __init__(self, world: World) -> None:
        self._world = world
        self.unwritable: set[str] = set()

    def cluster_uid(self) -> str:
        return "uid of the fake cluster"

    def get(self, wanted: KubeObject) -> Body | None:
        return deepcopy(self._world.objects.get(wanted.identity))

    def owned(self, release: str, namespace: str, kinds: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
        sorts = {each.identity[:3] for each in kinds}
        return tuple(
            KubeObject(body["apiVersion"], body["kind"], namespace, body["metadata"]["name"], body)
            for identity, body in self._world.objects.items()
            if identity[:3] in sorts and (body["metadata"].get("annotations") or {}).get(RELEASE_NAME) == release
        )

    def compare(self, wanted: KubeObject) -> Comparison:
        live = self.get(wanted)
        if live is None:
            return Comparison(wanted, None)
        body = replacement(wanted.body, live)
        refused = self._refused(wanted, live)
        for each in refused:
            keep(body, live, each.field)
        return Comparison(wanted, live, body, refused)

    def predict(self, wanted: KubeObject) -> Prediction:
        live = self.get(wanted)
        refused = self._refused(wanted, live) if live else ()
        if refused:
            return Prediction(wanted, live, None, refused)
        return Prediction(wanted, live, applied(live, self._world.applied.get(wanted.identity), wanted.body))

    def restore(self, compared: Comparison) -> None:
        wanted = compared.wanted
        if wanted.ref in self.unwritable:
            raise InvalidInput(f"While repairing {wanted.ref}: refused")
        self._world.write(wanted, wanted.body if compared.expected is None else compared.expected)

    def delete(self, live: KubeObject) -> None:
        self._world.objects.pop(live.identity, None)

    def edit(self, ref: str, change: Callable[[Body], Any], manager: str = "kubectl-edit") -> None:
        """As somebody would by hand."""
        for identity, body in self._world.objects.items():
            one = KubeObject(body["apiVersion"], body["kind"], identity[2], body["metadata"]["name"], body)
            if one.ref == ref:
                edited = deepcopy(body)
                change(edited)
                entry = {"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:00Z"}
                fields = _fields(edited, body)
                edited["metadata"]["managedFields"] = [{**entry, "fieldsV1": fields}]
                self._world.write(one, edited)
                return
        raise KeyError(ref)

    def _refused(self, wanted: KubeObject, live: Body) -> tuple[Refusal, ...]:
        if wanted.kind == "Deployment" and live["spec"]["selector"] != wanted.body["spec"]["selector"]:
            return (Refusal("spec.selector", "field is immutable", "spec.selector"),)
        return ()


def _fields(edited: Any, before: Any) -> dict[str, Any]:
    """fieldsV1 of what an edit changed, of maps."""
    if not isinstance(edited, dict):
        return {}
    old = before if isinstance(before, dict) else {}
    return {f"f:{key}": _fields(value, old.get(key)) for key, value in edited.items() if value != old.get(key)}


class FakeShelf:
    """Tags, the images that they resolve to, and those that something holds."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.images: dict[str, str] = {}
        self.held: set[str] = set()
        self.swept = 0

    def refs(self, repository: str) -> tuple[str, ...]:
        return tuple(sorted(ref for ref in self.images if ref.startswith(f"{repository}:")))

    def remove(self, ref: str) -> bool:
        """What isn't there is removed already."""
        if ref in self.held:
            return False
        self.images.pop(ref, None)
        return True

    def sweep(self) -> None:
        self.swept += 1


class FakeImages(FakeShelf):
    """Content is what `source` says; the tag follows it."""

    def __init__(self, source: str = "one") -> None:
        super().__init__("Docker fake")
        self.source = source

    def identify(self, repository: str, version: str, dockerfile: Path) -> Image:
        """What somebody gave the tag by hand doesn't count."""
        image = Image(repository, f"{version}-{self.source}")
        made = self.images.get(image.ref) == f"sha256:{self.source}"
        return replace(image, id=self.images[image.ref] if made else "")

    def build(
        self, image: Image, dockerfile: Path, labels: dict[str, str], on_line: Callable[[str], None] = lambda line: None
    ) -> Image:
        on_line("Step 1/1 : FROM scratch")
        self.images[image.ref] = f"sha256:{self.source}"
        return replace(image, id=self.images[image.ref])

    def sbom(self, image: Image) -> str:
        return "{}\n"


class FakeNode(FakeShelf, InNodes):
    def __init__(self) -> None:
        super().__init__("Minikube fake")
        self.loads = 0

    def image_ids(self, *refs: str) -> tuple[str, ...]:
        known = {full_name(ref): image_id for ref, image_id in self.images.items()}
        return tuple(known.get(full_name(ref), "") for ref in refs)

    def load(self, image: Image, on_progress: Callable[[str], None] = lambda text: None) -> Sent:
        self.images[image.ref] = image.id
        self.loads += 1
        return Sent("from nowhere", 1_500_000, 1, 4)

    def tag(self, image: Image, ref: str) -> None:
        self.images[ref] = self.images[image.ref]


class FakeContainers:
    """Keeps what was written; `trouble` is why it can't be."""

    def __init__(self) -> None:
        self.written: list[dict[str, bytes | None]] = []
        self.trouble = ""

    def write(
        self, namespace: str, release: str, directory: str, files: Mapping[str, bytes | None], path: str
    ) -> tuple[str, ...]:
        if self.trouble:
            raise EnvironmentUnfit(self.trouble)
        self.written.append(dict(files))
        return ("web-1-a", "web-1-b")


class FakeRegistry:
    """Gives what is loaded a digest, and no tag ever other content."""

    pulled = True
    repository = "registry.example/team/web"
    target = repository

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.loads = 0
        self.prepared: list[tuple[str, str]] = []
        self.cleared: list[tuple[str, str]] = []

    def named(self, image: Image) -> Image:
        [found] = self.image_ids(image.ref)
        return Image(self.repository, image.tag, found or image.id, f"sha256:manifest-of-{image.tag}" if found else "")

    def image_ids(self, *refs: str) -> tuple[str, ...]:
        return tuple(self.images.get(f"{self.repository}:{ref.rpartition(':')[2]}", "") for ref in refs)

    def load(self, image: Image, on_progress: Callable[[str], None] = lambda text: None) -> Sent:
        ref = f"{self.repository}:{image.tag}"
        if self.images.get(ref, image.id) != image.id:
            raise Refused(f"While pushing {ref}: the registry has other content under this tag")
        self.images[ref] = image.id
        self.loads += 1
        return Sent("by docker push", 1_500_000, 1, 4)

    def tag(self, image: Image, ref: str) -> None:
        raise NotImplementedError

    def pull_secrets(self, release: str) -> tuple[str, ...]:
        return (f"{release}-registry",)

    def prepare(self, namespace: str, release: str) -> None:
        self.prepared.append((namespace, release))

    def clear(self, namespace: str, release: str) -> None:
        self.cleared.append((namespace, release))


class FakeCharts:
    """A chart that renders with any values, unless told otherwise."""

    def __init__(self, lint_output: str = "", template_error: str = "", manifest: str = "") -> None:
        self.lint_output = lint_output
        self.template_error = template_error
        self.manifest = manifest

    def template(
        self, release: str, namespace: str, chart: Path, values_file: Path | None, kubernetes: str = ""
    ) -> str:
        if self.template_error:
            raise InvalidInput("While running helm template: chart or values were refused", detail=self.template_error)
        return self.manifest

    def lint(self, chart: Path, values_file: Path | None, kubernetes: str = "") -> str:
        return self.lint_output

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        return self.template(release, namespace, chart, None)

    def unparsed(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        return self.manifest


class FakeIncidents:
    """Keeps incidents in memory, each under a path of its own."""

    def __init__(self) -> None:
        self.kept: dict[Path, Incident] = {}
        self.full = False

    def save(self, incident: Incident, path: Path | None = None) -> Path:
        if self.full:
            raise EnvironmentUnfit("While keeping the incident: the disk is full")
        path = path or Path("incidents") / f"{incident.name}.{len(self.kept)}"
        self.kept[path] = incident
        return path


class FakeProber:
    """Loses as many requests as the values that run say: `drops`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.probed: list[str] = []

    @contextmanager
    def probe(
        self, namespace: str, service: str, image: str, rate_per_second: float, path: str
    ) -> Iterator[FakeProbing]:
        self.probed.append(service)
        yield FakeProbing(self._world, namespace, service)


@dataclass
class FakeProbing:
    world: World
    namespace: str
    release: str

    @property
    def receipt(self) -> Receipt:
        lost = int((self.world.running(self.namespace, self.release) or {}).get("drops", 0))
        errors = (("timeout", lost),) if lost else ()
        return Receipt(100, lost, 0.1, 0.004, 0.02, 20.0, errors=errors)


class FakeLeases:
    """Leases with versions, as the API server keeps them."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Lease] = {}
        self._versions = 0

    def read(self, namespace: str, name: str) -> Lease | None:
        return self.stored.get((namespace, name))

    def waiters(self, namespace: str, release: str) -> tuple[Lease, ...]:
        return tuple(
            lease
            for (where, _), lease in self.stored.items()
            if where == namespace and lease.labels.get(WAITS_FOR) == release
        )

    def create(self, namespace: str, lease: Lease) -> Lease | None:
        return None if self.read(namespace, lease.name) else self._store(namespace, lease)

    def update(self, namespace: str, lease: Lease) -> Lease | None:
        found = self.read(namespace, lease.name)
        return self._store(namespace, lease) if found and found.version == lease.version else None

    def delete(self, namespace: str, name: str, version: str = "") -> None:
        found = self.read(namespace, name)
        if found and version in ("", found.version):
            del self.stored[(namespace, name)]

    def _store(self, namespace: str, lease: Lease) -> Lease:
        self._versions += 1
        stored = replace(lease, version=str(self._versions))
        self.stored[(namespace, lease.name)] = stored
        return stored


class FakeForwarder:
    def __init__(self) -> None:
        self.open = False

    @contextmanager
    def forward(self, namespace: str, service: str) -> Iterator[str]:
        self.open = True
        yield f"http://127.0.0.1:4000/{namespace}/{service}"
        self.open = False
