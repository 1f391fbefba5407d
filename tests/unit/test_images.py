"""The Docker engine as releaser finds it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from docker.errors import ImageNotFound

from releaser.adapters.docker import Images
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from tests.fakes import Recorder


def test_containerds_store_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker 29 has it unless told otherwise; what the API says there (Engine API 1.48, ImageInspect.Descriptor)."""
    found = SimpleNamespace(id="sha256:of-the-manifest", attrs={"Descriptor": {"digest": "sha256:of-the-manifest"}})
    engine = SimpleNamespace(ping=lambda: True, images=SimpleNamespace(get=lambda ref: found))
    monkeypatch.setattr("docker.from_env", lambda timeout: engine)
    with pytest.raises(EnvironmentUnfit, match="containerd's store") as caught:
        Images(Process(Recorder()))._id("web:1")
    assert "containerd-snapshotter" in caught.value.hint


def test_each_stage_has_the_base_that_the_dockerfile_gives_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where `releaser up` had to make none."""

    def pull(ref: str) -> SimpleNamespace:
        pulled.append(ref)
        return SimpleNamespace(id=f"sha256:{ref}")

    def get(ref: str) -> None:
        raise ImageNotFound(ref)

    pulled: list[str] = []
    engine = SimpleNamespace(ping=lambda: True, images=SimpleNamespace(get=get, pull=pull))
    monkeypatch.setattr("docker.from_env", lambda timeout: engine)
    path = tmp_path / "Dockerfile"
    path.write_text("ARG BASE=small:1\nARG BUILD_BASE=big:1\nFROM $BUILD_BASE AS build\nFROM $BASE\n")
    images = Images(Process(Recorder()))
    assert {"BASE": "small:1", "BUILD_BASE": "big:1"}.items() <= images._arguments(path).items()
    before = images.identify("web", "1", path)
    assert pulled == ["big:1", "small:1"]
    path.write_text(path.read_text().replace("big:1", "big:2"))
    assert images.identify("web", "1", path).tag != before.tag
