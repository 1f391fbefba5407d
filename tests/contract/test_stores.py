"""What flows rely on of the places where pods get images from: the fakes, Minikube's nodes and a real registry must
agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.node import MinikubeNodes
from releaser.adapters.process import Process
from releaser.adapters.registry import Registry
from releaser.adapters.tools import Tools
from releaser.errors import Refused
from releaser.models import Image
from releaser.settings import RegistrySettings
from tests.fakes import FakeNode, FakeRegistry, Recorder
from tests.images import imported
from tests.registry import registry

REAL = pytest.mark.cluster


@dataclass
class Side:
    store: FakeNode | FakeRegistry | MinikubeNodes | Registry
    make: Callable[[str], Image]
    """An image with the tag and content of its own, which Docker here has."""
    force: Callable[[Image, str], None]
    """Somebody gives the image in the store another one's tag by hand."""
    secrets: Callable[[], set[str]]
    """Names of the Secrets in the namespace."""
    namespace: str = "test"

    def ids(self, *images: Image) -> tuple[str, ...]:
        return self.store.image_ids(*(image.ref for image in images))


@dataclass
class Nodes(Side):
    """Nodes keep what they have, too: they are shelves."""

    store: FakeNode | MinikubeNodes


@pytest.fixture(
    params=["fake node", "fake registry", pytest.param("node", marks=REAL), pytest.param("registry", marks=REAL)]
)
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    with _SIDES[request.param](request) as made:
        yield made


@pytest.fixture(params=["fake node", pytest.param("node", marks=REAL)])
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    with _SIDES[request.param](request) as made:
        assert isinstance(made, Nodes)
        yield made


@contextmanager
def _fake_node(_: pytest.FixtureRequest) -> Iterator[Nodes]:
    node = FakeNode()
    yield Nodes(node, _imagined, lambda image, tag: node.tag(image, f"{image.repository}:{tag}"), set)


@contextmanager
def _fake_registry(_: pytest.FixtureRequest) -> Iterator[Side]:
    fake = FakeRegistry()

    def force(image: Image, tag: str) -> None:
        fake.images[f"{fake.repository}:{tag}"] = image.id

    def secrets() -> set[str]:
        there = [each for each in fake.prepared if each not in fake.cleared]
        return {name for _, release in there for name in fake.pull_secrets(release)}

    yield Side(fake, _imagined, force, secrets)


def _imagined(tag: str) -> Image:
    return Image("web", tag, f"sha256:{os.urandom(4).hex()}")


@contextmanager
def _node(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """The node that the cluster has."""
    cluster: Cluster = request.getfixturevalue("cluster")
    process, recorder = Process(Recorder()), Recorder()
    store = MinikubeNodes(process, Tools(process), cluster.context, recorder)
    with _images() as (repository, make):
        try:
            namespace: str = request.getfixturevalue("namespace")
            yield Nodes(
                store,
                make,
                lambda image, tag: store.tag(image, f"{repository}:{tag}"),
                lambda: _secrets(cluster, namespace),
                namespace,
            )
        finally:
            for ref in store.refs(repository):
                store.remove(ref)


@contextmanager
def _registry(request: pytest.FixtureRequest) -> Iterator[Side]:
    """distribution's, with TLS and a password."""
    cluster: Cluster = request.getfixturevalue("cluster")
    directory: Path = request.getfixturevalue("tmp_path")
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    namespace: str = request.getfixturevalue("namespace")
    with _images() as (name, make), registry(directory, "127.0.0.1") as served:
        patch.setenv("DOCKER_CONFIG", str(served.docker_config))
        repository = f"{served.address}/{name}"
        settings = RegistrySettings(repository, create_pull_secret=True)

        def force(image: Image, tag: str) -> None:
            engine = docker.from_env()
            engine.api.tag(image.id, repository, tag)
            assert "errorDetail" not in engine.api.push(repository, tag)

        store = Registry(Process(Recorder()), cluster, settings, Recorder())
        yield Side(store, make, force, lambda: _secrets(cluster, namespace), namespace)


_SIDES = {"fake node": _fake_node, "fake registry": _fake_registry, "node": _node, "registry": _registry}


@contextmanager
def _images() -> Iterator[tuple[str, Callable[[str], Image]]]:
    """A repository, and how to make an image in it."""
    repository = f"releaser-test-{os.urandom(4).hex()}"
    made: list[Image] = []

    def make(tag: str) -> Image:
        made.append(imported(repository, tag))
        return made[-1]

    try:
        yield repository, make
    finally:
        for image in made:
            docker.from_env().images.remove(image.id, force=True)


def _secrets(cluster: Cluster, namespace: str) -> set[str]:
    return {each.metadata.name for each in client.CoreV1Api(cluster.api).list_namespaced_secret(namespace).items}


# -- any store ---------------------------------------------------------------------------------------------------------


def test_what_was_loaded_is_there_under_its_tag_and_nothing_else_is(side: Side) -> None:
    one, other = side.make("1"), side.make("2")
    assert side.ids(one, other) == ("", "")
    side.store.load(one)
    assert side.ids(other, one) == ("", one.id)
    side.store.load(one)  # and once more is no error
    assert side.ids(one) == (one.id,)


def test_pods_name_a_pulled_image_by_its_digest_once_it_is_there(side: Side) -> None:
    one = side.make("1")
    assert side.store.named(one).digest == ""
    side.store.load(one)
    named = side.store.named(one)
    assert (named.tag, named.id) == (one.tag, one.id)
    assert bool(named.digest) is side.store.pulled
    assert side.store.pulled or named == one
    assert side.ids(named) == (one.id,)


def test_a_tag_that_has_other_content_is_told_and_never_kept_for_the_right_one(side: Side) -> None:
    """Nodes get back what is right; a registry's tag may be somebody's, and is refused."""
    one, other = side.make("1"), side.make("2")
    side.store.load(other)
    side.force(other, one.tag)
    assert side.ids(one) == (other.id,)
    if side.store.pulled:
        with pytest.raises(Refused, match="other content"):
            side.store.load(one)
        assert side.ids(one) == (other.id,)
    else:
        side.store.load(one)
        assert side.ids(one, other) == (one.id, other.id)


def test_the_secrets_that_pods_have_to_name_are_made_and_taken_away(side: Side) -> None:
    wanted = set(side.store.pull_secrets("web"))
    assert bool(wanted) is side.store.pulled
    before = side.secrets()
    for _ in range(2):
        side.store.prepare(side.namespace, "web")
    assert side.secrets() - before == wanted
    for _ in range(2):
        side.store.clear(side.namespace, "web")
    assert side.secrets() == before


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_a_second_name_is_the_same_image_until_it_is_taken_away(nodes: Nodes) -> None:
    one = nodes.make("1")
    second = f"{one.repository}:second"
    nodes.store.load(one)
    nodes.store.tag(one, second)
    assert nodes.store.image_ids(second) == (one.id,)
    assert nodes.store.remove(one.ref)
    assert nodes.store.image_ids(one.ref, second) == ("", one.id)


def test_an_image_is_found_under_its_full_name(nodes: Nodes) -> None:
    one = nodes.make("1")
    nodes.store.load(one)
    assert nodes.store.image_ids(f"docker.io/library/{one.ref}") == (one.id,)


def test_all_tags_of_the_very_repository_are_listed(nodes: Nodes) -> None:
    one, other = nodes.make("1"), nodes.make("2")
    assert nodes.store.refs(one.repository) == ()
    for image in (other, one):
        nodes.store.load(image)
    nodes.store.tag(one, f"{one.repository}-2:1")
    assert nodes.store.refs(one.repository) == (one.ref, other.ref)
    nodes.store.remove(f"{one.repository}-2:1")


def test_what_was_removed_is_loaded_again(nodes: Nodes) -> None:
    one = nodes.make("1")
    nodes.store.load(one)
    for _ in range(2):  # the second time there is nothing to remove
        assert nodes.store.remove(one.ref)
        nodes.store.sweep()
        assert nodes.store.refs(one.repository) == ()
    nodes.store.load(one)
    assert nodes.ids(one) == (one.id,)
