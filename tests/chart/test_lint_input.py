"""Whatever stands in the files: findings or a clear error, never a traceback. With the real Helm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from releaser.errors import InvalidInput
from releaser.models import Severity
from tests.chart.corpus import CHART, DEPLOYMENT, DEV, SCHEMA, VALUES, YAML, good_project
from tests.chart.helm import ROOT
from tests.chart.test_lint_corpus import linted

CONTENTS = {
    "nothing": b"",
    "null": b"null\n",
    "a number": b"5\n",
    "a list": b"- a\n- {b: c}\n",
    "a text": b"hello\n",
    "broken": b"a: b: c\n",
    "open": b"a: [\n",
    "NUL": b"a: \x00\n",
    "BOM": b"\xef\xbb\xbfa: 1\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "tabs": b"a:\n\t- b\n",
    "deep": b"a: " + b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "a date": b"greeting: hello\nwhen: 2026-01-01\n2026-01-02: x\nbits: !!binary aGVsbG8=\nsome: !!set {a, b}\n",
    "a key that grows without end": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 107))
    + b"? *j\n: 1\n",
    "a digit that is no number": "\u00b2: x\na.b: {c: 1}\n".encode(),
    "keys that are no texts": b"1: 2\ntrue: x\n? [a, b]\n: c\nnull: d\n",
    "strange scalars": b"a: .nan\nb: 2026-99-99\nc: 0x\nd: !!binary x\ne: 99999999999999999999999\n",
    "a tag": b"a: !!python/object/apply:os.system [ls]\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "an alias": b"a: &a {b: *a}\n",
    "aliases without end": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 107)),
    "an alias of nothing": b"a: *b\n",
    "an import": b"<<: {a: 1}\n<<: [5]\n",
    "wrong types": b"apiVersion: [v2]\nname: {a: 1}\nversion: 1\nmaintainers: 5\ndependencies: 7\ndeprecated: x\n",
    "wrong types within": b"name: shop\nversion: 1.2.3\nmaintainers: [5, {name: 6}]\ndependencies: [5, {name: [x]}]\n",
    "deep JSON": b'{"not": ' * 100_000 + b"{}" + b"}" * 100_000,
    "JSON": b'{"a": {"$ref": "#/nowhere"}, "properties": 5, "type": "nonsense"}\n',
    "a schema of itself": b'{"$ref": "#"}\n',
    "a template": b"{{ .Values.a }}\n{{/* */}}\n",
    "an open action": b"a: {{ if\n",
    "half an object": b"apiVersion: v1\nkind: ConfigMap\n",
    "an object of lists": b"apiVersion: [v1]\nkind: {a: b}\nmetadata: {name: [x], labels: [y]}\nspec: []\n",
    "pods of nothing": b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  selector: 5\n  template: "
    b"{metadata: 5, spec: {containers: [5, {name: x, env: {a: b}, ports: 5, livenessProbe: 5}], securityContext: 7}}\n",
    "rules of nothing": b"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x}\n"
    b"rules: [{verbs: 5}, 7]\n",
    "a deep object": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: " + b"[" * 900 + b"]" * 900 + b"\n",
}
OF_TEMPLATES = tuple(list(CONTENTS)[list(CONTENTS).index("a template") :])
ANYWHERE = ("nothing", "a number", "broken", "NUL", "BOM", "UTF-16", "deep", "two documents", "aliases without end")
CASES = [
    *((file, name) for file in (YAML, VALUES, DEV, "releaser.yaml") for name in CONTENTS if name not in OF_TEMPLATES),
    *((SCHEMA, name) for name in (*ANYWHERE, "JSON", "deep JSON", "a schema of itself", "null", "a text")),
    *((DEPLOYMENT, name) for name in (*ANYWHERE, *OF_TEMPLATES)),
]


@pytest.mark.parametrize(("file", "name"), CASES)
def test_strange_content_is_found_or_refused(file: str, name: str, tmp_path: Path) -> None:
    good_project(tmp_path)
    (tmp_path / file).write_bytes(CONTENTS[name])
    try:
        findings = linted(tmp_path).findings
    except InvalidInput as exc:
        assert exc.message
        return
    for each in findings:
        assert each.message and each.line >= 0
    harmless = ("nothing", "null", "BOM", "a text", "a schema of itself") if file != YAML else ()
    if name not in harmless and file in (YAML, VALUES, DEV, SCHEMA):
        assert any(each.severity is Severity.ERROR for each in findings), name


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a directory": Path.mkdir,
    "a pipe": os.mkfifo,
    "a symlink to nowhere": lambda path: path.symlink_to("nowhere"),
    "a symlink to itself": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_values_that_are_no_file_are_an_error(name: str, tmp_path: Path) -> None:
    good_project(tmp_path)
    (tmp_path / DEV).unlink()
    NO_FILES[name](tmp_path / DEV)
    assert [(each.file, each.rule) for each in linted(tmp_path).findings] == [(DEV, "file/unreadable")]


@pytest.mark.parametrize("name", ["a pipe", "a symlink to nowhere", "a symlink to itself"])
def test_a_template_that_is_no_file_is_an_error(name: str, tmp_path: Path) -> None:
    good_project(tmp_path)
    (tmp_path / DEPLOYMENT).unlink()
    NO_FILES[name](tmp_path / DEPLOYMENT)
    assert (DEPLOYMENT, "file/unreadable") in {(each.file, each.rule) for each in linted(tmp_path).findings}


def test_symlinks_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    good_project(tmp_path)
    for name in ("up", "self"):
        (tmp_path / CHART / name).symlink_to("." if name == "self" else "..")
    assert [each.rule for each in linted(tmp_path).findings] == ["file/unreadable"]


def test_a_name_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    good_project(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path / CHART) + b"/templates/b\xff.yaml")).write_text("a: 1\n")
    [finding] = linted(tmp_path).findings
    assert (finding.file, finding.rule) == (f"{CHART}/templates", "file/unreadable")
    assert "xff" in finding.message


@pytest.mark.parametrize(
    ("file", "text"), [("lintconf.yaml", "rules: {nope: enable}\n"), ("chart_schema.yaml", "name: nonsense(\n")]
)
def test_broken_rules_of_the_project_are_refused_with_their_file(file: str, text: str, tmp_path: Path) -> None:
    good_project(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(InvalidInput, match=file):
        linted(tmp_path)


def test_a_chart_without_templates_is_looked_at(tmp_path: Path) -> None:
    good_project(tmp_path)
    for path in (tmp_path / CHART / "templates").iterdir():
        path.unlink()
    assert "values/unread" not in {each.rule for each in linted(tmp_path).findings}


def test_the_projects_own_chart_has_no_finding() -> None:
    from releaser.adapters.helm import Helm
    from releaser.adapters.process import Process
    from releaser.adapters.tools import Tools
    from releaser.flows.lint import lint
    from releaser.settings import load_project
    from tests.fakes import Recorder

    process = Process(Recorder())
    project = load_project(ROOT)
    assert lint(project, project.environments, Helm(process, Tools(process)), Recorder()).findings == ()


# -- other charts ------------------------------------------------------------------------------------------------------


def with_subchart(root: Path, schema: str = "{}") -> None:
    good_project(root)
    chart = root / CHART / "charts" / "sub"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: sub\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("port: 1\n")
    (chart / "values.schema.json").write_text(schema)
    (chart / "templates/config.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Sub}\n")
    with (root / YAML).open("a") as file:
        file.write("dependencies:\n  - name: sub\n    version: 0.1.0\n")


def test_a_schema_that_refuses_what_a_subchart_brings_along_is_found(tmp_path: Path) -> None:
    with_subchart(tmp_path)
    told = [each.message for each in linted(tmp_path).findings if each.rule == "values/schema"]
    assert told and "additional properties 'sub' not allowed" in told[0]


def test_a_subcharts_objects_and_schema_are_looked_at(tmp_path: Path) -> None:
    with_subchart(tmp_path, '{"properties": {"port": {"type": "integer"}}}')
    schema = tmp_path / SCHEMA
    schema.write_text(schema.read_text().replace('"global"', '"sub": {"type": "object"}, "global"', 1))
    names = {(each.file, each.line) for each in linted(tmp_path).findings if each.rule == "kubernetes/name"}
    assert names == {(f"{CHART}/charts/sub/templates/config.yaml", 3)}
    (tmp_path / DEV).write_text("sub:\n  port: many\n")
    found = [(each.file, each.line) for each in linted(tmp_path).findings if each.rule == "values/schema"]
    assert found == [(DEV, 2)]


def test_a_dependency_that_is_not_there_is_named_once_in_its_line(tmp_path: Path) -> None:
    good_project(tmp_path)
    with (tmp_path / YAML).open("a") as file:
        file.write("dependencies:\n  - name: redis\n    version: 1.x.x\n")
    [finding] = linted(tmp_path).findings
    assert (finding.file, finding.rule) == (YAML, "helm/dependency")
    assert "name: redis" in (tmp_path / YAML).read_text().splitlines()[finding.line - 1]


def test_a_library_chart_needs_not_render(tmp_path: Path) -> None:
    good_project(tmp_path)
    path = tmp_path / YAML
    path.write_text(path.read_text().replace("type: application", "type: library"))
    assert [each for each in linted(tmp_path).findings if each.severity is Severity.ERROR] == []
