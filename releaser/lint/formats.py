"""Findings for other programs: JSON, GitHub's annotations, SARIF 2.1.0. No I/O.

In JSON files are named from the project's directory, as for people; in the others from the repository's, where code is
reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from releaser import __version__
from releaser.lint.rules import rules
from releaser.models import Finding, Linted, Severity


def as_json(linted: Linted) -> str:
    document = {
        "chart": linted.chart,
        "environments": linted.environments,
        "elapsed_seconds": round(linted.elapsed_seconds, 3),
        "errors": len(linted.errors),
        "findings": [_described(each) for each in linted.findings],
        "waived": [_described(each) for each in linted.waived],
        "unchecked_kinds": linted.unchecked,
        "fixed": [{"file": each.file, "diff": each.diff} for each in linted.fixed],
    }
    return json.dumps(document, indent=2)


def _described(finding: Finding) -> dict[str, Any]:
    return {
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "fix": finding.fix,
        "object": finding.object,
        "link": finding.link,
    }


# -- GitHub ------------------------------------------------------------------------------------------------------------

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def as_github(linted: Linted) -> str:
    """Workflow commands (docs.github.com: workflow commands for GitHub Actions), one a line."""
    return "\n".join(_command(each, linted.directory) for each in linted.findings)


def _command(finding: Finding, directory: str) -> str:
    properties = {
        "file": str(Path(directory, finding.file)),
        "line": finding.line,
        "col": finding.column,
        "title": finding.rule,
    }
    told = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in properties.items() if value)
    text = f"{finding.message} - to do: {finding.fix}" if finding.fix else finding.message
    return f"::{_COMMANDS[finding.severity]} {told}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    for sign in f"%\r\n{more}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


# -- SARIF -------------------------------------------------------------------------------------------------------------

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_sarif(linted: Linted) -> str:
    """SARIF 2.1.0 (OASIS), as code scanning reads it. A waived finding is a suppressed result."""
    names = list(dict.fromkeys(each.rule for each in (*linted.findings, *linted.waived)))
    driver = {
        "name": "releaser",
        "semanticVersion": __version__,
        "rules": [_rule(name) for name in names],
    }
    results = [
        *(_result(each, names, linted.directory) for each in linted.findings),
        *({**_result(each, names, linted.directory), "suppressions": [{"kind": "external"}]} for each in linted.waived),
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2)


def _rule(name: str) -> dict[str, Any]:
    rule = rules()[name]
    return {
        "id": name,
        "shortDescription": {"text": rule.says},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.fix}. {rule.why}", "markdown": f"{rule.fix}. {rule.why}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, names: Sequence[str], directory: str) -> dict[str, Any]:
    region = {"startLine": finding.line or 1, **({"startColumn": finding.column} if finding.column else {})}
    place = {"artifactLocation": {"uri": _uri(Path(directory, finding.file))}, "region": region}
    return {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: Path) -> str:
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
