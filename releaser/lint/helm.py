"""`helm template` with the chart's defaults and with every file of values; `helm lint --strict` with those that are
meant to run, and with what doesn't render. What it says of rendered objects other layers say of every rendering.

Both are needed: a `fail` in a template passes `helm lint` and stops `helm template`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from releaser.deciding import dotted
from releaser.errors import InvalidInput
from releaser.lint.pods import listed
from releaser.lint.rules import rule
from releaser.lint.subject import Subject, Variant
from releaser.lint.values import accepted
from releaser.located import Address
from releaser.manifests import SEPARATOR
from releaser.models import Finding, Severity
from releaser.templates import marked, writer

_SEVERITIES = {"ERROR": Severity.ERROR, "WARNING": Severity.WARNING, "INFO": Severity.INFO}
_LINT_LINE = re.compile(r"^\[(ERROR|WARNING|INFO)\] (?:([^\s:]+): ?)?(.*)$")
# values.schema.json, as Helm reports it: - at '/image/tag': got number, want string
_SCHEMA_LINE = re.compile(r"^(?:\[ERROR\] values\.yaml: )?\s*- at '[^']*': |specifications of the schema")
# the innermost place is the last: CHART/templates/x.yaml:3:5
_PLACE = re.compile(r"(?:^|[\s(])([^\s:()]+/templates/[^\s:()]+):(\d+)(?::(\d+))?")
# how such a refusal is written: the chart's name and a colon, then a line for each value
_HEADING = re.compile(r"^([\w.-]+):$")
_AT = re.compile(r"^\s*- at '([^']*)': (.*)$")
_LIBRARY = "library charts are not installable"
_MISSING = re.compile(r"found in Chart.yaml, but missing in charts/ directory: ([^\n]+)")
_NO_YAML = re.compile(r"YAML parse error on [^/\s]+/(\S+): .*?(?:line (\d+): )?([^:]+)$", re.DOTALL)


def findings(subject: Subject) -> Iterator[Finding]:
    for variant in filter(subject.readable, subject.variants):
        broken = list(_rendered(subject, variant))
        yield from broken
        if variant.released or broken:
            yield from _linted(subject, variant, rendered=not broken)


def _rendered(subject: Subject, variant: Variant) -> Iterator[Finding]:
    try:
        subject.manifest(variant)
    except InvalidInput as exc:
        said = exc.detail or exc.message
        if _SCHEMA_LINE.search(said):
            yield from _schema_of_subcharts(subject, variant, said)
            return
        if _LIBRARY in said:  # nobody installs one; `helm lint` looks at it
            return
        if missing := _MISSING.search(said):
            yield from _dependencies(subject, missing[1])
            return
        text = " ".join(said.replace("Use --debug flag to render out invalid YAML", "").split())
        if match := _NO_YAML.search(said.strip().partition("\n")[0]):
            line = _line_of_output(subject, variant, match[1], int(match[2] or 0))
            yield rule("helm/yaml").found(_file(subject, match[1]), line, 0, text)
            return
        places = _PLACE.findall(said)
        if not places:
            yield rule("helm/template").found(subject.shown(subject.values_file(variant)), 0, 0, text)
            return
        file, line, column = places[-1]
        name = "syntax" if "parse error at" in said else "template"
        shown = _file(subject, file.partition("/")[2])
        # Go counts columns from 0
        yield rule(f"helm/{name}").found(shown, int(line), int(column) + 1 if column else 0, text)


def _schema_of_subcharts(subject: Subject, variant: Variant, said: str) -> Iterator[Finding]:
    """What other charts' schemas refuse, or the chart's own for values that its subcharts bring along. All else the
    layer of values says better."""
    if not accepted(subject, variant):
        return
    inside: Address = ()
    for line in said.splitlines():
        if heading := _HEADING.match(line):
            steps = heading[1].split(".")
            inside = tuple(steps[1:] if len(steps) > 1 else [] if steps[0] == subject.chart_name else steps)
        elif match := _AT.match(line):
            address: Address = (*inside, *match[1].split("/")[1:])
            path, number, column = subject.position(variant, address)
            shown = subject.shown(path)
            yield rule("values/schema").found(shown, number, column, f"{dotted(address) or 'values'}: {match[2]}")


def _dependencies(subject: Subject, names: str) -> Iterator[Finding]:
    chart = subject.load(subject.chart / "Chart.yaml")
    known = [str(each.get("name")) for each in listed(chart.data.get("dependencies"))]
    for name in (each.strip() for each in names.split(",")):
        place = chart.position(("dependencies", known.index(name)) if name in known else ())
        text = f"the dependency {name} isn't in charts/"
        yield rule("helm/dependency").found(subject.shown(chart.path), *place, text)


def _line_of_output(subject: Subject, variant: Variant, file: str, line: int) -> int:
    """The line of the template that writes a line of its output, where the output is no YAML; 0 where that can't be
    told."""
    templates = subject.templates
    if not line or file not in templates:
        return 0
    edited = marked(templates, file)
    manifest = subject.charts.unparsed(
        subject.project.release, variant.namespace, subject.chart, subject.merged(variant), edited
    )
    for text in SEPARATOR.split(manifest):
        head, source, body = text.partition(f"/{file}\n")
        if source and head.lstrip().startswith("# Source: "):
            found = writer(body.split("\n"), line - 1)
            return found.line if found else 0
    return 0


def _linted(subject: Subject, variant: Variant, *, rendered: bool) -> Iterator[Finding]:
    """What `helm lint` says; not what another layer says better, nor again why it doesn't render."""
    for line in subject.linted(variant).splitlines():
        match = _LINT_LINE.match(line)
        if not match or _SCHEMA_LINE.search(line):
            continue
        file = match[2] or ""
        told = file.startswith("templates/") and match[1] == "ERROR" and not rendered
        # a missing dependency is said of the rendering
        if told or match[3] == "file does not exist" or "is missing these dependencies" in match[3]:
            continue
        shown = _file(subject, file)
        places = _PLACE.findall(match[3])
        at = int(places[-1][1]) if places else 0
        yield rule("helm/lint").found(shown, at, 0, match[3].rstrip(), severity=_SEVERITIES[match[1]])


def _file(subject: Subject, path: str) -> str:
    return subject.shown(subject.chart / Path(path))
