"""Nodes without Kubernetes: real container runtimes of their own, as in Minikube's nodes. Also for bench/."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from releaser.adapters.machines import Machine
from tests.cluster.debian import unpacked

# What podman needs where it only keeps images.
_PODMAN = (
    *("podman", "conmon", "libgpgme11"),
    *("golang-github-containers-common", "golang-github-containers-image"),
)


def run(*argv: str | Path) -> str:
    finished = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, f"{argv}: {finished.stdout}{finished.stderr}"
    return finished.stdout.strip()


@contextmanager
def containerd(profile: str, tmpfs_bytes: int = 0) -> Iterator[Machine]:
    """containerd as the profile's node runs it, in a container of its own; its disk is small with `tmpfs_bytes`."""
    image = run("docker", "inspect", "--format", "{{.Config.Image}}", profile)
    place = "/var/lib/containerd"
    disk = f"--tmpfs={place}:size={tmpfs_bytes}" if tmpfs_bytes else f"--volume={place}"
    node = run("docker", "run", "--detach", "--rm=false", "--privileged", disk, "--entrypoint=containerd", image)
    try:
        machine = Machine(node[:12], "containerd", ("docker", "exec", "-i", node))
        await_containerd(machine)
        yield machine
    finally:
        run("docker", "rm", "--force", "--volumes", node)


@contextmanager
def docker() -> Iterator[Machine]:
    """A second Docker engine, with a root and a socket of its own."""
    with tempfile.TemporaryDirectory(prefix="engine-") as name:  # a socket's path has little room
        yield from _engine(Path(name))


def _engine(directory: Path) -> Iterator[Machine]:
    socket = directory / "docker.sock"
    argv = [
        # in a network of its own: with --bridge=none an engine removes the docker0 of another
        *("unshare", "--net", "dockerd", "--data-root", directory / "data", "--exec-root", directory / "exec"),
        *("--pidfile", directory / "pid", "--host", f"unix://{socket}", "--bridge=none", "--iptables=false"),
    ]
    with (directory / "log").open("wb") as log:
        engine = subprocess.Popen(list(map(str, argv)), stdout=log, stderr=log)
    try:
        machine = Machine("docker", "docker", ("env", f"DOCKER_HOST=unix://{socket}"))
        _await(lambda: run(*machine.command("docker", "image", "ls", "-q")) == "")
        yield machine
    finally:
        engine.terminate()
        engine.wait(60)


@contextmanager
def podman(directory: Path) -> Iterator[Machine]:
    """The store that CRI-O shares with podman, by which Minikube's nodes fill it."""
    root = unpacked("podman", *_PODMAN)
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
    (directory / "storage.conf").write_text(storage)
    (directory / "containers.conf").write_text(f'[engine]\nconmon_path = ["{root}/usr/bin/conmon"]\nruntime = "runc"\n')
    # Debian's own place for the policy, which nothing but a path that is compiled in or an option names
    wrapper = directory / "podman"
    policy = f"--signature-policy={root}/etc/containers/policy.json"
    wrapper.write_text(
        f'#!/bin/sh\ncommand="$1"; shift\n[ "$command" = load ] && set -- {policy} "$@"\n'
        f'exec {root}/usr/bin/podman "$command" "$@"\n'
    )
    wrapper.chmod(0o755)
    settings = (
        f"PATH={directory}:{os.environ['PATH']}",
        f"LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu",
        f"CONTAINERS_STORAGE_CONF={directory}/storage.conf",
        f"CONTAINERS_CONF={directory}/containers.conf",
    )
    try:
        yield Machine("cri-o", "crio", ("env", *settings))
    finally:
        mounted = directory / "graph/overlay"
        subprocess.run(["umount", str(mounted)], capture_output=True, timeout=30, check=False)


def await_containerd(machine: Machine) -> None:
    _await(lambda: bool(run(*machine.command("crictl", "images", "-o", "json"))))


def _await(ready: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)
