"""What experiments need of the outside beyond what other flows need, each as few methods as will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from releaser.models import PodState
from releaser.verification import Autoscaler, DisruptionBudget, Ran


class Machines(Protocol):
    """The machines that are the cluster's nodes, from the outside."""

    def unreachable(self) -> str:
        """Why a command can't be run in each node; empty when it can."""
        ...

    def kill_first_process(self, pod: PodState, container: str) -> None:
        """SIGKILL to process 1 of the container."""
        ...

    def freeze(self, pod: PodState, container: str) -> int:
        """SIGSTOP to every process of the container; how many."""
        ...

    def thaw(self, pods: Sequence[PodState]) -> int:
        """SIGCONT to each process of these pods that stands still; how many."""
        ...

    def restart_runtime(self, node: str) -> None:
        """Restart the node's container runtime, and wait until it answers again."""
        ...


class Insides(Protocol):
    """Running pods, from within and one by one."""

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], deadline_seconds: float) -> Ran: ...

    def ask(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str]:
        """Status and body of the pod's own answer; status 0 when it gives none."""
        ...


class Errands(Protocol):
    """Pods that run one Python program and go away."""

    def run(
        self, namespace: str, release: str, image: str, script: str, labels: Mapping[str, str] = ..., node: str = ""
    ) -> Ran:
        """The program's end and output. The pod meets Pod Security `restricted`; with `node` it runs on that one."""
        ...

    def sweep(self, namespace: str, release: str, labels: Mapping[str, str] = ...) -> int:
        """Remove those, with these labels, that a killed run left; how many."""
        ...


class Autoscalers(Protocol):
    def metrics_answer(self) -> bool: ...

    def read(self, namespace: str, name: str) -> Autoscaler | None: ...

    def create(
        self, namespace: str, release: str, deployment: str, minimum: int, maximum: int, cpu_percent: int
    ) -> str:
        """The name of a new one that scales down as soon as it may."""
        ...

    def sweep(self, namespace: str, release: str) -> int:
        """Remove those that verify has made; how many."""
        ...


class Network(Protocol):
    """What the cluster says of who answers where."""

    def service_address(self, namespace: str, service: str) -> str: ...

    def ready_endpoints(self, namespace: str, service: str) -> frozenset[str]: ...

    def pod_addresses(self, namespace: str, release: str) -> Mapping[str, str]:
        """Addresses of the release's ready pods, by their names."""
        ...


class Disclosure(Protocol):
    """Ways by which a secret could come out."""

    def anonymous_status(self, path: str) -> int:
        """What the API server says to a request without credentials."""
        ...

    def secret_values(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        """Every value of these Secrets, decoded."""
        ...

    def may_read_secrets(self, namespace: str, account: str) -> bool:
        """Whether the service account may."""
        ...

    def readable(self, namespace: str) -> Mapping[str, str]:
        """Everything in the namespace that is readable without being allowed to read Secrets, as text by its name:
        ConfigMaps, Deployments, ReplicaSets, pods and their logs."""
        ...


class Nodes(Protocol):
    """The cluster's nodes as its administrators treat them."""

    def schedulable(self) -> tuple[str, ...]:
        """Names of those that take pods."""
        ...

    def cordon(self, node: str, namespace: str, release: str) -> None:
        """Let it take no more pods; on the node stands for whose sake."""
        ...

    def uncordon(self, node: str) -> None:
        """Only what `cordon` has done is undone."""
        ...

    def sweep(self, namespace: str, release: str) -> int:
        """Uncordon those that a killed run left; how many."""
        ...

    def evict(self, namespace: str, pod: str, *, dry_run: bool = False) -> bool:
        """Whether the disruption budgets let the pod go. One that has gone already may."""
        ...

    def disruption_budget(self, namespace: str, release: str) -> DisruptionBudget | None: ...


class Policies(Protocol):
    """What the cluster says of who may reach whom."""

    def network_policies(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        """As the API's JSON has them."""
        ...

    def namespace_labels(self, namespace: str) -> Mapping[str, str]: ...

    def pod_labels(self, namespace: str, pod: str) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Hands:
    """All of them. An experiment takes what it needs."""

    machines: Machines
    insides: Insides
    errands: Errands
    autoscalers: Autoscalers
    network: Network
    disclosure: Disclosure
    nodes: Nodes
    policies: Policies
