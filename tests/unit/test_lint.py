from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from releaser.console import Form, Output, Printer
from releaser.errors import InvalidInput, LintFailed
from releaser.flows.contrast import contrast
from releaser.flows.lint import Scope, fix, lint, require_clean
from releaser.lint import fixes, formats
from releaser.located import load_mapping
from releaser.models import Finding, Linted, Severity
from tests.fakes import FakeCharts
from tests.unit.conftest import Bench

TODAY = date(2026, 11, 1)


def linted(bench: Bench) -> Linted:
    project = bench.project
    return lint(project, project.environments, bench.charts, bench.reporter, Scope(today=TODAY))


def found(bench: Bench) -> list[Finding]:
    return list(linted(bench).findings)


@pytest.fixture(autouse=True)
def schema(bench: Bench) -> Path:
    """A schema that takes everything but knows nothing wrong."""
    path = bench.root / "charts/web/values.schema.json"
    path.write_text('{"type": "object", "properties": {"image": {"type": "object"}, "service": {"type": "object"}}}')
    (bench.root / "charts/web/values.yaml").write_text("image: {}\nservice: {}\n")
    return path


def test_a_clean_project_has_no_findings(bench: Bench) -> None:
    assert found(bench) == []


def test_all_layers_report_at_once(bench: Bench) -> None:
    (bench.root / "charts/web/Chart.yaml").write_text(
        "apiVersion: v2\nname: web\nversion: 1.0\nappVersion: '1.0.0'\nflavour: sweet\n"
    )
    bench.values("dev", "replicaCount:  2\nreplicaCount: 3   \n")
    bench.charts = FakeCharts(lint_output="[WARNING] templates/web.yaml: object name is long")
    places = {(f.place, f.rule) for f in found(bench)}
    assert ("charts/web/Chart.yaml:3:1", "chart/schema") in places  # a version that is a number
    assert ("charts/web/Chart.yaml:5:1", "chart/schema") in places  # a key that doesn't exist
    assert ("values-dev.yaml:2:1", "style/key-duplicates") in places
    assert ("values-dev.yaml:2:16", "style/trailing-spaces") in places
    assert ("values-dev.yaml:2:1", "file/unreadable") in places
    assert ("charts/web/templates/web.yaml", "helm/lint") in places


def test_a_warning_does_not_fail(bench: Bench) -> None:
    bench.charts = FakeCharts(lint_output="[WARNING] templates/web.yaml: object name is long")
    [finding] = found(bench)
    assert (finding.place, finding.severity) == ("charts/web/templates/web.yaml", Severity.WARNING)
    require_clean(linted(bench))


def test_errors_fail_with_all_findings(bench: Bench) -> None:
    bench.charts = FakeCharts(lint_output="[ERROR] templates/: bad\n[WARNING] templates/: long")
    with pytest.raises(LintFailed) as caught:
        require_clean(linted(bench))
    assert caught.value.exit_code == 3
    assert len(caught.value.findings) == 2


def test_a_value_that_the_schema_refuses_is_shown_where_it_stands(bench: Bench, schema: Path) -> None:
    schema.write_text('{"properties": {"image": {"properties": {"tag": {"type": "string"}}}, "service": {"not": {}}}}')
    (bench.root / "charts/web/values.yaml").write_text("image:\n  tag: ''\n")
    bench.values("dev", "image:\n  tag: 1\n")
    [finding] = [f for f in found(bench) if f.rule == "values/schema"]
    assert (finding.place, finding.message) == ("values-dev.yaml:2:3", 'image.tag: 1 is not of type "string"')


def test_an_unknown_value_gets_the_key_that_was_meant(bench: Bench, schema: Path) -> None:
    schema.write_text(
        '{"properties": {"image": {"$ref": "#/$defs/image"}, "service": {"type": "object"}}, "$defs": {"image": '
        '{"type": "object", "additionalProperties": false, "properties": {"repository": {"type": "string"}}}}}'
    )
    bench.values("dev", "image:\n  repositroy: web\n")
    [finding] = [f for f in found(bench) if f.rule == "values/unknown-key"]
    assert finding.place == "values-dev.yaml:2:3"
    assert finding.message == 'unknown key "image.repositroy"; did you mean "repository"?'


def test_a_secret_value_that_the_schema_refuses_is_not_shown(bench: Bench, schema: Path) -> None:
    schema.write_text('{"properties": {"password": {"maxLength": 3}, "image": {}, "service": {}}}')
    bench.values("dev", "password: hunter22\n")
    [finding] = [f for f in found(bench) if f.rule == "values/schema"]
    assert "hunter22" not in finding.message


def test_a_schema_is_never_fetched(bench: Bench, schema: Path) -> None:
    schema.write_text('{"properties": {"image": {"$ref": "https://schemas.example/image.json"}}}')
    [finding] = found(bench)
    assert (finding.rule, finding.file) == ("values/schema-unusable", "charts/web/values.schema.json")


def test_a_date_in_values_stays_a_text_as_it_does_for_helm(bench: Bench) -> None:
    bench.values("dev", "since: 2026-01-01\nwait: 1:30\n")
    path = bench.project.environment("dev").values_file
    assert load_mapping(path).data == {"since": "2026-01-01", "wait": "1:30"}
    assert found(bench) == []


def test_a_template_that_fails_is_named_once_with_its_line(bench: Bench) -> None:
    bench.charts = FakeCharts(template_error="execution error at (web/templates/x.yaml:7:3): raise the grace period")
    [finding] = found(bench)
    assert (finding.place, finding.rule) == ("charts/web/templates/x.yaml:7:4", "helm/template")
    assert "raise the grace period" in finding.message


def test_an_unknown_version_of_kubernetes_is_refused_with_those_known(bench: Bench) -> None:
    bench.settings("lint: {kubernetes: '1.2'}")
    with pytest.raises(InvalidInput) as caught:
        found(bench)
    assert "1.35" in caught.value.hint


# -- waivers -----------------------------------------------------------------------------------------------------------

LINT = "[WARNING] templates/web.yaml: object name is long"


def waived(bench: Bench, waiver: str) -> Linted:
    bench.settings(f"lint:\n  waivers:\n    - {waiver}")
    bench.charts = FakeCharts(lint_output=LINT)
    return linted(bench)


@pytest.mark.parametrize("where", ["", ", where: charts/web/templates/*"])
def test_a_waiver_takes_a_finding_away_and_tells_of_it(bench: Bench, where: str) -> None:
    result = waived(bench, f"{{rule: helm/lint, reason: known, expires: 2026-11-01{where}}}")
    assert result.findings == ()
    assert [each.rule for each in result.waived] == ["helm/lint"]


def test_a_waiver_of_one_object_leaves_the_same_finding_of_another(bench: Bench) -> None:
    bench.settings("lint:\n  waivers:\n    - {rule: kubernetes/label, where: '*/b', reason: old, expires: 2026-12-01}")
    bench.charts = FakeCharts(
        manifest="".join(
            "---\n# Source: web/templates/all.yaml\napiVersion: v1\nkind: ConfigMap\n"
            f"metadata: {{name: {name}, labels: {{tier: not a label}}}}\n"
            for name in "abc"
        )
    )
    result = linted(bench)
    [told] = [each.message for each in result.findings if each.rule == "kubernetes/label"]
    assert told.startswith("configmap/a and 1 more: ")
    assert [each.object for each in result.waived] == ["configmap/b"]


def test_a_waiver_of_something_else_waives_nothing_and_is_told(bench: Bench) -> None:
    result = waived(bench, "{rule: helm/lint, where: charts/other/*, reason: known, expires: 2026-12-01}")
    assert [each.rule for each in result.findings] == ["helm/lint", "waiver/unused"]


def test_an_expired_waiver_is_an_error_and_the_finding_is_back(bench: Bench) -> None:
    result = waived(bench, "{rule: helm/lint, reason: known, expires: 2026-10-31}")
    assert [each.rule for each in result.findings] == ["helm/lint", "waiver/expired"]
    assert result.findings[1].line > 1


def test_a_waiver_of_no_rule_names_the_one_that_was_meant(bench: Bench) -> None:
    result = waived(bench, "{rule: helm/lnit, reason: known, expires: 2026-12-01}")
    assert 'did you mean "helm/lint"?' in result.findings[1].message


def test_a_waiver_without_a_reason_or_a_day_is_refused(bench: Bench) -> None:
    bench.settings("lint:\n  waivers:\n    - {rule: helm/lint}")
    with pytest.raises(InvalidInput) as caught:
        bench.project  # noqa: B018
    told = f"{caught.value.message}\n{caught.value.detail}"
    assert "reason" in told and "expires" in told


# -- mending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1  \n", "a: 1\n"),
        ("a: 1", "a: 1\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ("a: 1 #why\n", "a: 1  # why\n"),
        ("#why\na: 1\n", "# why\na: 1\n"),
        ("\n\na: 1\n\n\n\n\nb: 2\n\n", "a: 1\n\n\nb: 2\n"),
        # what only looks like style is data
        ("a: |\n  text  \n", "a: |\n  text  \n"),
        ("a: 'x #y'\n", "a: 'x #y'\n"),
        ("a: 1 #why\nb: 'x #y'\n", "a: 1 #why\nb: 'x #y'\n"),
        ("a: [\n", "a: [\n"),
    ],
)
def test_only_what_no_reader_sees_is_mended(before: str, after: str) -> None:
    assert fixes.mended(before, Path("values.yaml")) == after


def test_maintainers_are_sorted_with_all_that_is_theirs() -> None:
    before = "name: web\nmaintainers:\n  - name: zoe\n    email: z@w.example\n  - name: Ada\nversion: 1.0.0\n"
    after = "name: web\nmaintainers:\n  - name: Ada\n  - name: zoe\n    email: z@w.example\nversion: 1.0.0\n"
    assert fixes.mended(before, Path("Chart.yaml")) == after


def test_fixes_are_written_and_shown(bench: Bench) -> None:
    bench.values("dev", "replicas: 2  \n")
    [fixed] = fix(bench.project, bench.project.environments, bench.charts)
    assert (bench.root / "values-dev.yaml").read_text() == "replicas: 2\n"
    assert fixed.diff.splitlines()[-2:] == ["+replicas: 2", " "]
    assert fix(bench.project, bench.project.environments, bench.charts) == ()


# -- two environments --------------------------------------------------------------------------------------------------


class ByNamespace(FakeCharts):
    def template(
        self, release: str, namespace: str, chart: Path, values_file: Path | None, kubernetes: str = ""
    ) -> str:
        hashed = f"web-{len(namespace)}"
        own = "---\n# Source: web/templates/b.yaml\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n"
        return (
            "---\n# Source: web/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\n"
            f"metadata: {{name: {hashed}}}\ndata: {{WHERE: {namespace}, DB_PASSWORD: {namespace}}}\n"
        ) + (own if namespace.endswith("prod") else "")


def test_two_environments_are_held_side_by_side_with_secrets_hidden(bench: Bench) -> None:
    bench.charts = ByNamespace()
    dev, prod = (bench.project.environment(name) for name in ("dev", "prod"))
    result = contrast(bench.project, dev, prod, bench.charts)
    # a hash in the name doesn't make it another object
    assert [each.address for each in result.fields] == ["metadata.name", "data.WHERE", "data.DB_PASSWORD"]
    assert (result.only_one, result.only_other) == ((), ("secret/b",))
    assert "web-prod" not in str(result.fields[2])


# -- forms -------------------------------------------------------------------------------------------------------------

ONE = Finding("values.yaml", 3, 1, "style/braces", Severity.ERROR, "100% bad, really", "mend it")


def result(*findings: Finding) -> Linted:
    return Linted(findings, ("dev",), 0.5, "charts/web", waived=(ONE,))


def test_github_gets_a_command_for_each_finding() -> None:
    line = "::error file=values.yaml,line=3,col=1,title=style/braces::100%25 bad, really - to do: mend it"
    assert formats.as_github(result(ONE)) == line


def test_github_keeps_what_would_end_a_command_or_a_property() -> None:
    odd = Finding("a,b:c.yaml", 3, 0, "style/braces", Severity.INFO, "one\r\ntwo ::error::", "")
    assert formats.as_github(result(odd)) == (
        "::notice file=a%2Cb%3Ac.yaml,line=3,title=style/braces::one%0D%0Atwo ::error::"
    )


def test_files_are_named_from_the_repository_where_code_is_reviewed() -> None:
    linted = replace(
        result(replace(ONE, file="my values#1.yaml"), replace(ONE, file="/else/where")), directory="deploy"
    )
    assert [each.split(",")[0] for each in formats.as_github(linted).splitlines()] == [
        "::error file=deploy/my values#1.yaml",
        "::error file=/else/where",
    ]
    [run] = json.loads(formats.as_sarif(linted))["runs"]
    places = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]]
    assert places[:2] == ["deploy/my%20values%231.yaml", "file:///else/where"]
    assert json.loads(formats.as_json(linted))["findings"][0]["file"] == "my values#1.yaml"


def test_sarif_has_the_rule_the_place_and_what_is_waived() -> None:
    [run] = json.loads(formats.as_sarif(result(ONE)))["runs"]
    first, waived = run["results"]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "style/braces"
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "values.yaml"},
        "region": {"startLine": 3, "startColumn": 1},
    }
    assert "suppressions" not in first and waived["suppressions"]


def test_json_has_the_link_to_the_rule() -> None:
    document = json.loads(formats.as_json(result(ONE)))
    assert document["findings"][0]["link"] == "docs/rules.md#stylebraces"
    assert document["errors"] == 1


def test_people_read_findings_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    long = Finding(f"charts/{'x' * 60}/values.yaml", 3, 1, "style/braces", Severity.ERROR, "word " * 40, "fix " * 40)
    Printer(Output.TEXT).linted(result(long, ONE), Form.TEXT)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("charts/")] == []
    assert "lint: 2 errors, 0 warnings, 0 infos in charts/web with dev (0.5 s)" in lines
