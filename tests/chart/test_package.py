"""The chart as an archive and in a real registry."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from checks.build import program
from releaser.adapters.archives import ChartArchives
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import InvalidInput, Refused, ToolFailed
from releaser.flows.package import package, push
from releaser.models import Packaged
from releaser.settings import load_project
from tests.chart.conftest import CHART, ROOT, Render
from tests.fakes import Recorder

DEADLINE_SECONDS = 30.0
CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def archives() -> ChartArchives:
    process = Process(Recorder())
    return ChartArchives(process, Tools(process), plain_http=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of distribution's registry, which keeps its things on disk."""
    directory = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": address},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with (directory / "log").open("w") as log:
        served = subprocess.Popen([program("registry"), "serve", directory / "config.yaml"], stdout=log, stderr=log)
        try:
            await_answer(address, served, directory / "log")
            yield address
        finally:
            served.terminate()
            served.wait(DEADLINE_SECONDS)


def await_answer(address: str, served: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            with socket.create_connection(tuple(address.split(":")), timeout=1):  # type: ignore[arg-type]
                return
        except OSError:
            assert served.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no answer from {address}: {log.read_text()}"
            time.sleep(0.05)


def test_the_same_chart_makes_the_same_bytes_whenever_it_is_packaged(archives: ChartArchives, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / CHART.name
    shutil.copytree(CHART, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1e9, 1e9))
    first, second = archives.package(CHART, tmp_path / "a"), archives.package(elsewhere, tmp_path / "b")
    assert first.archive.name == f"flask-hello-{CHART_YAML['version']}.tgz"
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.digest == second.digest
    (elsewhere / "values.yaml").write_text((CHART / "values.yaml").read_text() + "# a remark\n")
    assert archives.package(elsewhere, tmp_path / "c").digest != first.digest


def test_the_archive_has_what_the_chart_needs_and_no_more(
    archives: ChartArchives, tmp_path: Path, render: Render
) -> None:
    packaged = archives.package(CHART, tmp_path)
    with tarfile.open(packaged.archive) as archive:
        names = {name.removeprefix("flask-hello/") for name in archive.getnames()}
        assert {member.mtime for member in archive} == {315532800}
    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "files/dashboard.json"} <= names
    assert not any(name.startswith("ci/") for name in names)
    values = CHART / "ci" / "gateway-values.yaml"
    given = {"secret.secretKey": "a-key-of-my-own-choice"}
    assert render(values, sets=given, chart=packaged.archive).text == render(values, sets=given).text


def test_a_chart_that_helm_refuses_is_not_packaged(archives: ChartArchives, tmp_path: Path) -> None:
    chart = tmp_path / "broken"
    shutil.copytree(CHART, chart)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: broken\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="While packaging"):
        archives.package(chart, tmp_path / "to")


def test_a_pushed_chart_can_be_pulled_and_rendered(
    archives: ChartArchives, registry: str, tmp_path: Path, render: Render
) -> None:
    project, recorder = load_project(ROOT), Recorder()
    packaged = package(project, archives, tmp_path, recorder)
    pushed = push(project, archives, f"oci://{registry}/first", packaged, recorder)
    assert pushed.reference == f"oci://{registry}/first/flask-hello:{CHART_YAML['version']}"
    assert (pushed.sent, pushed.digest) == (True, packaged.digest)
    given = {"secret.secretKey": "a-key-of-my-own-choice"}
    remote = ["--version", CHART_YAML["version"], "--plain-http"]
    # helm takes oci:// for a path if it is given as one
    pulled = render(sets=given, chart=f"oci://{registry}/first/flask-hello", more=remote)  # type: ignore[arg-type]
    assert pulled.text == render(sets=given).text


def test_what_a_registry_has_is_not_sent_again_and_never_replaced(
    archives: ChartArchives, registry: str, tmp_path: Path
) -> None:
    project, recorder = load_project(ROOT), Recorder()
    repository = f"oci://{registry}/second"
    packaged = package(project, archives, tmp_path, recorder)
    assert push(project, archives, repository, packaged, recorder).sent is True
    before = manifest(registry, "second")
    assert push(project, archives, f"{repository}/", packaged, recorder).sent is False
    changed = tmp_path / "changed" / CHART.name
    shutil.copytree(CHART, changed)
    (changed / "values.yaml").write_text((CHART / "values.yaml").read_text() + "# a remark\n")
    with pytest.raises(Refused, match="is there already, with other content"):
        push(project, archives, repository, archives.package(changed, tmp_path / "to"), recorder)
    assert manifest(registry, "second") == before
    assert packaged.digest in [layer["digest"] for layer in before["layers"]]


def manifest(registry: str, path: str) -> dict[str, list[dict[str, str]]]:
    url = f"http://{registry}/v2/{path}/flask-hello/manifests/{CHART_YAML['version']}"
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        return dict(json.load(answer))


def test_a_registry_that_does_not_answer_is_told_from_one_without_the_chart(archives: ChartArchives) -> None:
    with pytest.raises(ToolFailed):
        archives.published("oci://127.0.0.1:1/nowhere", "flask-hello", "1.0.0")


def test_only_oci_repositories_are_pushed_to(archives: ChartArchives, tmp_path: Path) -> None:
    project = load_project(ROOT)
    with pytest.raises(InvalidInput, match="is not an OCI repository"):
        push(project, archives, "https://charts.example", Packaged(tmp_path / "a.tgz", "sha256:0"), Recorder())


def test_the_command_line_packages_and_pushes(registry: str, tmp_path: Path) -> None:
    def releaser(*arguments: str) -> str:
        argv = [sys.executable, "-m", "releaser", "--project", str(ROOT), *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            argv, cwd=tmp_path, env=env, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    assert "dist/flask-hello-" in releaser("package")
    assert (tmp_path / "dist" / f"flask-hello-{CHART_YAML['version']}.tgz").exists()
    assert "sent to oci://" in releaser("push", f"oci://{registry}/third", "--plain-http")
    assert "already at oci://" in releaser("push", f"oci://{registry}/third", "--plain-http")


def test_the_annotations_are_those_of_artifact_hub() -> None:
    """https://artifacthub.io/docs/topics/annotations/helm/: strings, some of which are YAML themselves."""
    annotations = CHART_YAML["annotations"]
    assert all(isinstance(value, str) for value in annotations.values())
    assert all(name.startswith("artifacthub.io/") for name in annotations)
    [image] = yaml.safe_load(annotations["artifacthub.io/images"])
    assert image == {"name": "flask-hello", "image": f"flask-hello:{CHART_YAML['appVersion']}"}
    changes = yaml.safe_load(annotations["artifacthub.io/changes"])
    assert {change["kind"] for change in changes} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(change["description"] for change in changes)
    for name in ("prerelease", "containsSecurityUpdates"):
        assert annotations[f"artifacthub.io/{name}"] in ("true", "false")
