"""What is said to Minikube, and what is understood of its answers; a script stands for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from releaser.adapters.minikube import Minikube
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import EnvironmentUnfit, ToolFailed
from releaser.models import LocalNode
from tests.fakes import Recorder

CONTROL_PLANE = {"Host": "Running", "Kubelet": "Running", "APIServer": "Running"}
WORKER = {"Host": "Running", "Kubelet": "Running", "APIServer": "Irrelevant"}


class Machine:
    """Where `minikube` and `docker` are scripts that write their arguments down; nothing else is on PATH, iptables
    neither."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        self.dies_at("nothing")
        self._program("docker", "")
        for name in ("minikube", "docker"):
            (root / f"said-{name}").touch()
        self.status("no such profile")
        (root / "profiles").write_text('{"valid": []}\n')
        process = Process(Recorder())
        self.minikube = Minikube(process, Tools(process), "here")

    def dies_at(self, verb: str) -> None:
        self._program(
            "minikube",
            'case "$*" in\n  version*) echo v1.38.1;;\n'
            f'  *" status "*) read -r line < {self.root}/status; echo "$line";;\n'
            f'  "profile list"*) read -r line < {self.root}/profiles; echo "$line";;\n'
            f'  *"{verb}"*) exit 137;;\nesac\n',
        )

    def _program(self, name: str, body: str) -> None:
        program = self.root / "bin" / name
        program.write_text(f'#!/bin/sh\necho "$@" "memory=$MINIKUBE_MEMORY" >> {self.root}/said-{name}\n{body}')
        program.chmod(0o755)

    def status(self, answer: object) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self.root / "status").write_text(f"{text}\n")

    def profile(self, nodes: Sequence[Mapping[str, object]] = ({"Name": ""},), **config: Any) -> None:
        """The profile as Minikube would have written it down."""
        (self.root / "profiles").write_text('{"valid": [{"Name": "here"}]}\n')
        path = self.root / ".minikube" / "profiles" / "here" / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"Driver": "docker", "Nodes": list(nodes), "KubernetesConfig": config}))

    def said(self, verb: str, program: str = "minikube") -> list[list[str]]:
        lines = (self.root / f"said-{program}").read_text().splitlines()
        return [line.split() for line in lines if f" {verb}" in line]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MINIKUBE_HOME", str(tmp_path))
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("status", "nodes"),
    [
        (CONTROL_PLANE, 1),
        ([CONTROL_PLANE, WORKER], 2),
        ([CONTROL_PLANE, WORKER, WORKER | {"Kubelet": "Stopped"}], 0),
        ([CONTROL_PLANE, WORKER | {"Host": "Nonexistent", "Kubelet": "Nonexistent"}], 0),
        (CONTROL_PLANE | {"APIServer": "Stopped"}, 0),
        ('Profile "here" not found.', 0),
        ("[]", 0),
    ],
)
def test_nodes_count_when_all_of_them_run(machine: Machine, status: object, nodes: int) -> None:
    machine.status(status)
    assert machine.minikube.running_nodes() == nodes


def test_a_profile_begins_with_the_pod_network_and_keeps_the_one_that_it_has(machine: Machine) -> None:
    manifest = machine.root / "pod-network.yaml"
    manifest.write_text("kind: DaemonSet")
    node = LocalNode("releaser/node:1", "v1.35.4", "v0.9.0", manifest)
    machine.minikube.start(node, lambda line: None)
    machine.profile(CNI="bridge")
    machine.minikube.start(node, lambda line: None)

    [first, second] = machine.said("start")
    [cni] = [word.removeprefix("--cni=") for word in first if word.startswith("--cni=")]
    assert Path(cni).read_text() == "kind: DaemonSet"
    assert not any(word.startswith("--cni") for word in second)


def test_a_node_is_added_with_the_memory_that_the_others_have(machine: Machine) -> None:
    machine.profile(CNI="/somewhere/pod-network.yaml")
    machine.minikube.add_node(lambda line: None)
    machine.minikube.start(None, lambda line: None)
    [[*words, memory]], [start] = machine.said("node add"), machine.said("start")
    assert words == ["-p", "here", "node", "add"]
    assert f"--{memory}" in start


def test_a_node_whose_adding_was_killed_is_made_anew_by_the_next_start(machine: Machine) -> None:
    both = [{"Name": "", "ControlPlane": True}, {"Name": "m02", "ControlPlane": False}]
    machine.profile(CNI="/somewhere/pod-network.yaml", nodes=both[:1])
    machine.dies_at("node add")
    with pytest.raises(ToolFailed):
        machine.minikube.add_node(lambda line: None)
    machine.profile(CNI="/somewhere/pod-network.yaml", nodes=both)
    for name in ("here", "here-m02"):
        (machine.root / ".minikube" / "machines" / name).mkdir(parents=True)
    machine.status([CONTROL_PLANE, WORKER])
    assert machine.minikube.running_nodes() == 0

    machine.minikube.start(None, lambda line: None)

    removed = [line for line in machine.said("", "docker") if "here-m02" in line]
    assert [words[:2] for words in removed] == [["rm", "--force"], ["volume", "rm"]]
    assert [path.name for path in (machine.root / ".minikube" / "machines").iterdir()] == ["here"]
    assert machine.minikube.running_nodes() == 2


def test_a_profile_whose_pods_have_one_node_only_gets_no_second_one(machine: Machine) -> None:
    machine.profile(CNI="bridge")
    with pytest.raises(EnvironmentUnfit, match="bridge CNI") as caught:
        machine.minikube.add_node(lambda line: None)
    assert "--delete" in caught.value.hint
    assert machine.said("node add") == []
