"""YAML style: yamllint with the project's lintconf.yaml (chart-testing's rules where there is none)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from yamllint import linter
from yamllint.config import YamlLintConfig

from releaser.models import Finding, Severity
from releaser.settings import FILE, Environment, Project

# chart-testing v3.14.0, etc/lintconf.yaml (Apache-2.0), for projects that have none of their own.
_DEFAULT = """
rules:
  braces: {min-spaces-inside: 0, max-spaces-inside: 0}
  brackets: {min-spaces-inside: 0, max-spaces-inside: 0}
  colons: {max-spaces-before: 0, max-spaces-after: 1}
  commas: {max-spaces-before: 0, min-spaces-after: 1, max-spaces-after: 1}
  comments: {require-starting-space: true, min-spaces-from-content: 2}
  empty-lines: {max: 2, max-start: 0, max-end: 0}
  hyphens: {max-spaces-after: 1}
  indentation: {spaces: consistent, indent-sequences: whatever, check-multi-line-strings: false}
  key-duplicates: enable
  new-line-at-end-of-file: enable
  new-lines: {type: unix}
  trailing-spaces: enable
  truthy: {level: warning}
"""


def findings(project: Project, environments: Sequence[Environment]) -> Iterator[Finding]:
    own = project.root / "lintconf.yaml"
    config = YamlLintConfig(file=str(own)) if own.is_file() else YamlLintConfig(content=_DEFAULT)
    for path in _files(project, environments):
        shown = str(path.relative_to(project.root))
        text = path.read_bytes().decode("utf-8", errors="replace")
        for problem in linter.run(text, config):
            severity = Severity.ERROR if problem.level == "error" else Severity.WARNING
            yield Finding(shown, problem.line, problem.column, "style", severity, f"{problem.desc} ({problem.rule})")


def _files(project: Project, environments: Sequence[Environment]) -> list[Path]:
    candidates = [
        project.root / FILE,
        project.chart / "Chart.yaml",
        project.chart / "values.yaml",
        *sorted((project.chart / "ci").glob("*-values.yaml")),
        *(environment.values_file for environment in environments),
    ]
    return [path for path in candidates if path.is_file()]
