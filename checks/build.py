"""Builds the programs that chart and images are checked with, from modules pinned in go.mod: `python -m checks.build`.

They stand in $XDG_CACHE_HOME/releaser/checks/KEY, where KEY is a hash of all pins, and by name in .../releaser/bin. A
program that is there is not built again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from releaser.adapters.modules import GO_ENVIRONMENT
from releaser.adapters.process import Process
from releaser.adapters.tools import bin_directory, cache_directory
from releaser.console import Output, Printer
from releaser.errors import ReleaserError, ToolMissing
from releaser.models import Reporter
from releaser.steps import step

_HERE = Path(__file__).parent
_COMPILE_SECONDS = 3600.0


@dataclass(frozen=True)
class Program:
    """What to build, in which of the Go modules here, and the variables that tell its version."""

    package: str
    pinned: str
    variables: tuple[str, ...] = ()
    directory: Path = _HERE

    @property
    def version(self) -> str:
        """As go.mod has it, with its v."""
        pins = (self.directory / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^(?:require)?\s+{re.escape(self.pinned)} (v\S+)$", pins, re.MULTILINE)
        assert found is not None, f"{self.directory}/go.mod doesn't require {self.pinned}"
        return found[1]


PROGRAMS = {
    "buildx": Program(
        "github.com/docker/buildx/cmd/buildx",
        "github.com/docker/buildx",
        ("github.com/docker/buildx/version.Version={version}",),
        _HERE / "buildx",
    ),
    "ct": Program(
        "github.com/helm/chart-testing/v3/ct",
        "github.com/helm/chart-testing/v3",
        ("github.com/helm/chart-testing/v3/ct/cmd.Version={version}",),
    ),
    # Helm 3 knows no cluster's version when it only renders: without these it takes 1.20, which the chart refuses.
    "helm3": Program(
        "helm.sh/helm/v3/cmd/helm",
        "helm.sh/helm/v3",
        (
            "helm.sh/helm/v3/internal/version.version={version}",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
        ),
    ),
    "kube-score": Program(
        "github.com/zegl/kube-score/cmd/kube-score",
        "github.com/zegl/kube-score",
        ("main.version={version}",),
        _HERE / "score",
    ),
    "kubeconform": Program(
        "github.com/yannh/kubeconform/cmd/kubeconform", "github.com/yannh/kubeconform", ("main.version={version}",)
    ),
    "promtool": Program(
        "github.com/prometheus/prometheus/cmd/promtool",
        "github.com/prometheus/prometheus",
        ("github.com/prometheus/common/version.Version={version}",),
    ),
    "registry": Program(
        "./cmd/registry",
        "github.com/distribution/distribution/v3",
        ("github.com/distribution/distribution/v3/version.version={version}",),
    ),
}


def program(name: str) -> Path:
    """The built program. Raises ToolMissing with the command that builds it."""
    path = _built() / name
    if not path.exists():
        raise ToolMissing(f"{name} {PROGRAMS[name].version} is needed and was not built", hint="make checks")
    return path


def build(process: Process, reporter: Reporter) -> None:
    """Build what is missing. Raises ToolMissing without Go, ToolFailed with the compiler's last lines."""
    missing = [name for name in PROGRAMS if not (_built() / name).exists()]
    log = cache_directory() / "log" / "checks.log"
    for name in missing:
        wanted = PROGRAMS[name]
        with step(reporter, f"compile {name}", log=log) as running:
            compiled = itertools.count(1)
            part = _built() / f".{name}.{os.getpid()}"
            variables = " ".join(f"-X {each.format(version=wanted.version)}" for each in wanted.variables)
            process.stream(
                [
                    # the flags of the programs that `releaser up` builds, for what both need is then compiled once;
                    # promtool's checks of rules need none of the ways to find targets, most of which are clouds' SDKs
                    *("go", "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false", "-tags", "remove_all_sd"),
                    *("-ldflags", f"-s -w {variables}", "-o", part, wanted.package),
                ],
                doing=f"compiling {name}",
                deadline_seconds=_COMPILE_SECONDS,
                log=log,
                on_line=lambda line: running.progress(f"{next(compiled)} packages, {line}"),  # noqa: B023
                cwd=wanted.directory,
                env={**GO_ENVIRONMENT, "GOGC": "400"},
                hint="Go 1.26 or newer is needed (or an older one that may fetch it): apt-get install golang",
            )
            part.rename(_built() / name)
            running.detail = wanted.version
    for name in PROGRAMS:
        _publish(name)


def _publish(name: str) -> None:
    """Under its own name beside helm and kubectl, for people: `ct lint --config ct.yaml`."""
    link = bin_directory() / name
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.symlink_to(_built() / name)
    part.rename(link)


@cache
def _built() -> Path:
    digest = hashlib.sha256()
    for path in sorted(p for p in _HERE.rglob("*") if p.suffix in (".mod", ".sum", ".go", ".py")):
        digest.update(f"{path.relative_to(_HERE)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    directory = cache_directory() / "checks" / digest.hexdigest()[:12]
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def main() -> int:
    printer = Printer(Output.TEXT)
    try:
        build(Process(printer), printer)
    except ReleaserError as error:
        printer.error(error)
        return error.exit_code
    finally:
        printer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
