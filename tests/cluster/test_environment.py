"""A machine that is not fit: each a clear error and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cluster.site import Site

pytestmark = pytest.mark.cluster


def kubeconfig(path: Path, context: str) -> dict[str, str]:
    """A kubeconfig whose cluster is a port where nobody listens."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": "gone", "user": "nobody"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return {"KUBECONFIG": str(path)}


def test_a_cluster_that_does_not_answer(site: Site, tmp_path: Path, context: str) -> None:
    failed = site.releaser("status", "dev", code=5, environment=kubeconfig(tmp_path / "config", context))
    assert "does not answer" in failed.stderr
    assert "releaser up" in failed.stderr or "releaser doctor" in failed.stderr


def test_a_context_that_the_kubeconfig_does_not_have(site: Site, tmp_path: Path) -> None:
    failed = site.releaser("status", "dev", code=4, environment=kubeconfig(tmp_path / "config", "elsewhere"))
    assert "known contexts: elsewhere" in failed.stderr


def test_docker_that_does_not_run(site: Site) -> None:
    failed = site.releaser("build", "dev", code=5, environment={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert "Docker engine does not answer" in failed.stderr


def test_an_unknown_environment(site: Site) -> None:
    failed = site.releaser("deploy", "prd", code=2)
    assert 'did you mean "prod"?' in failed.stderr
    assert "dev, prod" in failed.stderr


def test_up_on_a_running_cluster_finds_it_running(site: Site, context: str) -> None:
    finished = site.releaser("--project", ".", "up", "--profile", context)
    assert "was running" in finished.stdout


def test_doctor_finds_this_machine_fit(site: Site) -> None:
    report = site.json("doctor")
    assert all(need["ok"] for need in report["needs"])
