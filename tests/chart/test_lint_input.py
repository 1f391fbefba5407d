"""Whatever stands in the files: findings or a clear error, never a traceback. With the real Helm."""

from __future__ import annotations

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
    "deep": b"a: " + b"[" * 3000 + b"]" * 3000 + b"\n",
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
    *((SCHEMA, name) for name in (*ANYWHERE, "JSON", "a schema of itself", "null", "a text")),
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


def test_a_values_file_that_is_a_directory_is_an_error(tmp_path: Path) -> None:
    good_project(tmp_path)
    (tmp_path / DEV).unlink()
    (tmp_path / DEV).mkdir()
    assert [each.rule for each in linted(tmp_path).findings] == ["file/unreadable"]


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
