from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from releaser.errors import Refused, ToolFailed, WrongContext
from releaser.flows.down import down
from releaser.flows.up import Machine, up
from releaser.models import LocalNode
from tests.fakes import Recorder


@dataclass
class Fresh:
    """A machine with nothing on it, that remembers what was made. `kill_at` fails once at that piece."""

    registries: bool = False
    kill_at: str = ""
    engine_runs: bool = False
    made: list[str] = field(default_factory=list)
    tools: set[str] = field(default_factory=set)
    started_from: LocalNode | None = None
    runs: bool = False
    nodes: int = 1
    metrics: bool = False
    locked: bool = False
    profile: str = "releaser"
    context: str = "releaser"
    log_path: Path = Path("/log")

    def make(self, piece: str) -> None:
        if piece == self.kill_at:
            self.kill_at = ""
            raise ToolFailed(f"While making {piece}: killed", exit_status=137, stdout="", stderr="")
        self.made.append(piece)

    # Engine
    @property
    def log(self) -> Path:
        return self.log_path

    def version(self) -> str:
        return "1" if self.engine_runs else ""

    # Registries
    def answer(self) -> bool:
        return self.registries

    # the cluster
    def node_ip(self) -> str:
        return "10.0.0.1"

    def metrics_answer(self) -> bool:
        return self.metrics

    @contextmanager
    def alone(self) -> Iterator[None]:
        if self.locked:
            raise Refused("another `releaser up` is at work")
        yield


class FakeEngine:
    def __init__(self, machine: Fresh) -> None:
        self._machine = machine
        self.log = Path("/log/dockerd")

    def version(self) -> str:
        return self._machine.version()

    def start(self) -> None:
        self._machine.make("engine")
        self._machine.engine_runs = True


class FakeToolchain:
    local_node = LocalNode("releaser/node:1", "v1.35.4", "v0.9.0", Path("/toolchain/pod-network.yaml"))

    def __init__(self, machine: Fresh) -> None:
        self._machine = machine

    def log(self, name: str) -> Path:
        return Path("/log") / name

    def has_tool(self, name: str) -> bool:
        return name in self._machine.tools

    def has_program(self, name: str) -> bool:
        return f"program {name}" in self._machine.made

    def compile(self, names: Sequence[str], on_line: Callable[[str], None]) -> None:
        for name in names:
            self._machine.make(f"program {name}")

    def publish(self, name: str) -> None:
        self._machine.tools.add(name)

    def has_node_image(self) -> bool:
        return "node image" in self._machine.made

    def debian(self, on_line: Callable[[str], None]) -> None:
        self._machine.make("debian")

    def python_bases(self, on_line: Callable[[str], None]) -> None:
        self._machine.make("python bases")

    def node(self, on_line: Callable[[str], None]) -> None:
        assert {"program node", "program pause", "program crictl", "debian"} <= set(self._machine.made)
        self._machine.make("node image")


class FakeMinikube:
    def __init__(self, machine: Fresh) -> None:
        self._machine = machine
        self.profile = machine.profile
        self.log = Path("/log/minikube")

    def exists(self) -> bool:
        return self._machine.runs

    def running_nodes(self) -> int:
        return self._machine.nodes if self._machine.runs else 0

    def add_node(self, on_line: Callable[[str], None]) -> None:
        assert self._machine.runs
        self._machine.make("a node")
        self._machine.nodes += 1

    def start(self, node: LocalNode | None, on_line: Callable[[str], None]) -> None:
        self._machine.make("start")
        self._machine.started_from = node
        self._machine.runs = True

    def enable_metrics(self, node: LocalNode | None, on_line: Callable[[str], None]) -> None:
        self._machine.make("metrics")
        self._machine.metrics = True

    def stop(self) -> None:
        self._machine.runs = False

    def delete(self) -> None:
        self._machine.runs = False
        self._machine.made.append("deleted")


def hands(machine: Fresh) -> Machine:
    return Machine(
        engine=FakeEngine(machine),
        toolchain=FakeToolchain(machine),
        registries=machine,
        minikube=FakeMinikube(machine),
        cluster=lambda: machine,
        alone=machine.alone,
    )


def test_a_fresh_machine_without_registries_gets_everything_from_here() -> None:
    machine = Fresh()
    result = up(hands(machine), Recorder())
    assert (result.already, result.node_ip, machine.tools) == (False, "10.0.0.1", {"helm", "minikube", "kubectl"})
    assert machine.made[0] == "engine"
    assert machine.made[-3:] == ["node image", "start", "metrics"]
    assert machine.started_from == FakeToolchain.local_node


def test_a_running_cluster_is_left_alone() -> None:
    machine = Fresh()
    up(hands(machine), Recorder())
    made = list(machine.made)
    recorder = Recorder()
    assert up(hands(machine), recorder).already
    assert (machine.made, recorder.steps) == (made, [])


def test_where_registries_answer_only_missing_tools_are_built_and_minikube_starts_in_its_ordinary_way() -> None:
    machine = Fresh(registries=True, engine_runs=True, tools={"helm"})
    up(hands(machine), Recorder())
    assert machine.made == ["program minikube", "program node", "start", "metrics"]
    assert machine.started_from is None


def test_a_running_cluster_gets_the_nodes_that_it_lacks_and_nothing_else() -> None:
    machine = Fresh()
    assert up(hands(machine), Recorder()).nodes == 1
    machine.made.clear()
    grown = up(hands(machine), Recorder(), nodes=3)
    assert (grown.nodes, grown.already, machine.made) == (3, False, ["a node", "a node"])


def test_no_node_is_removed() -> None:
    machine = Fresh()
    assert up(hands(machine), Recorder(), nodes=2).nodes == 2
    machine.made.clear()
    again = up(hands(machine), Recorder())
    assert (again.nodes, again.already, machine.made) == (2, True, [])


def test_a_stopped_cluster_is_started_before_it_gets_a_node() -> None:
    machine = Fresh()
    up(hands(machine), Recorder())
    machine.runs = False
    up(hands(machine), Recorder(), nodes=2)
    assert machine.made[-3:] == ["start", "metrics", "a node"]


@pytest.mark.parametrize(
    "piece", ["engine", "program node", "program minikube", "debian", "python bases", "node image", "start", "metrics"]
)
def test_a_run_that_was_killed_anywhere_is_mended_by_the_next_and_nothing_is_compiled_twice(piece: str) -> None:
    machine = Fresh(kill_at=piece)
    with pytest.raises(ToolFailed, match=piece):
        up(hands(machine), Recorder())
    assert not up(hands(machine), Recorder()).already
    assert machine.runs and machine.metrics
    for program in ("node", "pause", "crictl", "helm", "minikube"):
        assert machine.made.count(f"program {program}") == 1


def test_a_node_that_runs_without_a_kube_context_is_started_again() -> None:
    machine = Fresh(engine_runs=True, tools={"helm", "minikube", "kubectl"}, runs=True)
    connected = hands(machine)

    def connect() -> Fresh:
        if "start" not in machine.made:
            raise WrongContext("the kubeconfig has no such context")
        return machine

    assert not up(replace(connected, cluster=connect), Recorder()).already
    assert "start" in machine.made


def test_a_second_run_at_the_same_time_is_refused() -> None:
    machine = Fresh(locked=True)
    with pytest.raises(Refused):
        up(hands(machine), Recorder())
    assert machine.made == []


def test_a_stopped_cluster_is_started_without_building_anything() -> None:
    machine = Fresh()
    up(hands(machine), Recorder())
    machine.runs = False
    machine.made.clear()
    machine.made += ["program node", "program crictl", "node image"]
    up(hands(machine), Recorder())
    assert not any(piece.startswith("program") for piece in machine.made[3:])


@pytest.mark.parametrize(("delete", "made"), [(False, []), (True, ["deleted"])])
def test_down_stops_or_deletes_and_says_when_there_was_nothing(delete: bool, made: list[str]) -> None:
    machine = Fresh(runs=True)
    assert down(FakeMinikube(machine), Recorder(), delete=delete).existed
    assert not down(FakeMinikube(machine), Recorder(), delete=delete).existed
    assert machine.made == made
