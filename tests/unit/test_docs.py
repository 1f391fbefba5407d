"""The documentation is whole: it builds strictly and loads nothing from elsewhere, each cause and each alert has its
section, each picture is that of its text, and each command is run or says why not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.pictures.draw import mark
from releaser.models import Cause
from tests import pages
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PICTURES = sorted((DOCS / "pictures").glob("*.d2"))
# What a browser fetches by itself; a link that somebody has to click is none of it.
_LOADED = re.compile(r"""<(?:script|img|iframe|source|embed)\b[^>]*\bsrc=["']?([^"' >]+)|<link\b[^>]*\bhref="([^"]+)""")
_LOADED_BY_STYLE = re.compile(r"""(?:url\(|@import\s+)["']?([^"')\s]+)""")


def build(source: Path, to: Path) -> subprocess.CompletedProcess[str]:
    """As `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", source / "docs", source, to],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("site")
    finished = build(ROOT, to)
    assert finished.returncode == 0, finished.stderr
    return to


def headings(page: Path, level: int) -> Iterator[tuple[str, str]]:
    """(chapter, heading) of each heading of a level, outside of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    chapter = ""
    for line in text.splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        if line.startswith(f"{'#' * level} "):
            yield chapter, line[level + 1 :]


# -- the site ----------------------------------------------------------------------------------------------------------


def test_the_site_has_every_page_and_begins_with_the_readme(site: Path) -> None:
    for page in PAGES:
        assert (site / page.relative_to(ROOT)).with_suffix(".html").is_file(), page
    assert "url=README.html" in (site / "index.html").read_text()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = [
        (file.name, address)
        for file in site.rglob("*.html")
        for match in _LOADED.finditer(file.read_text(encoding="utf-8"))
        for address in match.groups()
        if address
    ]
    loaded += [
        (file.name, match[1])
        for file in site.rglob("*.css")
        for match in _LOADED_BY_STYLE.finditer(file.read_text(encoding="utf-8"))
    ]

    assert len(loaded) > 50
    assert [each for each in loaded if re.match(r"(https?:)?//", each[1])] == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("[to nowhere](nowhere.md)", "nowhere.md"),
        ("[to no heading](operations.md#no-such-heading)", "no-such-heading"),
        ("![no picture](pictures/none.svg)", "none.svg"),
    ],
    ids=["page", "heading", "picture"],
)
def test_a_broken_link_ends_the_build(tmp_path: Path, broken: str, said: str) -> None:
    root = tmp_path / "project"
    shutil.copytree(DOCS, root / "docs", ignore=shutil.ignore_patterns("__pycache__", "rules.md"))
    (root / "README.md").write_text("# Project\n")
    # of the real pages only two, one of which is broken: the rest has nothing to do with it
    conf = (root / "docs/conf.py").read_text()
    conf = re.sub(r"PAGES = \{.*?^\}", 'PAGES = {"All": ["docs/ci-cd", "docs/operations"]}', conf, flags=re.S | re.M)
    conf = re.sub(
        r"include_patterns = .*", 'include_patterns = ["README.md", "docs/ci-cd.md", "docs/operations.md"]', conf
    )
    conf = re.sub(r"html_favicon = .*", "", conf)
    (root / "docs/conf.py").write_text(conf)
    (root / "docs/operations.md").write_text("# Operations\n")
    page = root / "docs/ci-cd.md"

    page.write_text("# CI/CD\n\n[there](operations.md#operations)\n")
    assert build(root, tmp_path / "good").returncode == 0
    page.write_text(f"# CI/CD\n\n{broken}\n")
    finished = build(root, tmp_path / "bad")

    assert finished.returncode != 0
    assert said in finished.stderr


# -- what has to be in it ----------------------------------------------------------------------------------------------


def test_each_cause_of_a_failed_release_has_its_runbook_and_there_is_no_other() -> None:
    found = [heading for chapter, heading in headings(DOCS / "operations.md", 3) if chapter == "Causes"]

    assert sorted(found) == sorted(Cause)


def test_the_link_of_a_cause_leads_to_its_heading(site: Path) -> None:
    html = (site / "docs/operations.html").read_text(encoding="utf-8")

    for cause in Cause:
        page, _, anchor = cause.link.partition("#")
        assert page == "docs/operations.md"
        assert f'id="{anchor}"' in html, cause


def test_each_alert_has_its_runbook_and_there_is_no_other() -> None:
    rules = (ROOT / "charts/flask-hello/templates/prometheusrule.yaml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", rules)
    found = [heading for chapter, heading in headings(DOCS / "operations.md", 3) if chapter == "Alerts"]

    assert alerts
    assert sorted(found) == sorted(alerts)


@pytest.mark.parametrize("source", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_that_of_its_text(source: Path) -> None:
    picture = source.with_suffix(".svg").read_text(encoding="utf-8")

    assert picture.endswith(mark(source.read_text(encoding="utf-8"))), "run `make pictures`"
    assert not re.search(r"""(?:href|src)=["']https?://""", picture)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_command_on_a_page_is_run_or_says_why_not(page: Path) -> None:
    for block in pages.blocks(page):
        assert not block.reason or len(block.reason.split()) >= 4, f"{block}: a reason is wanted: {block.reason!r}"


@pytest.mark.parametrize(
    ("file", "schema", "more"),
    [
        ("github-actions.yml", "vendor.github-workflows", []),
        ("gitlab-ci.yml", "vendor.gitlab-ci", ["--data-transform", "gitlab-ci"]),
    ],
)
def test_a_pipeline_to_copy_is_what_its_service_reads(file: str, schema: str, more: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *more, DOCS / "ci" / file],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
