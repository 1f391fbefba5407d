"""Docker Compose, built from the module pinned in compose/go.mod; and Debian's packages, installed where missing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from checks.build import Program
from releaser.adapters.engine import Engine
from releaser.adapters.modules import GO_ENVIRONMENT
from releaser.adapters.process import Process
from releaser.adapters.tools import cache_directory
from releaser.models import Reporter
from releaser.steps import step
from tests.conftest import ROOT

COMPOSE = Program(
    "github.com/docker/compose/v5/cmd",
    "github.com/docker/compose/v5",
    ("github.com/docker/compose/v5/internal.Version={version}",),
    Path(__file__).parent / "compose",
)
_COMPILE_SECONDS = 3600.0
_PROVIDES = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "e2fsprogs": "mke2fs",
    "openssh-client": "ssh",
    "util-linux": "setpriv",
}


def compose(process: Process, reporter: Reporter) -> Path:
    """The program; built once for each pin. Raises ToolMissing without Go, ToolFailed with its last words."""
    pins = b"".join((COMPOSE.directory / name).read_bytes() for name in ("go.mod", "go.sum"))
    built = cache_directory() / "bench" / hashlib.sha256(pins).hexdigest()[:12] / "docker-compose"
    if built.exists():
        return built
    part = built.with_name(".docker-compose.part")
    built.parent.mkdir(parents=True, exist_ok=True)
    log = cache_directory() / "log" / "compose.log"
    variables = " ".join(f"-X {each.format(version=COMPOSE.version)}" for each in COMPOSE.variables)
    with step(reporter, "compile docker compose", log=log) as running:
        process.stream(
            [
                *("go", "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false"),
                *("-ldflags", f"-s -w {variables}", "-o", part, COMPOSE.package),
            ],
            doing="compiling docker compose",
            deadline_seconds=_COMPILE_SECONDS,
            log=log,
            on_line=running.progress,
            cwd=COMPOSE.directory,
            env={**GO_ENVIRONMENT, "GOGC": "400"},
            hint="Go 1.26 or newer is needed (or an older one that may fetch it): apt-get install golang",
        )
        part.rename(built)
        running.detail = COMPOSE.version
    return built


def install(process: Process, reporter: Reporter) -> None:
    """What the virtual machine is made and run with. Raises EnvironmentUnfit where we may not install it."""
    missing = [package for package, command in _PROVIDES.items() if shutil.which(command) is None]
    if missing:
        with step(reporter, "install packages") as running:
            Engine(process, ROOT / "toolchain").install(*missing)
            running.detail = ", ".join(missing)
