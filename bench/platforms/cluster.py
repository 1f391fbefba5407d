"""The service on Kubernetes: the project's chart, released by `releaser` into a namespace of its own on Minikube."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kubernetes import client

from app import __version__
from bench import memory
from bench.platforms.contestant import SETTINGS, THREADS, WORKERS, Memory, Release
from releaser.adapters.machines import machines
from tests.cluster.site import RELEASE, Site

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
_NEXT_VERSION = f"{__version__}+next"


def releases(site: Site, directory: Path) -> tuple[Release, Release]:
    """The project's code as it is, and the same under another version: built, and in Minikube, before anything is
    measured. Everybody runs these two."""
    return _release(site, directory, __version__), _release(site, directory, _NEXT_VERSION)


class Kubernetes:
    """Released by `releaser deploy`: lint, upgrade, rollout, tests and proof are part of its time."""

    key, name, instances = "kubernetes", "Kubernetes", 2

    def __init__(self, site: Site) -> None:
        self._site = site
        site.values(
            "dev",
            replicaCount=self.instances,
            app={"logLevel": "info"},
            gunicorn={
                "workers": WORKERS,
                "threads": THREADS,
                "gracefulTimeoutSeconds": int(SETTINGS["WEB_GRACEFUL_TIMEOUT_SECONDS"]),
            },
        )

    @property
    def url(self) -> str:
        return self._site.url

    def start(self) -> None:
        if self._pods():
            raise SystemExit(f"{self._site.namespace} still has pods of the service: nothing to start from")
        self._deploy(__version__)

    def stop(self) -> None:
        """Also of what was never released, or half of it: the namespace goes at the end in any case."""
        self._site.run("destroy", "dev")

    def arm_process(self) -> Callable[[], None]:
        uid = self._pods()[0].metadata.uid
        # several processes of the pod are gunicorn: the one whose parent isn't
        serving = [pid for pid in self._node() if _pod(pid) == uid and "gunicorn" in " ".join(memory.command(pid))]
        [master] = [pid for pid in serving if memory.parent(pid) not in serving]
        return partial(os.kill, master, signal.SIGKILL)

    def arm_unit(self) -> tuple[Callable[[], None], str]:
        name = self._pods()[0].metadata.name

        def delete() -> None:
            self._site.core.delete_namespaced_pod(
                name, self._site.namespace, grace_period_seconds=0, _request_timeout=15
            )

        return delete, name

    def revive(self) -> None:
        self._deploy(__version__)

    def update(self) -> None:
        self._deploy(_NEXT_VERSION)

    def roll_back(self) -> None:
        self._run("rollback")

    def scale(self, instances: int) -> None:
        client.AppsV1Api(self._site.cluster.api).patch_namespaced_deployment_scale(
            RELEASE, self._site.namespace, {"spec": {"replicas": instances}}, _request_timeout=15
        )

    def memory(self) -> Memory:
        """The node's processes. Pods of other namespaces than the service's and the system's don't count."""
        pods = self._site.core.list_pod_for_all_namespaces(_request_timeout=15).items
        namespaces = {pod.metadata.uid: pod.metadata.namespace for pod in pods}
        platform, own = set(), set()
        for pid in self._node():
            # a shim is outside of its pod, and all that it has started is in it
            uid = _pod(pid) or next((_pod(child) for child in memory.family(pid)[1:] if _is_shim(pid)), "")
            if not uid or namespaces.get(uid) == "kube-system":
                platform.add(pid)
            elif namespaces.get(uid) == self._site.namespace:
                own.add(pid)
        return Memory(memory.total(platform), memory.total(own))

    def _deploy(self, version: str) -> None:
        _write_version(self._site.root, version)
        self._run("deploy")

    def _run(self, verb: str) -> None:
        ended = self._site.run(verb, "dev")
        if ended.code:
            said = "\n".join(str(ended.error[key]) for key in ("message", "detail", "hint") if ended.error.get(key))
            raise SystemExit(f"releaser {verb} dev ended with exit code {ended.code}: {said}")

    def _pods(self) -> list[client.V1Pod]:
        labels = f"app.kubernetes.io/instance={RELEASE}"
        pods = self._site.core.list_namespaced_pod(self._site.namespace, label_selector=labels, _request_timeout=15)
        return [
            pod
            for pod in pods.items
            if pod.metadata.deletion_timestamp is None and any(each.name == "web" for each in pod.spec.containers)
        ]

    def _node(self) -> list[int]:
        """Every process of the profile's nodes, which are containers of Docker here."""
        names = [each.name for each in machines(self._site.cluster.context)]
        inspected = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.Pid}}", *names], capture_output=True, text=True, timeout=60
        )
        if inspected.returncode:
            raise SystemExit(
                "While looking for the node's processes: only Minikube's docker driver shows them, and it has no "
                f"containers {', '.join(names)}\n{inspected.stderr.strip()}"
            )
        return [pid for root in inspected.stdout.split() for pid in memory.family(int(root))]


def _release(site: Site, directory: Path, version: str) -> Release:
    _write_version(site.root, version)
    image = site.json("load", "dev")["image"]
    root = directory / version
    shutil.copytree(site.root / "app", root / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return Release(version, f"{image['repository']}:{image['tag']}", str(root))


def _write_version(root: Path, version: str) -> None:
    path = root / "app" / "__init__.py"
    path.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', path.read_text()))


def _pod(pid: int) -> str:
    """The uid of the pod that the process is in, by its control group; empty for any other process."""
    try:
        found = _POD.search(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return ""
    return found[1].replace("_", "-") if found else ""


def _is_shim(pid: int) -> bool:
    return "containerd-shim" in "".join(memory.command(pid)[:1])
