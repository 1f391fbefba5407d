"""What becomes of Helm's failures that need no cluster to be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from releaser.adapters.helm import Helm
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import ToolFailed
from tests.fakes import Recorder


def test_a_helm_that_is_killed_has_refused_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = tmp_path / "helm"
    helm.write_text('#!/bin/sh\n[ "$1" = version ] && echo v4.1.4 && exit\nkill -KILL $$\n')
    helm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    process = Process(Recorder())
    with pytest.raises(ToolFailed, match="was killed by SIGKILL") as caught:
        Helm(process, Tools(process)).upgrade("web", "web-dev", tmp_path, {}, {})
    assert caught.value.exit_code == 5
