"""`helm lint --strict` and `helm template`, with the chart's defaults and with every environment's values.

Both are needed: a `fail` in a template passes `helm lint` and stops `helm template`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from releaser.errors import InvalidInput
from releaser.located import Located, did_you_mean, load_mapping
from releaser.models import Finding, Severity
from releaser.settings import Environment, Project

_LAYER = "helm"
_SEVERITIES = {"ERROR": Severity.ERROR, "WARNING": Severity.WARNING, "INFO": Severity.INFO}
_LINT_LINE = re.compile(r"^\[(ERROR|WARNING|INFO)\] (?:([^\s:]+): ?)?(.*)$")
# values.schema.json, as Helm reports it: - at '/image/tag': got number, want string
_SCHEMA_LINE = re.compile(r"^(?:\[ERROR\] values\.yaml: )?\s*- at '([^']*)': (.*)$")
_UNKNOWN_KEYS = re.compile(r"additional propert(?:y|ies) (.+) not allowed")


class Charts(Protocol):
    """What of Helm needs no cluster."""

    def template(self, release: str, namespace: str, chart: Path, values_file: Path | None) -> str: ...

    def lint(self, chart: Path, values_file: Path | None) -> str: ...


def findings(project: Project, environments: Sequence[Environment], charts: Charts) -> Iterator[Finding]:
    yield from _with_values(project, None, f"{project.release}-default", charts)
    for environment in environments:
        yield from _with_values(project, environment.values_file, environment.namespace, charts)


def _with_values(project: Project, values_file: Path | None, namespace: str, charts: Charts) -> Iterator[Finding]:
    path = values_file or project.chart / "values.yaml"
    try:
        values = load_mapping(path)
    except InvalidInput as exc:  # neither helm command can say more, nor say it better
        yield Finding(_shown(project, path), 0, 0, _LAYER, Severity.ERROR, exc.message)
        return
    linted = charts.lint(project.chart, values_file)
    schema_findings = set(_schema_findings(project, values, linted))
    yield from schema_findings
    yield from _lint_findings(project, linted, schema=bool(schema_findings))
    if schema_findings:  # helm template would only repeat them
        return
    try:
        charts.template(project.release, namespace, project.chart, values_file)
    except InvalidInput as exc:
        yield Finding(_shown(project, path), 0, 0, _LAYER, Severity.ERROR, f"helm template: {exc.detail}")


def _schema_findings(project: Project, values: Located, output: str) -> Iterator[Finding]:
    schema = _schema(project)
    for line in output.splitlines():
        match = _SCHEMA_LINE.match(line)
        if not match or match[2] == "validation failed":  # only the heading of those below it
            continue
        address = tuple(part for part in match[1].split("/") if part)
        unknown = _UNKNOWN_KEYS.match(match[2])
        for key in re.findall(r"'([^']+)'", unknown[1]) if unknown else ():
            known = list(_properties(schema, address))
            place = values.position((*address, key))
            text = f'unknown key "{".".join((*address, key))}"{did_you_mean(key, known)}'
            yield Finding(_shown(project, values.path), *place, _LAYER, Severity.ERROR, text)
        if not unknown:
            text = f"{'.'.join(address) or 'values'}: {match[2]}"
            yield Finding(_shown(project, values.path), *values.position(address), _LAYER, Severity.ERROR, text)


def _lint_findings(project: Project, output: str, *, schema: bool) -> Iterator[Finding]:
    for line in output.splitlines():
        match = _LINT_LINE.match(line)
        if not match or (schema and (_SCHEMA_LINE.match(line) or "specifications of the schema" in line)):
            continue
        path = project.chart / (match[2] or "")
        text = f"helm lint: {match[3]}".rstrip()
        yield Finding(_shown(project, path), 0, 0, _LAYER, _SEVERITIES[match[1]], text)


def _schema(project: Project) -> dict[str, Any]:
    path = project.chart / "values.schema.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or helm lint says what is wrong with it
        return {}
    return document if isinstance(document, dict) else {}


def _properties(schema: dict[str, Any], address: Sequence[str]) -> dict[str, Any]:
    """Keys that the schema knows at an address; definitions are followed."""
    node: Any = schema
    for part in ("", *address):
        if part:
            node = node.get("properties", {}).get(part, {}) if isinstance(node, dict) else {}
        while isinstance(node, dict) and "$ref" in node:
            target: Any = schema
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target.get(step, {}) if isinstance(target, dict) else {}
            node = target
    properties = node.get("properties", {}) if isinstance(node, dict) else {}
    return properties if isinstance(properties, dict) else {}


def _shown(project: Project, path: Path) -> str:
    return str(path.relative_to(project.root))
