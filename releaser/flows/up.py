"""`releaser up`: from whatever this machine is to a running local cluster with the metrics API.

Every step looks first and does only what is missing, so that a run killed anywhere is mended by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from releaser.errors import EnvironmentUnfit, ReleaserError
from releaser.models import LocalNode, Note, Reporter, Up
from releaser.steps import step

OnLine = Callable[[str], None]


class Engine(Protocol):
    @property
    def log(self) -> Path: ...

    def version(self) -> str: ...

    def start(self) -> None: ...


class Toolchain(Protocol):
    """What can be built here when it can't be had otherwise."""

    @property
    def local_node(self) -> LocalNode: ...

    def log(self, name: str) -> Path: ...

    def has_tool(self, name: str) -> bool: ...

    def has_program(self, name: str) -> bool: ...

    def compile(self, names: Sequence[str], on_line: OnLine) -> None: ...

    def publish(self, name: str) -> None: ...

    def has_node_image(self) -> bool: ...

    def debian(self, on_line: OnLine) -> None: ...

    def python_bases(self, on_line: OnLine) -> None: ...

    def node(self, on_line: OnLine) -> None: ...


class Registries(Protocol):
    def answer(self) -> bool:
        """The registries that Minikube and a Python base image come from can be reached."""
        ...


class Minikube(Protocol):
    profile: str

    @property
    def log(self) -> Path: ...

    def running_nodes(self) -> int:
        """How many nodes there are when all of them run, else 0."""
        ...

    def add_node(self, on_line: OnLine) -> None: ...

    def start(self, node: LocalNode | None, on_line: OnLine) -> None: ...

    def enable_metrics(self, node: LocalNode | None, on_line: OnLine) -> None: ...


class Answering(Protocol):
    """The cluster, once it runs."""

    context: str

    def version(self) -> str: ...

    def node_ip(self) -> str: ...

    def metrics_answer(self) -> bool: ...


@dataclass(frozen=True)
class Machine:
    """The hands of `up`. `cluster` connects, which is possible only once the cluster is there; `alone` holds a lock
    against a second `up`."""

    engine: Engine
    toolchain: Toolchain
    registries: Registries
    minikube: Minikube
    cluster: Callable[[], Answering]
    alone: Callable[[], AbstractContextManager[None]]


_METRICS_SECONDS = 180.0
_NO_IMAGES = "a new node has no images of releases that run already: releaser load ENV brings it ENV's"
# The tools, and the program of the toolchain that becomes each: kubectl is one of the node's many.
_PROGRAMS = {"helm": "helm", "minikube": "minikube", "kubectl": "node"}


def up(machine: Machine, reporter: Reporter, nodes: int = 1) -> Up:
    """With so many nodes at least: missing ones are added, none is ever removed."""
    started = time.monotonic()
    if (running := _running_nodes(machine)) >= nodes:
        return _result(machine, running, already=True, started=started)
    with machine.alone():
        if not machine.engine.version():
            with step(reporter, "start Docker engine", log=machine.engine.log):
                machine.engine.start()
        if not (running := _running_nodes(machine)):
            _start(machine, reporter)
            running = machine.minikube.running_nodes()
        for number in range(running + 1, nodes + 1):
            with step(reporter, f"add node {number}", log=machine.minikube.log) as adding:
                machine.minikube.add_node(adding.progress)
        if nodes > running:
            reporter.emit(Note(_NO_IMAGES))
    return _result(machine, max(running, nodes), already=False, started=started)


def _running_nodes(machine: Machine) -> int:
    """How many nodes run, where engine, tools and metrics API answer as well; else 0."""
    if not machine.engine.version() or not all(machine.toolchain.has_tool(tool) for tool in _PROGRAMS):
        return 0
    running = machine.minikube.running_nodes()
    return running if running and _metrics_answer(machine) else 0


def _start(machine: Machine, reporter: Reporter) -> None:
    with step(reporter, "ask registries") as running:
        local = not machine.registries.answer()
        running.detail = "none in reach: everything is built here" if local else "in reach"
    _build(machine, reporter, local=local)
    node = machine.toolchain.local_node if local else None
    with step(reporter, "start Minikube", log=machine.minikube.log) as running:
        machine.minikube.start(node, running.progress)
        running.detail = f"profile {machine.minikube.profile}"
    with step(reporter, "metrics API", log=machine.minikube.log) as running:
        machine.minikube.enable_metrics(node, running.progress)
        _wait_for_metrics(machine)


def _metrics_answer(machine: Machine) -> bool:
    """False, too, when a start that was killed half way has left a node that runs and no kube context."""
    try:
        return machine.cluster().metrics_answer()
    except ReleaserError:
        return False


def _build(machine: Machine, reporter: Reporter, *, local: bool) -> None:
    """Programs in one thread, Debian's packages in another: one waits for the compiler, one for the network."""
    toolchain = machine.toolchain
    programs = [program for tool, program in _PROGRAMS.items() if not toolchain.has_tool(tool)]
    need_node = local and not toolchain.has_node_image()
    if need_node:
        programs = ["node", "pause", "crictl", *programs]

    def compile_missing() -> None:
        missing = [program for program in dict.fromkeys(programs) if not toolchain.has_program(program)]
        if missing:
            with step(reporter, "compile programs", log=toolchain.log("compile")) as running:
                toolchain.compile(missing, running.progress)
                running.detail = ", ".join(missing)

    def images() -> None:
        if local:
            with step(reporter, "Debian base", log=toolchain.log("debian")) as running:
                toolchain.debian(running.progress)
            with step(reporter, "Python bases", log=toolchain.log("python-bases")) as running:
                toolchain.python_bases(running.progress)

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(compile_missing), pool.submit(images)]
        for job in jobs:
            job.result()
    for tool in _PROGRAMS:
        if not toolchain.has_tool(tool):
            toolchain.publish(tool)
    if need_node:
        with step(reporter, "node image", log=toolchain.log("node-image")) as running:
            toolchain.node(running.progress)


def _wait_for_metrics(machine: Machine) -> None:
    cluster = machine.cluster()
    end = time.monotonic() + _METRICS_SECONDS
    while not cluster.metrics_answer():
        if time.monotonic() > end:
            raise EnvironmentUnfit(
                f"While waiting for the metrics API: no answer after {_METRICS_SECONDS:.0f} s",
                hint=f"kubectl --context {cluster.context} -n kube-system logs deployment/metrics-server",
            )
        time.sleep(1)  # the metrics API is an aggregated one: there is nothing to watch until it answers


def _result(machine: Machine, nodes: int, *, already: bool, started: float) -> Up:
    cluster = machine.cluster()
    return Up(
        machine.minikube.profile,
        cluster.context,
        cluster.node_ip(),
        nodes,
        cluster.version(),
        already,
        time.monotonic() - started,
    )
