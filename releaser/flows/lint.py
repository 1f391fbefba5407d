"""`releaser lint`: every layer runs, every environment, all findings at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from releaser.errors import LintFailed
from releaser.lint import chart_yaml, helm, style
from releaser.lint.helm import Charts
from releaser.models import Linted, Reporter
from releaser.settings import Environment, Project
from releaser.steps import step


def lint(project: Project, environments: Sequence[Environment], charts: Charts, reporter: Reporter) -> Linted:
    """Raises LintFailed, which carries all findings, when one of them is an error."""
    started = time.monotonic()
    with step(reporter, "lint") as running:
        findings = sorted(
            {
                *style.findings(project, environments),
                *chart_yaml.findings(project),
                *helm.findings(project, environments, charts),
            }
        )
        linted = Linted(
            tuple(findings), tuple(environment.name for environment in environments), time.monotonic() - started
        )
        running.detail = f"{len(linted.errors)} errors, {len(findings) - len(linted.errors)} others"
        if linted.errors:
            raise LintFailed(
                f"lint found {len(linted.errors)} errors", linted.findings, hint="mend the lines named above"
            )
    return linted
