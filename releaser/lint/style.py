"""YAML style: yamllint with the project's lintconf.yaml (chart-testing's rules where there is none)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yaml import YAMLError
from yamllint import linter
from yamllint.config import YamlLintConfig

from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import MOST_BYTES
from releaser.models import Finding
from releaser.settings import FILE

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


def findings(subject: Subject) -> Iterator[Finding]:
    own = subject.project.root / "lintconf.yaml"
    config = YamlLintConfig(file=str(own)) if own.is_file() else YamlLintConfig(content=_DEFAULT)
    for path in styled(subject):
        text = path.read_bytes().decode("utf-8", errors="replace")
        try:
            problems = list(linter.run(text, config))
        except YAMLError:  # a character that no YAML has: the layer of files says so
            continue
        for problem in problems:
            broken = rule(f"style/{problem.rule or 'syntax'}")
            yield broken.found(
                subject.shown(path), problem.line, problem.column, problem.desc, severity=problem.level or "error"
            )


def styled(subject: Subject) -> list[Path]:
    """The files whose style matters; not those that are too big to be read."""
    candidates = [subject.project.root / FILE, *subject.yaml_files]
    return [path for path in candidates if path.is_file() and path.stat().st_size <= MOST_BYTES]
