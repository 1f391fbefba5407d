"""`releaser doctor`: what is needed, what was found, and the command that mends what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from releaser.errors import ReleaserError
from releaser.models import Diagnosis, Need
from releaser.settings import Project


class Probe(Protocol):
    """Looks at the machine. Each answer is what was found, empty for nothing usable."""

    def tool(self, name: str) -> str: ...

    def wanted(self, name: str) -> str: ...

    def engine(self) -> str: ...

    def go(self) -> str: ...


Connect = Callable[[str], str]
"""Kube context -> the server's version; raises ReleaserError."""

_UP = "releaser up"


def doctor(project: Project, probe: Probe, connect: Connect) -> Diagnosis:
    tools = [_tool(probe, name) for name in ("helm", "minikube", "kubectl")]
    engine = probe.engine()
    needs = [
        Need("docker engine", "running", engine, bool(engine), _UP),
        *tools,
        *_go(probe, tools),
        *_contexts(project, connect),
    ]
    return Diagnosis(tuple(needs))


def _tool(probe: Probe, name: str) -> Need:
    found = probe.tool(name)
    return Need(name, probe.wanted(name), found, bool(found), _UP)


def _go(probe: Probe, tools: Sequence[Need]) -> list[Need]:
    """The compiler is needed only while a tool is missing."""
    if all(tool.ok for tool in tools):
        return []
    found = probe.go()
    return [Need("go", ">= 1.21, to build what is missing", found, bool(found), "apt-get install golang")]


def _contexts(project: Project, connect: Connect) -> list[Need]:
    needs = []
    for context in sorted({environment.context for environment in project.environments}):
        names = ", ".join(e.name for e in project.environments if e.context == context)
        try:
            found = f"Kubernetes {connect(context)}"
        except ReleaserError as exc:
            needs.append(Need(f"context {context}", f"answers ({names})", exc.message, False, _UP))
        else:
            needs.append(Need(f"context {context}", f"answers ({names})", found, True))
    return needs
