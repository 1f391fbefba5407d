"""YAML style: yamllint with the project's lintconf.yaml (chart-testing's rules where there is none)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from yaml import YAMLError
from yamllint import linter
from yamllint.config import YamlLintConfig, YamlLintConfigError

from releaser.errors import InvalidInput
from releaser.lint.rules import rule
from releaser.lint.subject import Subject
from releaser.located import TooMuch, Unreadable, decoded
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
    config = _config(subject.project.root / "lintconf.yaml")
    for path, text in styled(subject):
        try:
            problems = list(linter.run(text, config))
        except YAMLError:  # a character that no YAML has: the layer of files says so
            continue
        for problem in problems:
            broken = rule(f"style/{problem.rule or 'syntax'}")
            yield broken.found(
                subject.shown(path), problem.line, problem.column, problem.desc, severity=problem.level or "error"
            )


def _config(own: Path) -> YamlLintConfig:
    """Raises InvalidInput for a file of rules that yamllint refuses."""
    if not os.path.lexists(own):
        return YamlLintConfig(content=_DEFAULT)
    try:
        return YamlLintConfig(content=decoded(own))
    except YamlLintConfigError as exc:
        raise InvalidInput(f"While reading {own}: {exc}", hint="yamllint's documentation has its rules") from exc


def styled(subject: Subject) -> Iterator[tuple[Path, str]]:
    """The files whose style matters, with their texts; not those that can't be read, or not to their end."""
    for path in (subject.project.root / FILE, *subject.yaml_files):
        if not os.path.lexists(path):
            continue
        try:
            subject.load(path)
        except TooMuch:
            continue
        except Unreadable:  # what is no YAML has a style yet
            pass
        with suppress(Unreadable):
            yield path, decoded(path)
