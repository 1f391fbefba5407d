"""Minikube: one profile, its state, start, stop and delete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools, cache_directory
from releaser.models import LocalNode

_START_SECONDS = 900.0
_GIB = 1024**3


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

    def running(self) -> bool:
        """Host, kubelet and API server all run. An unknown profile prints something else than a status: not running."""
        if self._unfinished.exists():
            return False
        finished = self._process.run(
            [self._tools.path("minikube"), "-p", self.profile, "status", "--output", "json"],
            doing=f"asking for the state of Minikube {self.profile}",
            deadline_seconds=60,
            check=False,
        )
        try:
            status = json.loads(finished.stdout)
        except ValueError:
            return False
        return isinstance(status, dict) and all(
            status.get(part) == "Running" for part in ("Host", "Kubelet", "APIServer")
        )

    def start(self, node: LocalNode | None, on_line: Callable[[str], None]) -> None:
        """Make or start the profile. With a `node`, from local images alone; else in Minikube's ordinary way.

        Minikube can't finish a first start that was killed half way: what such a start of ours left is deleted first.
        """
        if self._unfinished.exists():
            self.delete()
        if not self.exists():
            self._unfinished.parent.mkdir(parents=True, exist_ok=True)
            self._unfinished.touch()
        if node:
            _reject_unprogrammed_services(self._process)
        local = (
            [
                *(f"--base-image={node.image}", f"--kubernetes-version={node.kubernetes}"),
                *("--preload=false", "--cache-images=false", "--install-addons=false", "--cni=bridge"),
                # Kubernetes 1.35 refuses hosts with the older cgroups unless told otherwise
                *(["--extra-config=kubelet.fail-cgroupv1=false"] if _cgroup_v1() else []),
            ]
            if node
            else []
        )
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

    def _run(self, verb: str, *, doing: str) -> None:
        self._process.run([self._tools.path("minikube"), "-p", self.profile, verb], doing=doing, deadline_seconds=300)


def _reject_unprogrammed_services(process: Process) -> None:
    """Where root may: a Service address that kube-proxy hasn't programmed yet fails at once instead of leaving the
    machine. Where something out there answers any address, the API server would keep that connection for ever."""
    if os.geteuid() != 0 or shutil.which("iptables") is None:
        return
    rule = ["DOCKER-USER", "-d", "10.96.0.0/12", "-j", "REJECT"]
    known = process.run(["iptables", "-C", *rule], doing="looking at iptables", deadline_seconds=20, check=False)
    if known.exit_status != 0:
        process.run(
            ["iptables", "-I", *rule], doing="rejecting stray Service addresses", deadline_seconds=20, check=False
        )


def _memory_mib() -> int:
    """6 GiB, or a little more than half of a smaller machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(6 * _GIB, total * 0.6)) // 1024**2


def _cgroup_v1() -> bool:
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()
