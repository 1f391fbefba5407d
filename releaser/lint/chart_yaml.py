"""Chart.yaml by yamale, strict, with chart-testing's schema: unknown keys and wrong types, each with its line; and what
a schema can't say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import semver
import yamale
from yaml import YAMLError

from releaser.errors import InvalidInput
from releaser.lint.pods import listed
from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import Address, ShallowLoader, Unreadable, decoded, load_mapping
from releaser.models import Finding

# chart-testing v3.14.0, etc/chart_schema.yaml (Apache-2.0), for projects that have none of their own.
_DEFAULT = """
name: str()
home: str(required=False)
version: str()
apiVersion: str()
appVersion: any(str(), num(), required=False)
description: str(required=False)
keywords: list(str(), required=False)
sources: list(str(), required=False)
maintainers: list(include('maintainer'), required=False)
dependencies: list(include('dependency'), required=False)
icon: str(required=False)
engine: str(required=False)
condition: str(required=False)
tags: str(required=False)
deprecated: bool(required=False)
kubeVersion: str(required=False)
annotations: map(str(), str(), required=False)
type: str(required=False)
---
maintainer:
  name: str()
  email: str(required=False)
  url: str(required=False)
---
dependency:
  name: str()
  version: str()
  repository: str(required=False)
  condition: str(required=False)
  tags: list(str(), required=False)
  enabled: bool(required=False)
  import-values: any(list(str()), list(include('import-value')), required=False)
  alias: str(required=False)
---
import-value:
  child: str()
  parent: str()
"""


def findings(subject: Subject) -> Iterator[Finding]:
    path = subject.chart / "Chart.yaml"
    shown = subject.shown(path)
    try:
        located = load_mapping(path, ShallowLoader)  # as yamale itself, and so ct, reads it: dates are no texts
    except Unreadable:  # the layer of files says so
        return
    schema = _schema(subject.project.root / "chart_schema.yaml")
    [result] = yamale.validate(schema, [(located.data, shown)], strict=True, _raise_error=False)
    for error in result.errors:
        address: Address = tuple(
            int(part) if part.isdecimal() else part for part in error.partition(": ")[0].split(".")
        )
        yield rule("chart/schema").found(shown, *located.position(address), error)
    for name, address, text in _beyond_the_schema(located.data, subject.chart.name):
        yield rule(f"chart/{name}").found(shown, *located.position(address), text)


def _schema(own: Path) -> Any:
    """Raises InvalidInput for a schema that yamale refuses."""
    if not os.path.lexists(own):
        return yamale.make_schema(content=_DEFAULT)
    try:
        return yamale.make_schema(content=decoded(own))
    except (SyntaxError, ValueError, TypeError, YAMLError) as exc:
        raise InvalidInput(f"While reading {own}: {exc}", hint="yamale's documentation has what it may hold") from exc


def _beyond_the_schema(chart: dict[str, Any], directory: str) -> Iterator[tuple[str, Address, str]]:
    """What a schema can't say; ct's own rules among it."""
    version = chart.get("version")
    if isinstance(version, str) and not semver.Version.is_valid(version.removeprefix("v")):
        yield "version", ("version",), f'"{version}" is not SemVer 2'
    if isinstance(chart.get("name"), str) and chart["name"] != directory:
        yield "name", ("name",), f'the chart is named "{chart["name"]}", its directory "{directory}"'
    maintainers = listed(chart.get("maintainers"))
    if chart.get("deprecated") is True and maintainers:
        yield "maintainer", ("maintainers",), "a deprecated chart has maintainers"
    names = [str(each.get("name", "")) for each in maintainers]
    if names != sorted(names, key=str.casefold):
        yield "maintainers-order", ("maintainers",), "maintainers are not sorted by name"
