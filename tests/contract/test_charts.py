"""Helm's answers about charts, asked once and kept: they are those of Helm itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from releaser.adapters.helm import Helm
from releaser.adapters.process import Process
from releaser.adapters.renderings import KeptRenderings
from releaser.adapters.tools import Tools
from releaser.errors import InvalidInput
from tests.fakes import Recorder


class Counting(Helm):
    """Helm, counting how often it is asked."""

    asked = 0

    def _command(self, more=()):  # type: ignore[no-untyped-def]
        self.asked += 1
        return super()._command(more)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    files = {
        "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "values.yaml": "text: a\n",
        "templates/web.yaml": """\
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: "{{ .Release.Name }}"}
            data: {text: "{{ required "text is wanted" .Values.text }}"}
            """,
    }
    for name, text in files.items():
        path = tmp_path / "web" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "web"


@pytest.fixture
def helm() -> Counting:
    process = Process(Recorder())
    return Counting(process, Tools(process))


def kept(helm: Helm, directory: Path) -> KeptRenderings:
    return KeptRenderings(helm, Tools(Process(Recorder())), directory)


def test_the_same_question_is_asked_once_even_by_another_run(helm: Counting, chart: Path, tmp_path: Path) -> None:
    first = kept(helm, tmp_path / "kept").template("web", "ns", chart, None, "1.35")
    assert kept(helm, tmp_path / "kept").template("web", "ns", chart, None, "1.35") == first
    assert "text: a" in first.replace('"', "")
    assert helm.asked == 1


@pytest.mark.parametrize("change", ["template", "values", "release", "kubernetes"])
def test_another_question_is_asked(helm: Counting, chart: Path, tmp_path: Path, change: str) -> None:
    values = tmp_path / "values-dev.yaml"
    values.write_text("text: b\n")
    charts = kept(helm, tmp_path / "kept")
    charts.template("web", "ns", chart, values, "1.35")
    if change == "template":
        (chart / "templates" / "web.yaml").write_text("# nothing\n")
    if change == "values":
        values.write_text("text: c\n")
    again = charts.template("x" if change == "release" else "web", "ns", chart, values, "1.34")
    assert helm.asked == 2
    assert ("text: c" in again.replace('"', "")) == (change == "values")


def test_what_is_behind_a_symlinked_directory_counts(helm: Counting, chart: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "more.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    (chart / "templates" / "shared").symlink_to(shared)
    charts = kept(helm, tmp_path / "kept")
    assert "name: a" in charts.template("web", "ns", chart, None)
    (shared / "more.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
    assert "name: b" in charts.template("web", "ns", chart, None)


def test_the_same_chart_elsewhere_is_another_question(helm: Counting, chart: Path, tmp_path: Path) -> None:
    """Helm's messages name the chart's directory."""
    kept(helm, tmp_path / "kept").lint(chart, None)
    other = tmp_path / "other" / chart.name
    shutil.copytree(chart, other)
    assert str(other) in kept(helm, tmp_path / "kept").lint(other, None)


def test_a_refusal_is_kept_too(helm: Counting, chart: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match="refused") as caught:
            kept(helm, tmp_path / "kept").draft("web", "ns", chart, {"text": ""}, {})
        assert "text is wanted" in caught.value.detail
    assert helm.asked == 1


def test_what_is_kept_and_torn_is_asked_again(helm: Counting, chart: Path, tmp_path: Path) -> None:
    first = kept(helm, tmp_path / "kept").template("web", "ns", chart, None)
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"torn")
    assert kept(helm, tmp_path / "kept").template("web", "ns", chart, None) == first
    assert helm.asked == 2


def test_where_nothing_can_be_kept_it_is_asked_each_time(helm: Counting, chart: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    for _ in range(2):
        assert kept(helm, tmp_path / "file").lint(chart, None)
    assert helm.asked == 2


def test_what_is_kept_is_for_its_owner_only(helm: Counting, chart: Path, tmp_path: Path) -> None:
    kept(helm, tmp_path / "kept").template("web", "ns", chart, None)
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
