"""Images, with the real Docker engine and Minikube's node."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from checks.build import program
from releaser.adapters.docker import Images
from releaser.adapters.node import MinikubeNodes
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import BuildFailed, EnvironmentUnfit
from releaser.flows.build import app_version
from releaser.models import Image
from releaser.settings import load_project
from tests.conftest import ROOT
from tests.fakes import Recorder
from tests.images import imported

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(Process(Recorder()))


def dockerfile(directory: Path, text: str, start: str = "$BASE") -> Path:
    """A Dockerfile that has the base of the service's own, and starts from there or from elsewhere."""
    base = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG BASE="))
    path = directory / "Dockerfile"
    path.write_text(f"{base}\nFROM {start}\n{text}\n")
    return path


@pytest.fixture(params=["classic builder", "BuildKit"])
def builder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Docker's CLI with and without the plug-in buildx, whatever the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        configuration = tmp_path_factory.mktemp("docker")
        if request.param == "BuildKit":
            (configuration / "cli-plugins").mkdir()
            (configuration / "cli-plugins" / "docker-buildx").symlink_to(program("buildx"))
        patch.setenv("DOCKER_CONFIG", str(configuration))
        patch.setattr("releaser.adapters.docker.has_buildx", lambda _: request.param == "BuildKit")
        yield str(request.param)


def test_a_failing_step_is_shown_with_its_place_and_output(images: Images, tmp_path: Path, builder: str) -> None:
    path = dockerfile(tmp_path, "RUN echo the reason && exit 3")
    with pytest.raises(BuildFailed) as caught:
        images.build(Image("releaser-test", "fails"), path, {})
    detail = caught.value.detail
    assert re.search(r"(Dockerfile:|\b)3 [|]? ?>>> RUN echo the reason && exit 3", detail), detail
    assert re.search(r"(?m)^(#\d+ [\d.]+ )?the reason$", detail), detail
    assert caught.value.exit_code == 3
    log = Path(caught.value.hint.removeprefix("the whole log: ")).read_text()
    assert "the reason" in log and len(log.splitlines()) > 3
    assert "releaser-test:fails" not in images.refs("releaser-test")


def test_a_full_disk_is_named_as_such(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "RUN dd if=/dev/zero of=/dev/full bs=1 count=1")  # a device that is always full
    with pytest.raises(EnvironmentUnfit, match="the disk is full") as caught:
        images.build(Image("releaser-test", "full"), path, {})
    assert "docker system df" in caught.value.hint


def test_the_node_has_what_was_loaded_under_the_very_digest(images: Images, tmp_path: Path, context: str) -> None:
    path = dockerfile(tmp_path, 'CMD ["true"]')
    image = images.identify("releaser-test", "1", path)
    image = image if image.id else images.build(image, path, {})
    recorder = Recorder()
    process = Process(recorder)
    nodes = MinikubeNodes(process, Tools(process), context, recorder)
    nodes.load(image)
    nodes.tag(image, "releaser-test:second-name")
    asked = nodes.image_ids("releaser-test:never-built", image.ref, "releaser-test:second-name")
    assert asked == ("", image.id, image.id)


def test_two_builds_of_the_same_source_have_the_same_layers(images: Images, tmp_path: Path, builder: str) -> None:
    """Of the service itself, from two checkouts with other times and modes, and nothing from the cache."""
    layers = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        was = os.umask(umask)
        try:
            shutil.copytree(ROOT / "app", tmp_path / name / "app", ignore=shutil.ignore_patterns("__pycache__"))
            for file in ("Dockerfile", ".dockerignore"):
                (tmp_path / name / file).write_bytes((ROOT / file).read_bytes())
        finally:
            os.umask(was)
        for path in (tmp_path / name).rglob("*.py"):
            path.touch()
        image = images.build(Image("releaser-test", name), tmp_path / name / "Dockerfile", {}, cache=False)
        layers.append(docker.from_env().images.get(image.id).attrs["RootFS"]["Layers"])
    assert layers[0] == layers[1]


def test_a_change_of_the_code_makes_one_small_layer(images: Images, tmp_path: Path) -> None:
    client = docker.from_env()
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / file, tmp_path / file)
    before, after = ([], [])
    for layers, line in ((before, "# one\n"), (after, "# two\n")):
        with (tmp_path / "app" / "pages.py").open("a") as file:
            file.write(line)
        image = images.build(Image("releaser-test", "changed"), tmp_path / "Dockerfile", {})
        layers.extend(client.images.get(image.id).attrs["RootFS"]["Layers"])
    assert before[:-1] == after[:-1] and before[-1] != after[-1]
    newest = next(each for each in client.images.get(image.id).history() if each["Size"])
    assert newest["Size"] < 1_000_000


def test_whatever_it_copies_from_another_image_changes_its_tag(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, "COPY --from=releaser-test-other:1 /content /content")
    tags, made = [], []
    for _ in range(2):
        made.append(imported("releaser-test-other", "1").id)
        tags.append(images.identify("releaser-test", "1", path).tag)
    for each in made:
        docker.from_env().images.remove(each, force=True)
    assert tags[0] != tags[1]


def test_an_image_says_what_it_was_made_from(images: Images, tmp_path: Path) -> None:
    path = dockerfile(tmp_path, 'CMD ["true"]')
    wanted = images.identify("releaser-test", "1", path)
    image = images.build(wanted, path, {"org.opencontainers.image.revision": "c0ffee"})
    labels = docker.from_env().images.get(image.id).labels
    assert labels["org.opencontainers.image.revision"] == "c0ffee"
    assert labels["org.opencontainers.image.base.digest"].startswith("sha256:")
    assert wanted.tag == f"1-{labels['releaser.source-hash'][:12]}"


def test_the_packages_of_an_image_are_listed_as_cyclonedx_says(images: Images) -> None:
    project = load_project(ROOT)
    image = images.identify(project.image_repository, app_version(project), project.dockerfile)
    image = image if image.id else images.build(image, project.dockerfile, {})
    text = images.sbom(image)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    listed = {each["name"].lower().replace("_", "-"): each["version"] for each in document["components"]}
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (ROOT / "app" / "requirements.lock").read_text()))
    assert locked.items() <= listed.items()
    assert all(each.get("licenses") for each in document["components"] if each["name"].lower() in locked)
    flask = next(each for each in document["dependencies"] if each["ref"].startswith("pkg:pypi/flask@"))
    assert any(needed.startswith("pkg:pypi/werkzeug@") for needed in flask["dependsOn"])
    assert images.sbom(image) == text
