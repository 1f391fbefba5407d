"""What flows rely on of the place where images are built: the fake and Docker must agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from releaser.adapters.docker import Images as RealImages
from releaser.adapters.process import Process
from releaser.models import Image
from tests.cluster.test_images import dockerfile
from tests.fakes import FakeImages, Recorder


@dataclass
class Side:
    images: FakeImages | RealImages
    repository: str
    dockerfile: Path
    save: Callable[[str], None]
    """The source is this now."""
    force: Callable[[Image, str], None]
    """Somebody gives the image a name by hand."""
    holding: Callable[[Image], AbstractContextManager[None]]
    """A container of the image is there."""

    def identify(self) -> Image:
        return self.images.identify(self.repository, "1", self.dockerfile)

    def build(self, source: str) -> Image:
        self.save(source)
        return self.images.build(self.identify(), self.dockerfile, {})


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    yield from (_fake if request.param == "fake" else _real)(tmp_path)


def _fake(root: Path) -> Iterator[Side]:
    images = FakeImages()

    @contextmanager
    def holding(image: Image) -> Iterator[None]:
        images.held.add(image.ref)
        yield
        images.held.clear()

    def save(source: str) -> None:
        images.source = source

    def force(image: Image, ref: str) -> None:
        images.images[ref] = image.id

    yield Side(images, "web", root / "Dockerfile", save, force, holding)


def _real(root: Path) -> Iterator[Side]:
    engine, repository = docker.from_env(), f"releaser-test-{os.urandom(4).hex()}"
    images = RealImages(Process(Recorder()))
    path = dockerfile(root, "COPY content /content", "scratch")

    @contextmanager
    def holding(image: Image) -> Iterator[None]:
        container = engine.containers.create(image.id, "/content")
        yield
        container.remove()

    def save(source: str) -> None:
        (root / "content").write_text(source)

    def force(image: Image, ref: str) -> None:
        engine.api.tag(image.id, ref)

    try:
        yield Side(images, repository, path, save, force, holding)
    finally:
        for ref in images.refs(repository):
            images.remove(ref)


def test_what_was_never_built_has_a_tag_of_its_content_and_no_id(side: Side) -> None:
    side.save("one")
    image = side.identify()
    assert image.repository == side.repository and image.tag.startswith("1-") and image.id == ""
    assert side.identify() == image
    assert side.images.refs(side.repository) == ()


def test_what_was_built_is_known_again_and_other_content_is_another_image(side: Side) -> None:
    one = side.build("one")
    assert one.id.startswith("sha256:") and side.identify() == one
    two = side.build("two")
    assert one.tag != two.tag and one.id != two.id
    side.save("one")
    assert side.identify() == one
    assert side.images.refs(side.repository) == tuple(sorted([one.ref, two.ref]))


def test_who_looks_on_is_told_the_steps(side: Side) -> None:
    side.save("one")
    told: list[str] = []
    side.images.build(side.identify(), side.dockerfile, {}, told.append)
    assert any("FROM scratch" in line or "COPY content" in line for line in told)


def test_a_tag_that_was_given_to_other_content_by_hand_does_not_count(side: Side) -> None:
    one, two = side.build("one"), side.build("two")
    side.force(one, two.ref)
    assert side.identify().id == ""
    assert side.images.build(side.identify(), side.dockerfile, {}).ref == two.ref
    assert side.identify().id not in ("", one.id)


def test_only_images_of_the_very_repository_are_listed(side: Side) -> None:
    one = side.build("one")
    side.force(one, f"{side.repository}-2:1")
    try:
        assert side.images.refs(side.repository) == (one.ref,)
    finally:
        side.images.remove(f"{side.repository}-2:1")


def test_what_is_removed_has_to_be_built_again(side: Side) -> None:
    one = side.build("one")
    assert side.images.remove(one.ref)
    assert side.identify().id == "" and side.images.refs(side.repository) == ()
    assert side.images.remove(one.ref)  # and once more is no error


def test_what_a_container_holds_stays(side: Side) -> None:
    one = side.build("one")
    with side.holding(one):
        assert not side.images.remove(one.ref)
        assert side.identify() == one
    assert side.images.remove(one.ref)
