"""`releaser dev`: from a save to the new code on every pod; and `releaser prune` after so many images."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import docker
import pytest
import requests
import yaml

from releaser.models import PodState
from tests.cluster.site import RELEASE, Running, Site, eventually
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster

_CODE = "app/__init__.py"


@pytest.fixture
def own_image(site: Site) -> Iterator[str]:
    """A repository that no other project has: prune looks at a whole one."""
    name = f"releaser-test-{os.urandom(4).hex()}"
    path = site.root / "releaser.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"image": name}))
    yield name
    engine = docker.from_env()
    for image in engine.images.list(name=name):
        for tag in image.tags:
            engine.images.remove(tag)


def save(site: Site, version: str) -> None:
    """The service tells it at its front page."""
    lines = (site.root / _CODE).read_text().splitlines()
    kept = [line for line in lines if not line.startswith("__version__")]
    site.write(_CODE, "\n".join([*kept, f'__version__ = "{version}"', ""]))


def answers(site: Site) -> set[str]:
    """What the service says it is, often enough to meet every pod; empty while it doesn't answer everywhere yet."""
    try:
        return {site.get()["version"] for _ in range(20)}
    except requests.RequestException:
        return set()


def await_note(running: Running, text: str) -> list[str]:
    """All notes until the one that has the text."""
    notes = []
    for event in running.events():
        if event["event"] == "Note":
            notes.append(event["text"])
            if text in event["text"]:
                return notes
    raise AssertionError(f"releaser ended without {text!r}:\n{running.end().stderr}")


def test_each_save_answers_and_one_that_fails_is_mended_by_the_next(site: Site) -> None:
    save(site, "dev-0")
    running = site.start("dev")
    try:
        await_note(running, "waiting for the next save")
        eventually("it answers", lambda: answers(site) == {"dev-0"})
        save(site, "dev-1")
        notes = await_note(running, "waiting for the next save")
        assert "answers on every pod after" in notes[0]
        eventually("the new code alone answers", lambda: answers(site) == {"dev-1"})

        site.write(_CODE, "this is no Python\n")
        notes = await_note(running, "waiting for the next save")
        assert any("SyntaxError" in note or "invalid syntax" in note for note in notes), notes
        assert site.get()["version"] == "dev-1"
        site.write(_CODE, (ROOT / _CODE).read_text())
        save(site, "dev-2")
        await_note(running, "waiting for the next save")
        eventually("the mended code answers", lambda: answers(site) == {"dev-2"})
    finally:
        running.signal(signal.SIGINT)
        ended = running.end()
    assert ended.code == 0, ended.stderr
    assert all(revision["verdict"] == "unknown" for revision in site.history())
    # what was never proven can't be promoted
    assert site.run("promote", "dev", "prod", "--yes").code == 4


def test_saved_code_goes_into_the_pods_that_run_until_the_next_release(site: Site) -> None:
    path = site.root / "releaser.yaml"
    live = {"from": "app", "to": "/srv/app", "files": ["*.py"]}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"dev": {"live": live}}))
    save(site, "live-0")
    running = site.start("dev")
    try:
        await_note(running, "waiting for the next save")
        pods = names(site)
        for version in ("live-1", "live-2"):
            save(site, version)
            notes = await_note(running, "waiting for the next save")
            assert notes[0].startswith("the saved code answers on every pod"), notes
            assert answers(site) == {version}
        site.write(_CODE, "this is no Python\n")
        notes = await_note(running, "waiting for the next save")
        assert "SyntaxError" in notes[0], notes
        assert site.get()["version"] == "live-2"
    finally:
        running.signal(signal.SIGINT)
        ended = running.end()
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["written"] == 2
    assert names(site) == pods
    assert "ready, edited" in site.releaser("status", "dev").stdout
    assert all(container.restarts == 0 for pod in named_pods(site) for container in pod.containers)

    # the image that runs is the one to be released: only its pods are not what it is
    site.write(_CODE, (ROOT / _CODE).read_text())
    save(site, "live-0")
    site.releaser("deploy", "dev")
    assert not names(site) & pods
    eventually("the image's code answers", lambda: answers(site) == {"live-0"})


def named_pods(site: Site) -> list[PodState]:
    return [pod for pod in site.cluster.pods(site.namespace, RELEASE) if not pod.terminating]


def names(site: Site) -> set[str]:
    return {pod.name for pod in named_pods(site)}


def test_prune_leaves_what_a_rollback_may_need(site: Site, own_image: str) -> None:
    images = []
    for version in ("prune-0", "prune-1"):
        save(site, version)
        site.releaser("deploy", "dev")
        images.append(site.history()[0]["image"])
    assert len(set(images)) == 2

    assert removed(site) == set()
    site.releaser("rollback", "dev")  # the first image is still there, and is needed now
    assert site.get()["version"] == "prune-0"
    assert removed(site, "--yes") == set()

    site.releaser("destroy", "dev")
    # the other one is that of the source
    eventually("its pods are gone, and nobody needs it", lambda: removed(site) == {images[0]})
    assert removed(site, "--yes") == {images[0]}
    assert {tag for image in docker.from_env().images.list(name=own_image) for tag in image.tags} == {images[1]}
    assert removed(site, "--yes") == set()


def removed(site: Site, *options: str) -> set[str]:
    shelves = site.json("prune", *options)["shelves"]
    return {ref for shelf in shelves for ref in shelf["removed"]}
