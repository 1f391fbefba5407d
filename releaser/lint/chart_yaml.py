"""Chart.yaml by yamale, strict, with chart-testing's schema: unknown keys and wrong types, each with its line."""

from __future__ import annotations

from collections.abc import Iterator

import yamale

from releaser.errors import InvalidInput
from releaser.located import load_mapping
from releaser.models import Finding, Severity
from releaser.settings import Project

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


def findings(project: Project) -> Iterator[Finding]:
    path = project.chart / "Chart.yaml"
    shown = str(path.relative_to(project.root))
    own = project.root / "chart_schema.yaml"
    try:
        located = load_mapping(path)
    except InvalidInput as exc:
        yield Finding(shown, 0, 0, "Chart.yaml", Severity.ERROR, exc.message)
        return
    schema = yamale.make_schema(str(own)) if own.is_file() else yamale.make_schema(content=_DEFAULT)
    [result] = yamale.validate(schema, [(located.data, shown)], strict=True, _raise_error=False)
    for error in result.errors:
        line, column = located.position(tuple(error.partition(": ")[0].split(".")))
        yield Finding(shown, line, column, "Chart.yaml", Severity.ERROR, error)
