"""The commands in README.md and docs/ do what is written there: each page from its beginning, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests import pages
from tests.cluster import site as sites
from tests.cluster.site import ENVIRONMENTS, RELEASE, Site
from tests.conftest import ROOT
from tests.fakes import Recorder

# several releases in a row
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

RUN = {
    page.relative_to(ROOT).as_posix(): blocks
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (blocks := [block for block in pages.blocks(page) if not block.reason])
}
# What only a pipe shows, as often as there is something to tell.
_PROGRESS = re.compile(r" \.\. |\s+\d+\.\d s  ")
# Where the examples are, and as whom.
_DIRECTORY, _USER = "/home/ann/flask-hello", "ann"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Site]:
    with sites.site(tmp_path_factory.mktemp("docs") / "project", cluster) as made:
        shutil.copytree(ROOT / "tests/chart/kustomize", made.root / "tests/chart/kustomize")
        made.commit("As it is")
        yield made


@pytest.fixture
def site(project: Site) -> Iterator[Site]:
    """The project as it was at first, and nothing released."""
    yield project
    for name in ENVIRONMENTS:
        if project.cluster.revision_labels(project.namespaces[name], RELEASE):
            project.releaser("destroy", name, "--yes")
    project.reset()


@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_do_what_it_says(site: Site, page: str, tmp_path: Path) -> None:
    tools = Tools(Process(Recorder()))
    environment = pages.environment(
        tmp_path / "bin", [tools.path(name) for name in ("helm", "kubectl")], [sys.executable]
    )
    environment["PYTHONPATH"] = str(ROOT)

    def seen(line: str) -> str:
        if _PROGRESS.match(line):
            return ""
        here = line.replace(str(site.root), _DIRECTORY).replace(site.namespace, "flask-hello-dev")
        here = here.replace(str(site.node_port), "31181")
        user = os.environ.get("USER") or "root"
        return here.replace(f" {user} ", f" {_USER} ")

    found = []
    for block in RUN[page]:
        printed = pages.run(block.with_text("flask-hello-dev", site.namespace), site.root, environment)
        found += pages.faults(block, printed, seen)
    assert not found, "\n".join(found)
