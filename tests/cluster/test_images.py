"""Images, with the real Docker engine and Minikube's node."""

from __future__ import annotations

from pathlib import Path

import pytest

from releaser.adapters.docker import Images
from releaser.adapters.node import MinikubeNode
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import BuildFailed, EnvironmentUnfit, InvalidInput
from releaser.models import Image
from tests.conftest import ROOT
from tests.fakes import Recorder

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def images() -> Images:
    return Images()


def dockerfile(directory: Path, text: str) -> Path:
    """A Dockerfile on the base that the service's own has."""
    base = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG BASE="))
    path = directory / "Dockerfile"
    path.write_text(f"{base}\nFROM $BASE\n{text}\n")
    return path


def tag(images: Images, path: Path) -> str:
    return images.identify("releaser-test", "1", path).tag


def test_the_tag_follows_the_content_and_nothing_else(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "COPY . /x")
    source = tmp_path / "source.py"
    source.write_text("a")
    first = tag(images, path)
    source.touch()
    assert tag(images, path) == first
    source.chmod(0o755)
    executable = tag(images, path)
    source.write_text("b")
    assert len({first, executable, tag(images, path)}) == 3


def test_what_dockerignore_names_does_not_count(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "COPY . /x")
    (tmp_path / ".dockerignore").write_text("# notes\n*.md\n")
    before = tag(images, path)
    (tmp_path / "notes.md").write_text("a")
    assert tag(images, path) == before
    (tmp_path / "code.py").write_text("a")
    assert tag(images, path) != before


def test_a_failing_step_is_shown_with_its_output(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "RUN echo the reason && exit 3")
    with pytest.raises(BuildFailed) as caught:
        images.build(Image("releaser-test", "fails"), path, {})
    assert "the reason" in caught.value.detail
    assert "RUN echo the reason" in caught.value.detail
    assert caught.value.exit_code == 3


def test_a_full_disk_is_named_as_such(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "RUN dd if=/dev/zero of=/dev/full bs=1 count=1")  # a device that is always full
    with pytest.raises(EnvironmentUnfit, match="the disk is full") as caught:
        images.build(Image("releaser-test", "full"), path, {})
    assert "docker system df" in caught.value.hint


def test_a_missing_dockerfile_is_named(images: Images, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Dockerfile"):
        images.identify("releaser-test", "1", tmp_path / "Dockerfile")


def test_the_node_has_what_was_loaded_under_the_very_digest(images: Images, tmp_path: Path, context: str) -> None:
    path = dockerfile(tmp_path, 'CMD ["true"]')
    image = images.identify("releaser-test", "1", path)
    image = image if image.id else images.build(image, path, {})
    process = Process(Recorder())
    node = MinikubeNode(process, Tools(process), context)
    assert node.image_id("releaser-test:never-built") == ""
    node.load(image)
    assert node.image_id(image.ref) == image.id
    node.tag(image, f"{image.ref}-second")
    assert node.image_id(f"{image.ref}-second") == image.id
