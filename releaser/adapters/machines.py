"""The machines that are a Minikube profile's nodes, and how a command gets into them."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SSH = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
    # Minikube makes its machines anew under the addresses of old ones
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
)


@dataclass(frozen=True)
class Machine:
    """A node: its container runtime, and the words that go before a command for it; with `by_shell` they end in a
    shell, which takes the command apart again."""

    name: str
    runtime: str
    prefix: tuple[str, ...]
    by_shell: bool = False

    def command(self, *words: str) -> list[str]:
        """argv that runs the words as root in the machine, from its standard input to its standard output."""
        return [*self.prefix, shlex.join(words)] if self.by_shell else [*self.prefix, *words]


def machines(profile: str) -> list[Machine]:
    """The profile's nodes; empty where Minikube's files don't say enough of one to reach it."""
    config = settings(profile)
    nodes = config.get("Nodes") or []
    # a node that is alone has the profile's name, whatever its own (Minikube's MachineName)
    found = [
        _machine(f"{profile}-{node['Name']}" if node.get("Name") and len(nodes) > 1 else profile, node, config)
        for node in nodes
    ]
    return [machine for machine in found if machine] if all(found) else []


def settings(profile: str) -> dict[str, Any]:
    """What Minikube wrote down of the profile; empty for one that there isn't."""
    return _read(minikube_home() / "profiles" / profile / "config.json")


def _machine(name: str, node: dict[str, Any], config: dict[str, Any]) -> Machine | None:
    runtime = node.get("ContainerRuntime") or config.get("KubernetesConfig", {}).get("ContainerRuntime") or "docker"
    if config.get("Driver") == "docker":
        return Machine(name, runtime, ("docker", "exec", "-i", name))
    driver = _read(minikube_home() / "machines" / name / "config.json").get("Driver", {})
    address, key = driver.get("IPAddress") or node.get("IP"), driver.get("SSHKeyPath")
    if not address or not key or config.get("Driver") == "none":
        return None
    user, port = driver.get("SSHUser") or "docker", driver.get("SSHPort") or 22
    return Machine(name, runtime, ("ssh", *_SSH, "-i", key, "-p", str(port), f"{user}@{address}", "sudo"), True)


def minikube_home() -> Path:
    """As Minikube finds it (pkg/minikube/localpath)."""
    given = os.environ.get("MINIKUBE_HOME")
    if not given:
        return Path.home() / ".minikube"
    return Path(given) if Path(given).name == ".minikube" else Path(given) / ".minikube"


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
