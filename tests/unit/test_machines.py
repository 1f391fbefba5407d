"""Minikube's files, as it writes them, and how its nodes are reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from releaser.adapters.machines import machines

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the files of the profile `lab`."""
    monkeypatch.setenv("MINIKUBE_HOME", str(tmp_path))

    def put(*nodes: dict[str, Any], drivers: dict[str, dict[str, Any]] | None = None, **config: Any) -> None:
        document = {"Driver": "docker", "KubernetesConfig": {"ContainerRuntime": "containerd"}, "Nodes": list(nodes)}
        documents = {"profiles/lab": document | config}
        documents |= {f"machines/{name}": {"Driver": driver} for name, driver in (drivers or {}).items()}
        for place, each in documents.items():
            path = tmp_path / ".minikube" / place / "config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(each))

    return put


@pytest.mark.parametrize("name", ["", "m01"])
def test_a_node_that_is_alone_has_the_profiles_name(write: Write, name: str) -> None:
    write({"Name": name})
    [machine] = machines("lab")
    assert machine.command("crictl", "images") == ["docker", "exec", "-i", "lab", "crictl", "images"]
    assert machine.runtime == "containerd"


def test_each_of_several_nodes_has_its_own_name_and_runtime(write: Write) -> None:
    write({"Name": ""}, {"Name": "m02", "ContainerRuntime": "crio"})
    assert [(each.name, each.runtime) for each in machines("lab")] == [("lab", "containerd"), ("lab-m02", "crio")]


def test_a_virtual_machine_is_reached_by_ssh_and_its_shell_takes_nothing_apart(write: Write) -> None:
    driver = {"IPAddress": "192.168.39.7", "SSHKeyPath": "/keys/id", "SSHUser": "docker", "SSHPort": 22}
    write({"Name": ""}, drivers={"lab": driver}, Driver="kvm2")
    [machine] = machines("lab")
    argv = machine.command("sh", "-c", 'echo "$1"', "sh", "two words")
    assert argv[0] == "ssh" and argv[-3:-1] == ["docker@192.168.39.7", "sudo"]
    assert argv[-1] == """sh -c 'echo "$1"' sh 'two words'"""
    assert argv[argv.index("-i") + 1] == "/keys/id"


@pytest.mark.parametrize(
    ("driver", "config"),
    [
        ({}, {"Driver": "kvm2"}),
        ({"IPAddress": "192.168.39.7"}, {"Driver": "kvm2"}),
        ({"IPAddress": "127.0.0.1", "SSHKeyPath": "/keys/id"}, {"Driver": "none"}),
    ],
    ids=["no address", "no key", "no machine"],
)
def test_a_profile_with_a_node_out_of_reach_has_none_that_can_be_looked_into(
    write: Write, driver: dict[str, Any], config: dict[str, Any]
) -> None:
    write({"Name": ""}, drivers={"lab": driver}, **config)
    assert machines("lab") == []


def test_a_profile_that_minikube_does_not_know_has_no_nodes(write: Write) -> None:
    write({"Name": ""})
    assert machines("elsewhere") == []
