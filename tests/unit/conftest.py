"""A small project on disk and fakes around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from releaser.flows.guard import Consent
from releaser.flows.target import Target, Workshop
from releaser.models import Source, StepEnded
from releaser.settings import Project, load_project
from tests.fakes import (
    FakeCharts,
    FakeCluster,
    FakeHelm,
    FakeImages,
    FakeIncidents,
    FakeLeases,
    FakeLive,
    FakeNode,
    FakeProber,
    Recorder,
    World,
)


def make_project(root: Path) -> None:
    """A project with environments dev and prod."""
    files = {
        "charts/web/Chart.yaml": """\
            apiVersion: v2
            name: web
            version: 1.0.0
            appVersion: "1.0.0"
            """,
        "charts/web/values.yaml": """\
            image:
              repository: web
              tag: ""
            service:
              type: ClusterIP
              nodePort: null
            """,
        "values-dev.yaml": """\
            service:
              type: NodePort
              nodePort: 31181
            """,
        "values-prod.yaml": "replicaCount: 3\n",
        "releaser.yaml": """\
            release: web
            environments:
              dev:
                context: fake
              prod:
                context: fake
                protected: true
            """,
        "Dockerfile": "ARG BASE=scratch\nFROM $BASE\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


@dataclass
class Bench:
    """Everything that a flow needs, with fakes outside."""

    root: Path
    world: World
    helm: FakeHelm
    cluster: FakeCluster
    images: FakeImages
    node: FakeNode
    charts: FakeCharts
    leases: FakeLeases
    prober: FakeProber
    incidents: FakeIncidents
    reporter: Recorder
    source: Source

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def target(self, environment: str) -> Target:
        return Target(
            release="web",
            environment=self.project.environment(environment),
            source=self.source,
            helm=self.helm,
            cluster=self.cluster,
            live=self.live,
            leases=self.leases,
            prober=self.prober,
            incidents=self.incidents,
            reporter=self.reporter,
        )

    @property
    def live(self) -> FakeLive:
        return FakeLive(self.world)

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.charts, self.images, self.node)

    def steps(self, name: str) -> list[tuple[bool, str]]:
        """Whether each step of that name failed, and what it said at its end."""
        ended = [each for each in self.reporter.events if isinstance(each, StepEnded) and each.name == name]
        return [(each.failed, each.detail) for each in ended]

    def values(self, environment: str, text: str) -> None:
        (self.root / f"values-{environment}.yaml").write_text(dedent(text))

    def settings(self, more: str) -> None:
        """Adds to releaser.yaml."""
        path = self.root / "releaser.yaml"
        path.write_text(f"{path.read_text()}{more}\n")


def make_bench(root: Path) -> Bench:
    world = World()
    return Bench(
        root=root,
        world=world,
        helm=FakeHelm(world),
        cluster=FakeCluster(world),
        images=FakeImages(),
        node=FakeNode(),
        charts=FakeCharts(),
        leases=FakeLeases(),
        prober=FakeProber(world),
        incidents=FakeIncidents(),
        reporter=Recorder(),
        source=Source("ann", "laptop", "c0ffee" * 6 + "c0ff", False),
    )


@pytest.fixture
def bench(root: Path) -> Bench:
    return make_bench(root)


YES = Consent(yes=True, ask=None)


@pytest.fixture
def yes() -> Consent:
    return YES
