"""The image stores inside Minikube's nodes: what they have is asked of them, and only the rest is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from releaser.adapters.exporter import Exporter
from releaser.adapters.machines import Machine, machines
from releaser.adapters.process import Finished, Process, failed, says_disk_full
from releaser.adapters.runtimes import HELD, RUNTIMES, Held, Runtime
from releaser.adapters.tools import Tools
from releaser.errors import EnvironmentUnfit
from releaser.layers import DAMAGED
from releaser.models import Image, Note, Reporter, Sent, full_name

_LOOK_SECONDS = 60.0
_LOAD_SECONDS = 900.0

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Store:
    """One node's."""

    machine: Machine
    runtime: Runtime


class InNodes:
    """What pods get from their own node: nothing is pulled, and nothing has to be there for that."""

    pulled = False

    def named(self, image: Image) -> Image:
        return image

    def pull_secrets(self, release: str) -> tuple[str, ...]:
        return ()

    def prepare(self, namespace: str, release: str) -> None:
        """Nothing is pulled."""

    def clear(self, namespace: str, release: str) -> None:
        """Nothing was made."""


class MinikubeNodes(InNodes):
    """A Minikube profile's nodes; the profile has the kube context's name, as Minikube makes them.

    A node that releaser can't look into is served by `minikube image load`, which sends everything.
    """

    def __init__(
        self,
        process: Process,
        tools: Tools,
        profile: str,
        reporter: Reporter,
        *,
        find: Callable[[str], list[Machine]] = machines,
        exporter: Exporter | None = None,
    ) -> None:
        self._process = process
        self._tools = tools
        self._reporter = reporter
        self._exporter = exporter or Exporter()
        self._find = find
        self._seen: dict[str, Held] = {}
        self.profile = profile

    @property
    def target(self) -> str:
        return f"Minikube {self.profile}"

    def image_ids(self, *refs: str) -> tuple[str, ...]:
        """Config digests (sha256:...) that the tags resolve to, the same in every node; empty for one that isn't."""
        listed = [held.images for held in self._look()]
        found = [{images.get(full_name(ref), "") for images in listed} for ref in refs]
        return tuple(ids.pop() if len(ids) == 1 else "" for ids in found)

    def load(self, image: Image, on_progress: Callable[[str], None] = lambda text: None) -> Sent:
        """Copy from the local Docker engine what the nodes lack of the image, and prove that the tag resolves to it in
        each of them.

        Raises EnvironmentUnfit for a full disk, for an image that differs from its digest and for a node that can't be
        reached; what has arrived by then need not be sent again.
        """
        sent = self._send(image, on_progress)
        self._prove(image, image.ref)
        return sent

    def tag(self, image: Image, ref: str) -> None:
        """A second name for an image that the nodes have. containerd knows only full names."""
        doing = f"tagging {image.ref} as {ref} in {self.target}"
        for store in self._stores():
            self._run(store, store.runtime.tag, full_name(image.ref), full_name(ref), doing=doing)
        if not self._stores():
            self._minikube("image", "tag", full_name(image.ref), full_name(ref), doing=doing)
        self._prove(image, ref)

    def refs(self, repository: str) -> tuple[str, ...]:
        """REPOSITORY:TAG of all that any of the nodes has."""
        start = f"{full_name(repository)}:"
        names = {name for held in self._look() for name in held.images if name.startswith(start)}
        return tuple(f"{repository}:{name.removeprefix(start)}" for name in sorted(names))

    def remove(self, ref: str) -> bool:
        """Take the tag away from each node that has it; False when a container holds it in one of them.

        containerd gives it up all the same: what a container runs of stays on the node's disk until it ends.
        """
        doing = f"removing {ref} from {self.target}"
        stores = self._stores()
        if not stores:
            self._minikube("image", "rm", ref, doing=doing)
            return True
        said = [self._run(store, store.runtime.remove, full_name(ref), doing=doing) for store in stores]
        return not any(each.strip() == HELD for each in said)

    def sweep(self) -> None:
        for store in self._stores():
            self._run(store, store.runtime.sweep, doing=f"clearing {self.target} of broken-off transfers")

    # -- looking -------------------------------------------------------------------------------------------------------

    def _stores(self) -> list[_Store]:
        """Of all nodes, or none when one of them can't be looked into."""
        found = self._find(self.profile)
        if not all(machine.runtime in RUNTIMES for machine in found):
            return []
        return [_Store(machine, RUNTIMES[machine.runtime]) for machine in found]

    def _look(self) -> list[Held]:
        stores = self._stores()
        if stores:
            return _at_once(self._look_into, stores)
        output = self._minikube("image", "ls", "--format", "json", doing=f"listing the images of {self.target}")
        entries = json.loads(output or "[]")
        ids = {tag: f"sha256:{each['id'].removeprefix('sha256:')}" for each in entries for tag in each["repoTags"]}
        return [Held({full_name(tag): image_id for tag, image_id in ids.items()})]

    def _look_into(self, store: _Store) -> Held:
        output = self._run(store, store.runtime.look, doing=f"looking for images in {store.machine.name}")
        self._seen[store.machine.name] = store.runtime.read(output)
        return self._seen[store.machine.name]

    def _run(self, store: _Store, script: str, *arguments: str, doing: str) -> str:
        return self._process.run(
            store.machine.command("sh", "-c", script, "sh", *arguments),
            doing=doing,
            deadline_seconds=_LOOK_SECONDS,
            hint="releaser up starts the local Minikube",
        ).stdout

    def _prove(self, image: Image, ref: str) -> None:
        [arrived] = self.image_ids(ref)
        if arrived != image.id:
            raise EnvironmentUnfit(
                f"While naming {ref} in {self.target}: not every node has the image under that name",
                detail=f"Docker has {image.id}, the nodes have {arrived or 'nothing, or not the same'}",
                hint=f"minikube -p {self.profile} image rm {ref}, then load again",
            )

    # -- sending -------------------------------------------------------------------------------------------------------

    def _send(self, image: Image, on_progress: Callable[[str], None]) -> Sent:
        stores = self._stores()
        if not stores:
            self._reporter.emit(Note(f"{self.target} can't be looked into: `minikube image load` sends everything"))
            doing = f"loading {image.ref} into {self.target}"
            self._minikube("image", "load", image.ref, "--daemon=true", doing=doing)
            return Sent("whole, by minikube image load")
        layers = self._exporter.layers_of(image)
        progress = _Progress(on_progress)
        sent = _at_once(lambda store: self._send_to(store, image, layers, progress), stores)
        return max(sent, key=lambda each: each.layers_sent)

    def _send_to(self, store: _Store, image: Image, layers: Sequence[str], progress: _Progress) -> Sent:
        """By the first way that gets through; the error of the last one is raised when none does."""
        name = store.machine.name
        doing = f"loading {image.ref} into {name}"
        # Seen a moment ago, as a rule. What has gone since then makes the node refuse, and then it gets everything.
        held = self._seen.get(name) or self._look_into(store)
        have = held.of(layers)
        error: EnvironmentUnfit | None = None
        goal, runtime = full_name(image.ref), store.runtime
        for way in self._exporter.ways(image, runtime.arriving(goal), have, runtime.layout):
            script = runtime.receive if way.partial else runtime.receive_whole
            source, sink = self._process.pipe(
                way.argv,
                store.machine.command("sh", "-c", script, "sh", way.name, goal),
                doing=doing,
                deadline_seconds=_LOAD_SECONDS,
                on_line=lambda line: progress.read(name, line),
            )
            if source.exit_status == sink.exit_status == 0:
                if not way.partial:
                    return Sent(way.what)
                return Sent(way.what, progress.sent(name), len(layers) - len(have), len(layers))
            error = _why(source, sink, doing, image, name)
            if source.exit_status == DAMAGED or says_disk_full(error.detail):
                break
        assert error is not None  # there is always a last way
        raise error

    def _minikube(self, *arguments: str, doing: str) -> str:
        return self._process.run(
            [self._tools.path("minikube"), "-p", self.profile, *arguments],
            doing=doing,
            deadline_seconds=_LOAD_SECONDS,
            hint="releaser up starts the local Minikube",
        ).stdout


class _Progress:
    """How much of how many bytes has gone into each node, from the lines that releaser/layers.py writes."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._counted: dict[str, tuple[int, int]] = {}

    def read(self, node: str, line: str) -> None:
        with suppress(ValueError, KeyError, TypeError):  # other programs write what they like
            told = json.loads(line)
            self._counted[node] = (told["sent"], told["of"])
            sent, total = (sum(column) / 1e6 for column in zip(*list(self._counted.values()), strict=True))
            self._on_progress(f"{sent:.1f} of {total:.1f} MB")

    def sent(self, node: str) -> int | None:
        return self._counted.get(node, (None,))[0]


def _why(source: Finished, sink: Finished, doing: str, image: Image, node: str) -> EnvironmentUnfit:
    """The error of a transfer that failed: the node's word before the local one, which follows from it."""
    if source.exit_status == DAMAGED:
        return EnvironmentUnfit(
            f"While {doing}: Docker's copy of the image is damaged",
            detail=source.stderr,
            hint=f"docker image rm --force {image.ref}, then build it again",
        )
    if says_disk_full(sink.stdout):
        return EnvironmentUnfit(
            f"While {doing}: the node's disk is full",
            detail=sink.stdout,
            hint=f"`releaser prune` removes images that nobody needs any more; docker exec {node} df -h shows the rest",
        )
    return failed(sink if sink.exit_status > 0 else source, doing, "releaser up mends the local Minikube")


def _at_once(work: Callable[[_Store], _Result], stores: Sequence[_Store]) -> list[_Result]:
    """For every node at the same time. An interrupt doesn't wait for those under way: they end with us."""
    if len(stores) == 1:
        return [work(stores[0])]
    results: dict[str, _Result] = {}
    errors: list[BaseException] = []

    def run(store: _Store) -> None:
        try:
            results[store.machine.name] = work(store)
        except BaseException as exc:  # raised again where everybody waits
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(store,), daemon=True) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[store.machine.name] for store in stores]
