"""Broken charts, one defect each: made from a small chart without any, by replacing a piece of one of its files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chart.helm import ROOT

GOOD = Path(__file__).with_name("good_chart")
CHART = "charts/shop"


@dataclass(frozen=True)
class Defect:
    """`old` in `file` becomes `new` (or, without `old`, the file gets `new` at its end). What must be found: `rule`, in
    the file `where` (the same unless said), in the first line that has the text `at`; at any line without one."""

    name: str
    file: str
    old: str
    new: str
    rule: str
    at: str = ""
    where: str = ""
    more: Callable[[Path], None] | None = field(default=None, compare=False)

    def make(self, root: Path) -> None:
        """The project with the defect."""
        good_project(root)
        path = root / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert not self.old or text.count(self.old) >= 1, f"{self.name}: {self.file} has no {self.old!r}"
        path.parent.mkdir(parents=True, exist_ok=True)
        changed = text.replace(self.old, self.new, 1) if self.old else text + self.new
        path.write_bytes(changed.encode("utf-8"))
        if self.more:
            self.more(root)

    def line(self, root: Path) -> int:
        """Where it must be found; 0 for any line."""
        if not self.at:
            return 0
        lines = (root / self.found_in).read_text(encoding="utf-8", errors="replace").splitlines()
        return next(number for number, line in enumerate(lines, 1) if self.at in line)

    @property
    def found_in(self) -> str:
        return self.where or self.file


def good_project(root: Path) -> None:
    shutil.copytree(GOOD, root, dirs_exist_ok=True)
    for name in ("chart_schema.yaml", "lintconf.yaml", "ct.yaml"):
        shutil.copy(ROOT / name, root / name)


YAML = f"{CHART}/Chart.yaml"
VALUES = f"{CHART}/values.yaml"
SCHEMA = f"{CHART}/values.schema.json"
CI = f"{CHART}/ci/full-values.yaml"
DEV, PROD = "values-dev.yaml", "values-prod.yaml"
DEPLOYMENT, SERVICE, INGRESS, HELPERS, CONFIG, BUDGET, POLICY, ACCOUNT = (
    f"{CHART}/templates/{name}"
    for name in (
        *("deployment.yaml", "service.yaml", "ingress.yaml", "_helpers.tpl", "configmap.yaml"),
        *("pdb.yaml", "networkpolicy.yaml", "serviceaccount.yaml"),
    )
)

DEFECTS = [
    # ct's own rules: Chart.yaml by yamale
    Defect("unknown key in Chart.yaml", YAML, "", "flavour: sweet\n", "chart/schema", "flavour"),
    Defect("version is a number", YAML, "version: 1.2.3", "version: 1.2", "chart/schema", "version: 1.2"),
    Defect("version is no SemVer", YAML, "version: 1.2.3", "version: 1.2.x", "chart/version", "version: 1.2.x"),
    Defect("no version", YAML, "version: 1.2.3\n", "", "chart/schema"),
    Defect("no name", YAML, "name: shop\n", "", "chart/schema"),
    Defect("no apiVersion", YAML, "apiVersion: v2\n", "", "chart/schema"),
    Defect("keywords are a text", YAML, "", "keywords: shop\n", "chart/schema", "keywords"),
    Defect(
        "a maintainer without a name", YAML, "", "maintainers:\n  - email: a@b.example\n", "chart/schema", "- email"
    ),
    Defect("an annotation is a number", YAML, "", "annotations:\n  category: 1\n", "chart/schema", "category"),
    Defect("a dependency without a version", YAML, "", "dependencies:\n  - name: x\n", "chart/schema", "- name: x"),
    Defect("appVersion is a number", YAML, 'appVersion: "1.0"', "appVersion: 1.16", "helm/lint"),
    Defect("another name than the directory", YAML, "name: shop", "name: store", "chart/name", "name: store"),
    Defect("appVersion is a date", YAML, 'appVersion: "1.0"', "appVersion: 2026-01-01", "chart/schema", "2026"),
    Defect(
        "maintainers of a deprecated chart",
        YAML,
        "",
        "deprecated: true\nmaintainers:\n  - name: ann\n",
        "chart/maintainer",
        "maintainers",
    ),
    # ct's own rules: the version
    Defect(
        "a change under the old version",
        VALUES,
        "greeting: hello",
        "greeting: good morning",
        "version/not-raised",
        "version",
        where=YAML,
        more=lambda root: _on_a_branch(root, VALUES),
    ),
    Defect(
        "a lower version",
        YAML,
        "version: 1.2.3",
        "version: 1.2.2",
        "version/lowered",
        "version",
        more=lambda root: _on_a_branch(root, YAML),
    ),
    # ct's own rules: yamllint
    Defect("trailing spaces", VALUES, "replicas: 2", "replicas: 2  ", "style/trailing-spaces", "replicas: 2"),
    Defect("CR LF", VALUES, "image:\n", "image:\r\n", "style/new-lines"),
    Defect("no new line at the end", CI, "\n", "", "style/new-line-at-end-of-file", "hello"),
    Defect("a key twice", VALUES, "replicas: 2\n", "replicas: 2\nreplicas: 3\n", "style/key-duplicates", "replicas: 3"),
    Defect("a comment without spaces", VALUES, "replicas: 2", "replicas: 2 # pods", "style/comments", "# pods"),
    Defect("spaces in braces", VALUES, "{cpu: 50m", "{ cpu: 50m", "style/braces", "{ cpu"),
    Defect("uneven indentation", VALUES, "    cpu: 500m", "      cpu: 500m", "style/indentation", "cpu: 500m"),
    Defect("too many empty lines", VALUES, "replicas: 2\n", "replicas: 2\n\n\n\n", "style/empty-lines"),
    Defect("yes for true", VALUES, "enabled: false", "enabled: yes", "style/truthy", "enabled: yes"),
    Defect("style in an environment's file", PROD, "replicas: 3", "replicas:   3", "style/colons", "replicas"),
    # ct's own rules: helm lint
    Defect("a template that can't be parsed", SERVICE, "spec:", "spec: {{ if }}", "helm/syntax", "{{ if }}"),
    Defect("an unknown function", SERVICE, "spec:", "spec: {{ nope . }}", "helm/syntax", "{{ nope . }}"),
    Defect("a helper that isn't there", SERVICE, '"shop.labels"', '"shop.lables"', "helm/template", "shop.lables"),
    Defect("nil pointer", SERVICE, ".Values.port", ".Values.web.port", "helm/template", ".Values.web.port"),
    Defect("output is no YAML", SERVICE, "type: ClusterIP", "type: Cluster: IP", "helm/yaml", "Cluster: IP"),
    Defect("fail in an environment only", DEV, "", "replicas: 99\n", "helm/template", "fail", where=DEPLOYMENT),
    # values and schema
    Defect("a misspelt value", PROD, "replicas: 3", "replcas: 3", "values/unknown-key", "replcas"),
    Defect("a wrong type in ci/", CI, "greeting: hello", "greeting: 5", "values/schema", "greeting: 5"),
    Defect("a wrong type in an environment", DEV, "", 'replicas: "two"\n', "values/schema", "replicas"),
    Defect("a schema that is no JSON", SCHEMA, '"type": "object",', '"type": "object"', "values/schema-unusable"),
    Defect(
        "a value without schema",
        VALUES,
        "",
        "extra:\n  a: 1\n",
        "values/without-schema",
        "extra",
        more=lambda root: _loosen(root),
    ),
    Defect(
        "a value that nothing reads",
        VALUES,
        "",
        "unused: 1\n",
        "values/unread",
        "unused",
        more=lambda root: _also_schema(root, "unused", "integer"),
    ),
    Defect(
        "a deep value that nothing reads",
        VALUES,
        "resources:\n",
        "resources:\n  idle: 1\n",
        "values/unread",
        "idle",
        more=lambda root: _unread_resources(root),
    ),
    # rendered objects
    Defect(
        "an unknown field",
        DEPLOYMENT,
        "spec:\n  replicas",
        "spec:\n  replica: 2\n  replicas",
        "kubernetes/schema",
        "replica: 2",
    ),
    Defect(
        "a text for a number",
        DEPLOYMENT,
        "containerPort: 8080",
        'containerPort: "8080"',
        "kubernetes/schema",
        'containerPort: "8080"',
    ),
    Defect("an unknown kind", CONFIG, "kind: ConfigMap", "kind: ConfigMaps", "kubernetes/unknown-kind", "ConfigMaps"),
    Defect(
        "a name in capitals",
        CONFIG,
        "name: {{ .Release.Name }}-config",
        "name: Shop-config",
        "kubernetes/name",
        "Shop-config",
    ),
    Defect(
        "the same object twice",
        CONFIG,
        "",
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release"
        '.Name }}-config\n  labels: {{- include "shop.labels" . | nindent 4 }}\n',
        "kubernetes/duplicate-object",
    ),
    Defect("a bad label", SERVICE, "  labels:", "  labels:\n    tier: not a label", "kubernetes/label", "not a label"),
    Defect("a removed API", BUDGET, "policy/v1", "policy/v1beta1", "api/removed", "policy/v1beta1"),
    Defect(
        "a removed API in an environment",
        INGRESS,
        "networking.k8s.io/v1\n",
        "networking.k8s.io/v1beta1\n",
        "api/removed",
        "v1beta1",
    ),
    # policy
    Defect("privileged", DEPLOYMENT, "privileged: false", "privileged: true", "policy/no-privileged", "privileged"),
    Defect("root", VALUES, "runAsNonRoot: true", "runAsNonRoot: false", "policy/non-root", "runAsNonRoot"),
    Defect(
        "the host's network",
        DEPLOYMENT,
        "    spec:\n",
        "    spec:\n      hostNetwork: true\n",
        "policy/no-host-network",
        "hostNetwork",
    ),
    Defect("no readiness", DEPLOYMENT, "readinessProbe", "startupProbe", "policy/readiness-probe", "- name: web"),
    Defect("identical probes", DEPLOYMENT, "path: /readyz", "path: /livez", "policy/probes-differ", "livenessProbe"),
    Defect("no memory limit", VALUES, "    memory: 256Mi\n", "", "policy/memory-limit", "limits", where=DEPLOYMENT),
    Defect("one pod in prod", PROD, "replicas: 3", "replicas: 1", "policy/two-replicas", "replicas: 1"),
    Defect(
        "a Service of nobody", SERVICE, "selector:", "selector:\n    tier: none", "policy/service-target", "selector:"
    ),
    Defect(
        "a port that isn't there",
        SERVICE,
        "targetPort: http",
        "targetPort: web",
        "policy/service-port",
        "targetPort: web",
    ),
    Defect("a selector of others", DEPLOYMENT, "matchLabels:", "matchLabels:\n      tier: none", "policy/selector"),
    Defect(
        "an Ingress to nowhere",
        INGRESS,
        "name: {{ .Release.Name }}\n                port",
        "name: other\n                port",
        "policy/ingress-target",
        "name: other",
    ),
    # secrets and images
    Defect(
        "a password in values",
        PROD,
        "",
        "password: hunter22\n",
        "secret/in-values",
        "password",
        more=lambda root: _also_schema(root, "password", "string"),
    ),
    Defect(
        "a private key in a ConfigMap",
        CONFIG,
        "  GREETING",
        "  key: AKIAIOSFODNN7EXAMPLE\n  GREETING",
        "secret/in-configmap",
        "AKIA",
    ),
    Defect("latest in prod", PROD, "", "sidecar: busybox:latest\n", "image/floating-tag", "sidecar"),
    Defect("no tag", PROD, "", "sidecar: busybox\n", "image/no-tag", "sidecar"),
    # files
    Defect("values that are a list", DEV, "", "", "file/not-a-mapping", more=lambda root: _write(root / DEV, "- a\n")),
    Defect("invalid UTF-8", DEV, "", "", "file/unreadable", "# what", more=lambda root: _write_latin(root)),
    Defect("an alias of itself", DEV, "", "a: &a [*a]\n", "file/unreadable", "a: &a"),
    Defect("50 MB of values", DEV, "", "", "file/too-big", more=lambda root: _write(root / DEV, "# x\n" * 13_000_000)),
    Defect("no values.yaml", VALUES, "", "", "file/missing", more=lambda root: (root / VALUES).unlink()),
    # waivers
    Defect(
        "an expired waiver",
        "releaser.yaml",
        "",
        "lint:\n  waivers:\n    - {rule: policy/non-root, reason: once, expires: 2020-01-01}\n",
        "waiver/expired",
        "2020-01-01",
    ),
    Defect(
        "a waiver that nothing needs",
        "releaser.yaml",
        "",
        "lint:\n  waivers:\n    - {rule: policy/non-root, reason: once, expires: 2999-01-01}\n",
        "waiver/unused",
        "2999-01-01",
    ),
]


def _on_a_branch(root: Path, file: str) -> None:
    """The changed file isn't committed, on a branch that left main before."""
    changed = (root / file).read_bytes()
    shutil.copy(GOOD / file, root / file)
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    for argv in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*identity, "commit", "--quiet", "-m", "good"),
        ("checkout", "--quiet", "-b", "topic"),
    ):
        subprocess.run(["git", "-C", root, *argv], check=True, timeout=30)
    (root / file).write_bytes(changed)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_latin(root: Path) -> None:
    path = root / DEV
    path.write_bytes(b"# what\xe9\n" + path.read_bytes())


def _loosen(root: Path) -> None:
    path = root / SCHEMA
    _write(path, path.read_text().replace('"additionalProperties": false', '"additionalProperties": true', 1))


def _also_schema(root: Path, name: str, kind: str) -> None:
    path = root / SCHEMA
    new = f'"properties": {{\n    "{name}": {{"type": "{kind}"}},'
    _write(path, path.read_text().replace('"properties": {', new, 1))


def _unread_resources(root: Path) -> None:
    schema, template = root / SCHEMA, root / DEPLOYMENT
    _write(schema, schema.read_text().replace('"requests": {', '"idle": {"type": "integer"}, "requests": {', 1))
    assert "toYaml .Values.resources.limits" in template.read_text()
