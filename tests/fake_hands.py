"""Hands for experiments, a cluster whose pods come and go, and a clock on which all that takes no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from releaser.flows.experiments.hands import Hands
from releaser.models import ContainerState, PodState, Receipt, Snapshot
from releaser.verification import Autoscaler, DisruptionBudget, Ran
from tests.fakes import DEPLOYMENT, FakeCluster, World, pod, snapshot

# Whoever only looks, and lets no time pass, would look for ever.
_SNAPSHOTS = 1000
_ELSEWHERE = ("default", "kube-public")


class StepClock:
    """Sleeping is what lets time pass, and what lets those beside do their work."""

    def __init__(self) -> None:
        self.time = 0.0
        self._beats: list[_Beat] = []
        self.on_sleep: Callable[[float], None] = lambda time: None

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for each in list(self._beats):
            if each.due <= self.time:
                pause = each.beat()
                each.due = float("inf") if pause is None else self.time + pause
        self.on_sleep(self.time)

    @contextmanager
    def beside(self, first_seconds: float, beat: Callable[[], float | None]) -> Iterator[None]:
        mine = _Beat(self.time + first_seconds, beat)
        self._beats.append(mine)
        try:
            yield
        finally:
            self._beats.remove(mine)


@dataclass
class _Beat:
    due: float
    beat: Callable[[], float | None]


def live_pod(name: str, *, ready: bool = True, restarts: int = 0, node: str = "n1") -> PodState:
    container = ContainerState("web", ready=ready, started=True, restarts=restarts, running=True)
    return PodState(name, "Running", True, ready, False, (container,), owner_uid="rs-1", node=node, uid=f"uid-{name}")


class LivingCluster(FakeCluster):
    """Two pods of a Deployment. What is removed or killed comes back after `slow_seconds`; None: never."""

    def __init__(self, world: World, clock: StepClock) -> None:
        super().__init__(world)
        self._clock = clock
        self.slow_seconds: float | None = 3.0
        self.living = [live_pod("web-1-a"), live_pod("web-1-b")]
        self._coming: list[tuple[float, PodState]] = []
        self.node = "n1"
        """Where what comes back is put."""

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]:
        self._arrive()
        return tuple(self.living)

    def snapshots(self, namespace: str, release: str, deadline_seconds: float) -> Iterator[Snapshot]:
        values = self._world.running(namespace, release) or {}
        missing = (values.get("image") or {}).get("tag") == "releaser-verify-none"
        for _ in range(_SNAPSHOTS):
            if missing:
                yield snapshot(replace(DEPLOYMENT, desired=2, replicas=3), pod("web-1-c", {"crash": True}))
                continue
            pods = self.pods(namespace, release)
            ready = sum(pod.ready for pod in pods)
            state = replace(DEPLOYMENT, desired=2, replicas=len(pods), updated=len(pods), available=ready)
            yield snapshot(state, *pods)

    def remove_pod(self, namespace: str, pod: str) -> None:
        super().remove_pod(namespace, pod)
        self.living = [each for each in self.living if each.name != pod]
        self._later(live_pod(f"{pod}-anew", node=self.node))

    def restart(self, pod: str) -> None:
        [old] = [each for each in self.living if each.name == pod]
        self.change(live_pod(pod, ready=False, restarts=old.restarts))
        self._later(live_pod(pod, restarts=old.restarts + 1))

    def change(self, pod: PodState) -> None:
        self.living = sorted([*(each for each in self.living if each.name != pod.name), pod], key=lambda p: p.name)

    def _later(self, pod: PodState) -> None:
        if self.slow_seconds is not None:
            self._coming.append((self._clock.time + self.slow_seconds, pod))

    def _arrive(self) -> None:
        for each in [each for each in self._coming if each[0] <= self._clock.time]:
            self._coming.remove(each)
            self.change(each[1])


class ClockedProber:
    """Sends at its rate as the clock goes. `lose` says how many of them were lost by then, given how long it sends."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock
        self.lose: Callable[[float], int] = lambda seconds: 0
        self.pods: tuple[tuple[str, int], ...] = ()
        self.open = 0

    @contextmanager
    def probe(
        self, namespace: str, service: str, image: str, rate_per_second: float, path: str
    ) -> Iterator[ClockedProbing]:
        self.open += 1
        try:
            yield ClockedProbing(self, self._clock, self._clock.time, rate_per_second)
        finally:
            self.open -= 1


@dataclass
class ClockedProbing:
    prober: ClockedProber
    clock: StepClock
    began: float
    rate: float

    @property
    def receipt(self) -> Receipt:
        seconds = self.clock.time - self.began
        lost = self.prober.lose(seconds)
        errors = (("reset", lost),) if lost else ()
        return Receipt(int(seconds * self.rate), lost, 0.1, 0.004, 0.02, self.rate, (), self.prober.pods, errors)


@dataclass
class FakeMachines:
    cluster: LivingCluster
    trouble: str = ""
    frozen: set[str] = field(default_factory=set)
    restarted: list[str] = field(default_factory=list)

    def unreachable(self) -> str:
        return self.trouble

    def kill_first_process(self, pod: PodState, container: str) -> None:
        self.cluster.restart(pod.name)

    def freeze(self, pod: PodState, container: str) -> int:
        self.frozen.add(pod.uid)
        return 3

    def thaw(self, pods: Sequence[PodState]) -> int:
        found = self.frozen & {pod.uid for pod in pods}
        self.frozen -= found
        return 3 * len(found)

    def restart_runtime(self, node: str) -> None:
        self.restarted.append(node)


@dataclass
class FakeInsides:
    """Answers by path; programs end as told."""

    answers: dict[str, str] = field(default_factory=dict)
    ran: Ran = field(default_factory=lambda: Ran(0, "none\n"))

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], deadline_seconds: float) -> Ran:
        return self.ran

    def ask(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str]:
        return 200, self.answers.get(path, "{}")


@dataclass
class FakeErrands:
    ran: Ran = field(default_factory=lambda: Ran(0, ""))
    left: int = 0

    def run(
        self,
        namespace: str,
        release: str,
        image: str,
        script: str,
        labels: Mapping[str, str] | None = None,
        node: str = "",
    ) -> Ran:
        return self.ran

    def sweep(self, namespace: str, release: str, labels: Mapping[str, str] | None = None) -> int:
        if namespace in _ELSEWHERE:
            return 0
        found, self.left = self.left, 0
        return found


class FakeAutoscalers:
    """HPAs that want more pods a while after they were made; `stubborn` ones never do."""

    def __init__(self, cluster: LivingCluster, clock: StepClock) -> None:
        self._cluster = cluster
        self._clock = clock
        self.made: dict[str, float] = {}
        self.served = True
        self.stubborn = False

    def metrics_answer(self) -> bool:
        return self.served

    def read(self, namespace: str, name: str) -> Autoscaler | None:
        if name not in self.made:
            return None
        late = self._clock.time > self.made[name] + 30 and not self.stubborn
        return Autoscaler(name, 4 if late else 2, 2, 4, 0.0)

    def create(
        self, namespace: str, release: str, deployment: str, minimum: int, maximum: int, cpu_percent: int
    ) -> str:
        self.made[f"{deployment}-verify"] = self._clock.time
        return f"{deployment}-verify"

    def sweep(self, namespace: str, release: str) -> int:
        found = len(self.made)
        self.made.clear()
        return found


@dataclass
class FakeNetwork:
    address: str = "10.96.0.7"
    endpoints: frozenset[str] = frozenset({"10.244.0.1", "10.244.0.2"})

    def service_address(self, namespace: str, service: str) -> str:
        return self.address

    def ready_endpoints(self, namespace: str, service: str) -> frozenset[str]:
        return self.endpoints

    def pod_addresses(self, namespace: str, release: str) -> dict[str, str]:
        return {"web-1-a": "10.244.0.1", "web-1-b": "10.244.0.2"}


@dataclass
class FakeDisclosure:
    status: int = 403
    values: tuple[str, ...] = ("correct horse battery",)
    texts: dict[str, str] = field(default_factory=lambda: {"configmap/web": "text"})
    allowed: bool = False

    def anonymous_status(self, path: str) -> int:
        return self.status

    def secret_values(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        return self.values

    def may_read_secrets(self, namespace: str, account: str) -> bool:
        return self.allowed

    def readable(self, namespace: str) -> dict[str, str]:
        return self.texts


class FakeNodes:
    """Two nodes. What is evicted comes back on the other one; the budget refuses while too few pods are ready."""

    def __init__(self, cluster: LivingCluster) -> None:
        self._cluster = cluster
        self.names: tuple[str, ...] = ("n1", "n2")
        self.cordoned: dict[str, str] = {}
        self.desired: int | None = 1
        self.refuses = True
        self.evicted: list[str] = []

    def schedulable(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.cordoned)

    def cordon(self, node: str, namespace: str, release: str) -> None:
        self.cordoned[node] = f"{namespace}/{release}"
        self._cluster.node = self.schedulable()[0]

    def uncordon(self, node: str) -> None:
        self.cordoned.pop(node, None)

    def sweep(self, namespace: str, release: str) -> int:
        left = [node for node, whose in self.cordoned.items() if whose == f"{namespace}/{release}"]
        for node in left:
            self.uncordon(node)
        return len(left)

    def evict(self, namespace: str, pod: str, *, dry_run: bool = False) -> bool:
        budget = self.disruption_budget(namespace, "")
        if budget is not None and budget.allowed < 1 and self.refuses:
            return False
        if not dry_run:
            self.evicted.append(pod)
            self._cluster.remove_pod(namespace, pod)
        return True

    def disruption_budget(self, namespace: str, release: str) -> DisruptionBudget | None:
        if self.desired is None:
            return None
        ready = sum(pod.ready for pod in self._cluster.living)
        return DisruptionBudget("web", self.desired, max(0, ready - self.desired))


@dataclass
class FakePolicies:
    policies: tuple[Mapping[str, Any], ...] = ()

    def network_policies(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        return self.policies

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": namespace}

    def pod_labels(self, namespace: str, pod: str) -> dict[str, str]:
        return {"app": "web"}


@dataclass
class FakeHands:
    machines: FakeMachines
    insides: FakeInsides
    errands: FakeErrands
    autoscalers: FakeAutoscalers
    network: FakeNetwork
    disclosure: FakeDisclosure
    nodes: FakeNodes
    policies: FakePolicies

    @property
    def all(self) -> Hands:
        return Hands(
            machines=self.machines,
            insides=self.insides,
            errands=self.errands,
            autoscalers=self.autoscalers,
            network=self.network,
            disclosure=self.disclosure,
            nodes=self.nodes,
            policies=self.policies,
        )


def fake_hands(cluster: LivingCluster, clock: StepClock) -> FakeHands:
    return FakeHands(
        FakeMachines(cluster),
        FakeInsides(),
        FakeErrands(),
        FakeAutoscalers(cluster, clock),
        FakeNetwork(),
        FakeDisclosure(),
        FakeNodes(cluster),
        FakePolicies(),
    )
