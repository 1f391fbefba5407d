"""The Docker engine as releaser finds it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

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
