from __future__ import annotations

import pytest

from releaser.errors import LintFailed
from releaser.flows.lint import lint
from releaser.models import Finding, Linted, Severity
from tests.fakes import FakeCharts
from tests.unit.conftest import Bench


def found(bench: Bench) -> list[Finding]:
    try:
        linted: Linted = lint(bench.project, bench.project.environments, bench.charts, bench.reporter)
    except LintFailed as failed:
        return list(failed.findings)
    return list(linted.findings)


def test_a_clean_project_has_no_findings(bench: Bench) -> None:
    assert found(bench) == []


def test_all_layers_report_at_once(bench: Bench) -> None:
    (bench.root / "charts/web/Chart.yaml").write_text(
        "apiVersion: v2\nname: web\nversion: 1.0\nappVersion: '1.0.0'\nflavour: sweet\n"
    )
    bench.values("dev", "replicaCount:  2\nreplicaCount: 3   \n")
    bench.charts = FakeCharts(lint_output="[WARNING] templates/web.yaml: object name is long")
    findings = found(bench)
    assert {f.layer for f in findings} == {"style", "Chart.yaml", "helm"}
    places = {(f.place, f.layer) for f in findings}
    assert ("charts/web/Chart.yaml:3:1", "Chart.yaml") in places  # a version that is a number
    assert ("charts/web/Chart.yaml:5:1", "Chart.yaml") in places  # a key that doesn't exist
    assert ("values-dev.yaml:2:1", "style") in places  # a key that stands twice
    assert ("values-dev.yaml:2:16", "style") in places  # trailing spaces
    assert any("stands twice" in f.message and f.layer == "helm" for f in findings)


def test_a_warning_does_not_fail(bench: Bench) -> None:
    bench.charts = FakeCharts(lint_output="[WARNING] templates/web.yaml: object name is long")
    [finding] = found(bench)
    assert finding == Finding(
        "charts/web/templates/web.yaml", 0, 0, "helm", Severity.WARNING, "helm lint: object name is long"
    )


def test_a_value_that_the_schema_refuses_is_shown_where_it_stands(bench: Bench) -> None:
    bench.values("dev", "image:\n  tag: 1\n")
    bench.charts = FakeCharts(
        lint_output=(
            "[ERROR] values.yaml: - at '/image': validation failed\n  - at '/image/tag': got number, want string"
        )
    )
    [finding] = [f for f in found(bench) if f.file == "values-dev.yaml"]
    assert (finding.place, finding.message) == ("values-dev.yaml:2:3", "image.tag: got number, want string")


def test_an_unknown_value_gets_the_key_that_was_meant(bench: Bench) -> None:
    (bench.root / "charts/web/values.schema.json").write_text(
        '{"properties": {"image": {"$ref": "#/$defs/image"}}, "$defs": {"image": {"properties": {"repository": {}}}}}'
    )
    bench.values("dev", "image:\n  repositroy: web\n")
    bench.charts = FakeCharts(lint_output="- at '/image': additional properties 'repositroy' not allowed")
    finding = next(f for f in found(bench) if f.file == "values-dev.yaml")
    assert finding.place == "values-dev.yaml:2:3"
    assert finding.message == 'unknown key "image.repositroy"; did you mean "repository"?'


def test_a_template_that_fails_is_reported_for_every_file_that_makes_it_fail(bench: Bench) -> None:
    bench.charts = FakeCharts(template_error="execution error at (web/templates/x.yaml:1:3): raise the grace period")
    assert {f.file for f in found(bench)} == {"charts/web/values.yaml", "values-dev.yaml", "values-prod.yaml"}
    assert all("raise the grace period" in f.message for f in found(bench))


def test_errors_set_the_exit_code(bench: Bench) -> None:
    bench.charts = FakeCharts(lint_output="[ERROR] templates/: bad")
    with pytest.raises(LintFailed) as caught:
        lint(bench.project, bench.project.environments, bench.charts, bench.reporter)
    assert caught.value.exit_code == 3
