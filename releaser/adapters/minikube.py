"""Minikube: one profile, its state, its nodes, start, stop and delete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from releaser.adapters.machines import minikube_home, settings
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools, cache_directory
from releaser.errors import EnvironmentUnfit
from releaser.models import LocalNode

_START_SECONDS = 900.0
_GIB = 1024**3
_NOTHING_TO_LOAD = {"MINIKUBE_CACHE_IMAGES": "false", "MINIKUBE_PRELOAD": "false"}


class Minikube:
    def __init__(self, process: Process, tools: Tools, profile: str) -> None:
        self._process = process
        self._tools = tools
        self.profile = profile

    @property
    def log(self) -> Path:
        return cache_directory() / "log" / f"minikube-{self.profile}.log"

    @property
    def _unfinished(self) -> Path:
        """Stands from the first start of a profile that we make until its success."""
        return cache_directory() / f"starting-{self.profile}"

    @property
    def _adding(self) -> Path:
        """Stands while a node is added, and names those that were there before."""
        return cache_directory() / f"adding-{self.profile}"

    def exists(self) -> bool:
        finished = self._process.run(
            [self._tools.path("minikube"), "profile", "list", "--light", "--output", "json"],
            doing="listing Minikube's profiles",
            deadline_seconds=60,
            check=False,
        )
        try:
            profiles = json.loads(finished.stdout)
        except ValueError:  # no profile at all is told in prose
            return False
        return any(each["Name"] == self.profile for kind in ("valid", "invalid") for each in profiles.get(kind) or [])

    def running_nodes(self) -> int:
        """How many nodes the profile has, when host, kubelet and API server of all of them run; else 0."""
        if self._unfinished.exists() or self._adding.exists():
            return 0
        finished = self._process.run(
            [self._tools.path("minikube"), "-p", self.profile, "status", "--output", "json"],
            doing=f"asking for the state of Minikube {self.profile}",
            deadline_seconds=60,
            check=False,
        )
        return _running(finished.stdout)

    def start(self, node: LocalNode | None, on_line: Callable[[str], None]) -> None:
        """Make or start the profile. With a `node`, from local images alone; else in Minikube's ordinary way.

        Minikube can't finish the first start of a profile or of a node that was killed half way: what is left of such a
        start of ours is deleted first.
        """
        if self._unfinished.exists():
            self.delete()
        self._forget_half_made_nodes()
        new = not self.exists()
        if new:
            self._unfinished.parent.mkdir(parents=True, exist_ok=True)
            self._unfinished.touch()
        local = self._local(node, new=new) if node else []
        if node:
            _reject_stray_addresses(self._process)
        self._process.stream(
            [
                *(self._tools.path("minikube"), "-p", self.profile, "start"),
                *("--driver=docker", "--container-runtime=containerd", "--keep-context", "--wait=all"),
                *(f"--cpus={min(2, os.cpu_count() or 2)}", f"--memory={_memory_mib()}m"),
                *local,
                # root may use the docker driver; Minikube wants to be told that this is meant
                *(["--force"] if os.geteuid() == 0 else []),
            ],
            doing=f"starting Minikube {self.profile}",
            deadline_seconds=_START_SECONDS,
            log=self.log,
            on_line=on_line,
            hint=f"minikube -p {self.profile} logs; the whole log: {self.log}",
        )
        self._unfinished.unlink(missing_ok=True)
        self._adding.unlink(missing_ok=True)

    def _forget_half_made_nodes(self) -> None:
        """Minikube takes a node whose machine it knows for one that has joined the cluster, and can neither start nor
        delete it. One without a machine it makes anew."""
        if not self._adding.exists():
            return
        before = json.loads(self._adding.read_text(encoding="utf-8"))
        for node in settings(self.profile).get("Nodes") or []:
            if node["Name"] in before or node.get("ControlPlane"):
                continue
            name = f"{self.profile}-{node['Name']}"
            for words in (("rm", "--force", "--volumes", name), ("volume", "rm", "--force", name)):
                self._process.run(["docker", *words], doing=f"removing half of node {name}", deadline_seconds=120)
            shutil.rmtree(minikube_home() / "machines" / name, ignore_errors=True)

    def _local(self, node: LocalNode, *, new: bool) -> list[str]:
        """Options for a start from what was made here. A profile keeps the pod network that it began with."""
        network = cache_directory() / f"pod-network-{self.profile}.yaml"
        network.parent.mkdir(parents=True, exist_ok=True)
        network.write_bytes(node.pod_network.read_bytes())  # at every start Minikube reads it again
        return [
            *(f"--base-image={node.image}", f"--kubernetes-version={node.kubernetes}"),
            *("--preload=false", "--cache-images=false", "--install-addons=false"),
            *([f"--cni={network}"] if new else []),
            # Kubernetes 1.35 refuses hosts with the older cgroups unless told otherwise
            *(["--extra-config=kubelet.fail-cgroupv1=false"] if _cgroup_v1() else []),
        ]

    def add_node(self, on_line: Callable[[str], None]) -> None:
        """One more node of the same kind. What a killed run left of one is finished by the next start.

        Raises EnvironmentUnfit for a profile whose pods have a network on one node only.
        """
        doing = f"adding a node to Minikube {self.profile}"
        began = settings(self.profile).get("KubernetesConfig", {})
        if began.get("CNI") == "bridge":
            raise EnvironmentUnfit(
                f"While {doing}: it was made with the bridge CNI, which has pods on one node only",
                hint=f"make it anew: releaser down --profile {self.profile} --delete, then releaser up with --nodes",
            )
        self._adding.parent.mkdir(parents=True, exist_ok=True)
        known = [node["Name"] for node in settings(self.profile).get("Nodes") or []]
        self._adding.write_text(json.dumps(known), encoding="utf-8")
        self._process.stream(
            [self._tools.path("minikube"), "-p", self.profile, "node", "add"],
            doing=doing,
            deadline_seconds=_START_SECONDS,
            log=self.log,
            on_line=on_line,
            # By the environment, since `node add` has no such options: else it would make that node, and from then
            # on the profile, smaller; and wait for images that a profile made here never loads.
            env={
                "MINIKUBE_MEMORY": f"{_memory_mib()}m",
                **({} if began.get("ShouldLoadCachedImages", True) else _NOTHING_TO_LOAD),
            },
            hint=f"minikube -p {self.profile} logs; the whole log: {self.log}",
        )
        self._adding.unlink()

    def enable_metrics(self, node: LocalNode | None, on_line: Callable[[str], None]) -> None:
        """The add-on metrics-server: the metrics API, which an HPA needs."""
        local = (
            [
                f"--images=MetricsServer=metrics-server/metrics-server:{node.metrics_server}",
                "--registries=MetricsServer=registry.k8s.io",
            ]
            if node
            else []
        )
        self._process.stream(
            [self._tools.path("minikube"), "-p", self.profile, "addons", "enable", "metrics-server", *local],
            doing="enabling the metrics API",
            deadline_seconds=300,
            log=self.log,
            on_line=on_line,
        )

    def stop(self) -> None:
        self._run("stop", doing=f"stopping Minikube {self.profile}")

    def delete(self) -> None:
        self._run("delete", doing=f"deleting Minikube {self.profile}")
        self._unfinished.unlink(missing_ok=True)
        self._adding.unlink(missing_ok=True)

    def _run(self, verb: str, *, doing: str) -> None:
        self._process.run([self._tools.path("minikube"), "-p", self.profile, verb], doing=doing, deadline_seconds=300)


def _running(status: str) -> int:
    """Of `minikube status`: an object for one node, a list for several, and other text for an unknown profile."""
    try:
        told = json.loads(status)
    except ValueError:
        return 0
    nodes = told if isinstance(told, list) else [told]
    runs = all(
        isinstance(node, dict)
        and node.get("Host") == node.get("Kubelet") == "Running"
        and node.get("APIServer") in ("Running", "Irrelevant")  # workers have none
        for node in nodes
    )
    return len(nodes) if runs else 0


def _reject_stray_addresses(process: Process) -> None:
    """Where root may: an address inside the cluster that nobody has there fails at once instead of leaving the machine.
    That is a Service that kube-proxy hasn't programmed yet, or a pod of before the node's restart that a Service still
    names. Where something out there answers any address, the API server would keep that connection for ever."""
    if os.geteuid() != 0 or shutil.which("iptables") is None:
        return
    # pods of other nodes are reached over Docker's bridge
    for addresses in (["-d", "10.96.0.0/12"], ["-d", "10.244.0.0/16", "!", "-o", "br-+"]):
        rule = ["DOCKER-USER", *addresses, "-j", "REJECT"]
        known = process.run(["iptables", "-C", *rule], doing="looking at iptables", deadline_seconds=20, check=False)
        if known.exit_status != 0:
            process.run(["iptables", "-I", *rule], doing="rejecting stray addresses", deadline_seconds=20, check=False)


def _memory_mib() -> int:
    """6 GiB, or a little more than half of a smaller machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(6 * _GIB, total * 0.6)) // 1024**2


def _cgroup_v1() -> bool:
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()
