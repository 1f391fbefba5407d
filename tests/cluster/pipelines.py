"""The pipelines of docs/ci/, run here: the scripts of their jobs, as the hosted service would run them.

What only that service can do (`uses:`, runners, artifacts) is left out, and so is the step that installs releaser.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

GITHUB, GITLAB = ROOT / "docs/ci/github-actions.yml", ROOT / "docs/ci/gitlab-ci.yml"
_INSTALL = "Install releaser"
_SECRET = re.compile(r"\$\{\{ secrets\.(\w+) \}\}")
_DEADLINE_SECONDS = 400


@dataclass(frozen=True)
class Script:
    """One shell's worth of a job. `environment` is its own, secrets filled in."""

    job: str
    name: str
    text: str
    environment: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.job}: {self.name}"


def github(secrets: Mapping[str, str]) -> list[Script]:
    """The scripts of all jobs, in the order in which the jobs need each other."""
    jobs: dict[str, Any] = yaml.safe_load(GITHUB.read_text(encoding="utf-8"))["jobs"]
    for name, job in jobs.items():
        assert list(jobs).index(name) > max((list(jobs).index(job["needs"]),) if "needs" in job else (-1,))
    return [
        Script(name, step["name"], step["run"], _filled(step.get("env", {}), secrets))
        for name, job in jobs.items()
        for step in job["steps"]
        if "run" in step and step["name"] != _INSTALL
    ]


def gitlab(variables: Mapping[str, str]) -> list[Script]:
    """The scripts of all jobs, in the order of their stages."""
    document: dict[str, Any] = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))
    jobs = {name: job for name, job in document.items() if isinstance(job, dict) and "script" in job}
    by_stage = sorted(jobs, key=lambda name: document["stages"].index(jobs[name]["stage"]))
    return [Script(name, "script", "\n".join(jobs[name]["script"]), variables) for name in by_stage]


def run(script: Script, directory: Path, environment: dict[str, str]) -> None:
    """As a runner does: bash, which ends with the first command that fails. What it writes to GITHUB_ENV is in
    `environment` afterwards, for the scripts that follow. Raises AssertionError with all that it printed."""
    exported = Path(environment["GITHUB_ENV"])
    exported.write_text("")
    finished = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script.text],
        cwd=directory,
        env={**environment, **script.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEADLINE_SECONDS,
        text=True,
    )
    assert finished.returncode == 0, f"{script} ended with {finished.returncode}:\n{finished.stdout}"
    environment |= dict(line.split("=", 1) for line in exported.read_text().splitlines())


def _filled(wanted: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    return {name: _SECRET.sub(lambda match: secrets[match[1]], text) for name, text in wanted.items()}
