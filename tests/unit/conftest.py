"""A small project on disk and fakes around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from releaser.flows.deploy import Workshop
from releaser.flows.guard import Consent
from releaser.flows.release import Target
from releaser.models import Source
from releaser.settings import Project, load_project
from tests.fakes import FakeCharts, FakeCluster, FakeHelm, FakeImages, FakeLive, FakeNode, Recorder, World


@pytest.fixture
def root(tmp_path: Path) -> Path:
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
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
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
    reporter: Recorder

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def target(self, environment: str) -> Target:
        return Target("web", self.project.environment(environment), self.helm, self.cluster, self.reporter)

    @property
    def live(self) -> FakeLive:
        return FakeLive(self.world)

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.charts, self.images, self.node, Source("ann", "laptop", "c0ffee" * 6 + "c0ff", False))

    def values(self, environment: str, text: str) -> None:
        (self.root / f"values-{environment}.yaml").write_text(dedent(text))


@pytest.fixture
def bench(root: Path) -> Bench:
    world = World()
    return Bench(root, world, FakeHelm(world), FakeCluster(world), FakeImages(), FakeNode(), FakeCharts(), Recorder())


YES = Consent(yes=True, ask=None)


@pytest.fixture
def yes() -> Consent:
    return YES
