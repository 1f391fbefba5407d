"""Puts adapters into the flows' hands: the only place that knows both. An adapter is imported when first used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from releaser.errors import ReleaserError
from releaser.models import Reporter
from releaser.settings import Environment, Project

if TYPE_CHECKING:
    from releaser.adapters.live import LiveObjects
    from releaser.adapters.minikube import Minikube
    from releaser.adapters.process import Process
    from releaser.adapters.tools import Tools
    from releaser.flows.doctor import Probe
    from releaser.flows.experiments.hands import Hands
    from releaser.flows.look import Forwarder
    from releaser.flows.package import Archives
    from releaser.flows.ports import Containers, Drafts, Images, Saves, Shelf, Store
    from releaser.flows.target import Target, Workshop
    from releaser.flows.traffic import TrafficSource
    from releaser.flows.up import Machine
    from releaser.lint.subject import Charts, Repository
    from releaser.models import Source


class Wiring:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    @cached_property
    def process(self) -> Process:
        from releaser.adapters.process import Process

        return Process(self._reporter)

    @cached_property
    def tools(self) -> Tools:
        from releaser.adapters.tools import Tools

        return Tools(self.process)

    @cached_property
    def images(self) -> Images:
        from releaser.adapters.docker import Images

        return Images(self.process)

    @cached_property
    def charts(self) -> Charts:
        from releaser.adapters.helm import Helm
        from releaser.adapters.renderings import KeptRenderings

        return KeptRenderings(Helm(self.process, self.tools), self.tools)

    def repository(self, directory: Path) -> Repository:
        from releaser.adapters.git import GitRepository

        return GitRepository(self.process, directory)

    def archives(self, *, plain_http: bool = False) -> Archives:
        from releaser.adapters.archives import ChartArchives

        return ChartArchives(self.process, self.tools, plain_http=plain_http)

    @cached_property
    def drafts(self) -> Drafts:
        from releaser.adapters.helm import Helm

        return Helm(self.process, self.tools)

    def source(self, project: Project) -> Source:
        from releaser.adapters.source import source

        return source(self.process, project.root)

    def workshop(self, environment: Environment) -> Workshop:
        from releaser.flows.target import Workshop

        return Workshop(self.charts, self.images, self.store(environment))

    def store(self, environment: Environment) -> Store:
        if environment.registry is not None:
            from releaser.adapters.cluster import Cluster
            from releaser.adapters.registry import Registry

            return Registry(self.process, Cluster(environment.context), environment.registry, self._reporter)
        from releaser.adapters.node import MinikubeNodes

        return MinikubeNodes(self.process, self.tools, environment.context, self._reporter)

    def saves(self, directory: Path) -> AbstractContextManager[Saves]:
        from releaser.adapters.saves import DirectorySaves

        return DirectorySaves().of(directory)

    def containers(self, environment: Environment) -> Containers:
        from releaser.adapters.cluster import Cluster
        from releaser.adapters.livecode import NodeContainers

        return NodeContainers(self.process, Cluster(environment.context))

    def shelves(self, environments: Sequence[Environment]) -> list[Shelf]:
        """The nodes of each context, and the engine here."""
        from releaser.adapters.docker import Images
        from releaser.adapters.node import MinikubeNodes

        contexts = sorted({each.context for each in environments})
        nodes = [MinikubeNodes(self.process, self.tools, each, self._reporter) for each in contexts]
        return [*nodes, Images(self.process)]

    def target(self, project: Project, environment: Environment) -> Target:
        from releaser.adapters.cluster import Cluster
        from releaser.adapters.helm import Helm
        from releaser.adapters.incidents import IncidentDirectory
        from releaser.adapters.lease import Leases
        from releaser.adapters.prober import ServiceProber
        from releaser.flows.target import Target

        cluster = Cluster(environment.context)
        return Target(
            release=project.release,
            environment=environment,
            source=self.source(project),
            helm=Helm(self.process, self.tools, environment.context),
            cluster=cluster,
            live=self.live(environment),
            leases=Leases(environment.context),
            prober=ServiceProber(cluster, self.process, self._reporter),
            incidents=IncidentDirectory(project.root / "incidents"),
            reporter=self._reporter,
        )

    def live(self, environment: Environment) -> LiveObjects:
        from releaser.adapters.live import LiveObjects

        return LiveObjects(environment.context)

    def traffic_sources(self, environment: Environment) -> list[TrafficSource]:
        """A Prometheus that knows the environment, and the pods themselves."""
        from releaser.adapters.cluster import Cluster
        from releaser.adapters.traffic import PodsTraffic, PrometheusTraffic

        known = [PrometheusTraffic(environment.prometheus_url)] if environment.prometheus_url else []
        return [*known, PodsTraffic(Cluster(environment.context).api)]

    def hands(self, environment: Environment) -> Hands:
        from releaser.adapters.autoscalers import HorizontalAutoscalers
        from releaser.adapters.cluster import Cluster
        from releaser.adapters.disclosure import ClusterDisclosure
        from releaser.adapters.errands import PodErrands
        from releaser.adapters.insides import ClusterNetwork, PodInsides
        from releaser.adapters.nodeprocesses import NodeProcesses
        from releaser.adapters.nodes import ClusterNodes
        from releaser.adapters.policies import ClusterPolicies
        from releaser.flows.experiments.hands import Hands

        cluster = Cluster(environment.context)
        return Hands(
            machines=NodeProcesses(self.process, environment.context),
            insides=PodInsides(self.process, self.tools, cluster),
            errands=PodErrands(cluster),
            autoscalers=HorizontalAutoscalers(cluster),
            network=ClusterNetwork(cluster),
            disclosure=ClusterDisclosure(cluster),
            nodes=ClusterNodes(cluster),
            policies=ClusterPolicies(cluster),
        )

    def forwarder(self, environment: Environment) -> Forwarder:
        from releaser.adapters.forward import KubectlForwarder

        return KubectlForwarder(self.process, self.tools, environment.context)

    # -- the local cluster ---------------------------------------------------------------------------------------------

    def minikube(self, profile: str) -> Minikube:
        from releaser.adapters.minikube import Minikube

        return Minikube(self.process, self.tools, profile)

    def machine(self, project: Project, profile: str) -> Machine:
        from releaser.adapters.cluster import Cluster
        from releaser.adapters.engine import Engine
        from releaser.adapters.registries import Registries
        from releaser.adapters.toolchain import Toolchain
        from releaser.adapters.tools import alone
        from releaser.flows.up import Machine

        directory = project.root / "toolchain"
        engine = Engine(self.process, directory)
        return Machine(
            engine=engine,
            toolchain=Toolchain(self.process, self.tools, engine, directory),
            registries=Registries(),
            minikube=self.minikube(profile),
            cluster=lambda: Cluster(profile),
            alone=lambda: alone("up"),
        )

    def probe(self, project: Project) -> Probe:
        from releaser.adapters.engine import Engine
        from releaser.adapters.probe import MachineProbe

        return MachineProbe(self.process, self.tools, Engine(self.process, project.root / "toolchain"))

    def server_version(self, context: str) -> str:
        """With the number of nodes, where one may know it."""
        from releaser.adapters.cluster import Cluster

        cluster = Cluster(context)
        version = cluster.version()
        try:
            nodes = cluster.node_count()
        except ReleaserError:
            return version
        return f"{version}, {nodes} node{'s' if nodes != 1 else ''}"
