"""What releaser is measured beside: the same chart, values and image, released by plain Helm and by helmfile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from bench.record import tool
from bench.signs import looking
from tests.cluster.site import RELEASE, Site

HELMFILE = Path.home() / ".cache/releaser/bench/bin/helmfile"
CHART = "charts/flask-hello"
# helmfile would ask GitHub for its newest version
_QUIET = {"HELMFILE_UPGRADE_NOTICE_DISABLED": "true"}


@dataclass(frozen=True)
class Attempt:
    """One release. `verdict_seconds` is when it was known to be good or bad, `upgrade_to_verdict_seconds` the same from
    the beginning of the upgrade itself, `whole_seconds` when the command ended; for a tool that only upgrades and says
    nothing before its end they are the same. `said` is its last word."""

    code: int
    verdict_seconds: float
    upgrade_to_verdict_seconds: float
    whole_seconds: float
    said: str
    cause: str = ""
    steps: dict[str, float] = field(default_factory=dict)
    """Releaser's: seconds that each step took, and `end of STEP` from the command's start."""
    sign: str = ""
    sign_to_verdict_seconds: float | None = None
    """Releaser's, where the failure shows a sign (bench/signs.py)."""


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    def release(self, site: Site) -> Attempt: ...


@dataclass(frozen=True)
class Helm:
    """`helm upgrade --install` with options; `tested` adds `helm test`, which releaser always runs."""

    name: str
    options: tuple[str, ...]
    image: str
    tested: bool = False

    def release(self, site: Site) -> Attempt:
        where = ("--namespace", site.namespace, "--kube-context", site.cluster.context)
        repository, _, tag = self.image.rpartition(":")
        image = ("--set-string", f"image.repository={repository},image.tag={tag}")
        values = ("--values", str(site.root / "values-dev.yaml"))
        chart = str(site.root / CHART)
        helm = str(tool("helm"))
        commands = [[helm, "upgrade", "--install", RELEASE, chart, *values, *image, *where, *self.options]]
        if self.tested:
            commands.append([helm, "test", RELEASE, *where])
        return _timed(commands)


@dataclass(frozen=True)
class Helmfile:
    """`helmfile apply`, or `sync` where the plugin helm-diff, which apply needs, isn't there. It waits as Helm does."""

    name: str
    verb: str
    timeout_seconds: int
    image: str

    def release(self, site: Site) -> Attempt:
        repository, _, tag = self.image.rpartition(":")
        state = site.root / "helmfile.yaml"
        state.write_text(yaml.safe_dump(self._state(site, repository, tag)))
        argv = [str(HELMFILE), "--helm-binary", str(tool("helm")), "--file", str(state), "--no-color", self.verb]
        return _timed([argv])

    def _state(self, site: Site, repository: str, tag: str) -> dict[str, Any]:
        release = {
            "name": RELEASE,
            "namespace": site.namespace,
            "chart": f"./{CHART}",
            "values": ["values-dev.yaml", {"image": {"repository": repository, "tag": tag}}],
        }
        defaults = {"kubeContext": site.cluster.context, "wait": True, "timeout": self.timeout_seconds}
        return {"helmDefaults": defaults, "releases": [release]}


@dataclass(frozen=True)
class Releaser:
    """`releaser deploy`. Its verdict stands before it goes back, so both are told."""

    name: str = "releaser deploy"

    def release(self, site: Site) -> Attempt:
        with looking(site) as sign:
            attempt, started = self._release(site)
        if sign.at is None or attempt.code == 0:
            return attempt
        return replace(attempt, sign=sign.what, sign_to_verdict_seconds=started + attempt.verdict_seconds - sign.at)

    def _release(self, site: Site) -> tuple[Attempt, float]:
        """And when it began, in monotonic seconds."""
        started = time.monotonic()
        running = site.start("deploy", "dev")
        verdict = 0.0
        begun: dict[str, float] = {}
        steps: dict[str, float] = {}
        for event in running.events():
            now = time.monotonic() - started
            name = event.get("name", "")
            if event["event"] == "StepStarted":
                begun[name] = now
            elif event["event"] == "StepEnded":
                # the first of its name: the way back has steps of the same names
                steps.setdefault(name, now - begun[name])
                steps.setdefault(f"end of {name}", now)
                verdict = verdict or (now if event["failed"] else 0.0)
        ended = running.end()
        whole = time.monotonic() - started
        attempt = Attempt(
            ended.code,
            verdict or whole,
            (verdict or whole) - begun.get("upgrade", begun.get("install", 0.0)),
            whole,
            str(ended.error.get("message", "")),
            str(ended.error.get("cause", "")),
            steps,
        )
        return attempt, started


def helmfile_version() -> str:
    """Empty when it wasn't built. It is no part of this project; in a copy of its module, whose go.mod replaces some of
    its requirements (so that `go install` refuses it):

        go mod download github.com/helmfile/helmfile@v1.8.0
        cp -r "$(go env GOMODCACHE)/github.com/helmfile/helmfile@v1.8.0" helmfile
        chmod -R u+w helmfile && cd helmfile
        go build -ldflags "-X go.szostok.io/version.version=v1.8.0" -o ~/.cache/releaser/bench/bin/helmfile .
    """
    if not HELMFILE.exists():
        return ""
    return subprocess.run(
        [HELMFILE, "version", "-o", "short"], capture_output=True, text=True, check=True, env={**os.environ, **_QUIET}
    ).stdout.strip()


def helm_diff_installed() -> bool:
    listed = subprocess.run([tool("helm"), "plugin", "list"], capture_output=True, text=True, check=True).stdout
    return any(line.split()[:1] == ["diff"] for line in listed.splitlines())


def _timed(commands: Sequence[Sequence[str]]) -> Attempt:
    """One after the other, until one fails."""
    started = time.monotonic()
    for argv in commands:
        finished = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **_QUIET}, check=False)
        if finished.returncode:
            break
    seconds = time.monotonic() - started
    lines = [line for line in finished.stderr.splitlines() if line.strip()] if finished.returncode else []
    return Attempt(finished.returncode, seconds, seconds, seconds, lines[-1].strip()[:300] if lines else "")
