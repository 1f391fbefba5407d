"""The chart's version against git's base, with a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from releaser.adapters.git import GitRepository
from releaser.adapters.process import Process
from releaser.errors import UsageError
from releaser.flows.lint import Scope, lint
from releaser.models import Finding
from releaser.settings import load_project
from tests.fakes import Recorder
from tests.unit.conftest import Bench

CHART = "apiVersion: v2\nname: web\nversion: {}\n"


@pytest.fixture
def git(bench: Bench) -> GitRepository:
    run(bench.root, "init", "--quiet", "--initial-branch=main")
    commit(bench.root, "first")
    return GitRepository(Process(Recorder()), bench.project.chart)


def run(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    argv = ["git", "-C", root, *identity, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def commit(root: Path, message: str) -> str:
    run(root, "add", "--all")
    run(root, "commit", "--quiet", "--allow-empty", "-m", message)
    return run(root, "rev-parse", "HEAD")


def change(root: Path, version: str = "1.0.0") -> None:
    (root / "charts/web/values.yaml").write_text("image: {}\nmore: 1\n")
    (root / "charts/web/Chart.yaml").write_text(CHART.format(version))


def found(bench: Bench, git: GitRepository, base: str = "") -> list[Finding]:
    project = bench.project
    scope = Scope(repository=git, base=base)
    findings = lint(project, project.environments, bench.charts, bench.reporter, scope).findings
    return [each for each in findings if each.layer == "version"]


def test_a_changed_chart_of_the_same_version_is_found_on_a_branch(bench: Bench, git: GitRepository) -> None:
    run(bench.root, "checkout", "--quiet", "-b", "topic")
    assert found(bench, git) == []
    change(bench.root)
    [finding] = found(bench, git)
    assert (finding.place, finding.rule) == ("charts/web/Chart.yaml:3:1", "version/not-raised")
    commit(bench.root, "changed")
    assert [each.rule for each in found(bench, git)] == ["version/not-raised"]


def test_a_new_file_is_a_change_and_an_ignored_one_is_not(bench: Bench, git: GitRepository) -> None:
    run(bench.root, "checkout", "--quiet", "-b", "topic")
    (bench.root / ".git/info/exclude").write_text("*.bak\n")
    (bench.root / "charts/web/values.bak").write_text("")
    assert found(bench, git) == []
    (bench.root / "charts/web/templates").mkdir()
    (bench.root / "charts/web/templates/new file.yaml").write_text("")
    [finding] = found(bench, git)
    assert "templates/new file.yaml" in finding.message


@pytest.mark.parametrize(("version", "rules"), [("1.0.1", []), ("0.9.0", ["version/lowered"]), ("10.0.0", [])])
def test_versions_are_compared_as_versions(bench: Bench, git: GitRepository, version: str, rules: list[str]) -> None:
    run(bench.root, "checkout", "--quiet", "-b", "topic")
    change(bench.root, version)
    assert [each.rule for each in found(bench, git)] == rules


def test_a_chart_that_is_new_has_nothing_to_rise_from(bench: Bench, git: GitRepository) -> None:
    base = run(bench.root, "rev-parse", "HEAD")
    run(bench.root, "rm", "-r", "--quiet", "--cached", "charts")
    without = commit(bench.root, "without")
    assert without != base
    assert found(bench, git, without) == []


def test_on_main_the_newest_tag_is_the_base(bench: Bench, git: GitRepository) -> None:
    change(bench.root)
    assert found(bench, git) == []  # no tag, no remote, no branch
    run(bench.root, "tag", "v1")
    assert [each.rule for each in found(bench, git)] == ["version/not-raised"]


def test_the_remotes_branch_goes_before_the_local_one(bench: Bench, git: GitRepository, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    run(bench.root, "init", "--quiet", "--bare", str(remote))
    run(bench.root, "remote", "add", "origin", str(remote))
    run(bench.root, "push", "--quiet", "origin", "main")
    first = run(bench.root, "rev-parse", "HEAD")
    change(bench.root)
    commit(bench.root, "not pushed")
    assert git.base("") == first
    assert [each.rule for each in found(bench, git)] == ["version/not-raised"]


def test_a_project_behind_a_symlink_is_compared_too(bench: Bench, git: GitRepository, tmp_path: Path) -> None:
    run(bench.root, "checkout", "--quiet", "-b", "topic")
    change(bench.root)
    link = tmp_path / "link"
    link.symlink_to(bench.root)
    project = load_project(link)
    scope = Scope(repository=GitRepository(Process(Recorder()), project.chart))
    findings = lint(project, project.environments, bench.charts, bench.reporter, scope).findings
    [finding] = [each for each in findings if each.layer == "version"]
    assert (finding.file, finding.rule) == ("charts/web/Chart.yaml", "version/not-raised")
    assert "(Chart.yaml, values.yaml)" in finding.message


def test_where_a_project_stands_in_its_repository(bench: Bench, git: GitRepository, tmp_path: Path) -> None:
    assert git.within(bench.root) == ""
    assert git.within(bench.root / "charts/web") == "charts/web"
    assert git.within(tmp_path.parent) == ""


def test_a_base_that_is_not_there_is_refused(bench: Bench, git: GitRepository) -> None:
    with pytest.raises(UsageError, match='no "nowhere"'):
        found(bench, git, "nowhere")


def test_outside_of_git_nothing_is_compared(bench: Bench) -> None:
    assert found(bench, GitRepository(Process(Recorder()), bench.project.chart)) == []
