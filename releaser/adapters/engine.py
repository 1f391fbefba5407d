"""The Docker engine of this machine: asked whether it answers; installed and started where that is ours to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from releaser.adapters.process import Process
from releaser.adapters.tools import cache_directory
from releaser.errors import EnvironmentUnfit

_START_SECONDS = 60.0
_PACKAGES_SECONDS = 900.0
_SYS_RESOURCE = 24  # CAP_SYS_RESOURCE, linux/capability.h


class Engine:
    def __init__(self, process: Process, toolchain: Path) -> None:
        self._process = process
        self._toolchain = toolchain
        self.log = cache_directory() / "log" / "dockerd.log"

    def version(self) -> str:
        """The engine's version; empty when none answers."""
        if shutil.which("docker") is None:
            return ""
        finished = self._process.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            doing="asking the Docker engine for its version",
            deadline_seconds=20,
            check=False,
        )
        return finished.stdout.strip() if finished.exit_status == 0 else ""

    def start(self) -> None:
        """Start the engine, installing Debian's if there is none. Raises EnvironmentUnfit with the command to run where
        we are not root."""
        if os.geteuid() != 0:
            raise EnvironmentUnfit(
                "While starting the Docker engine: it does not answer, and only root may start it",
                hint="sudo systemctl start docker; or install it: sudo apt-get install docker.io",
            )
        if shutil.which("dockerd") is None:
            self.install("docker.io", "iptables")
        self._bound_capabilities()
        if Path("/run/systemd/system").is_dir():
            self._process.run(["systemctl", "start", "docker"], doing="starting Docker", deadline_seconds=120)
        else:
            self._start_by_hand()
        self._wait()

    def install(self, *packages: str) -> None:
        """Install Debian packages that are not there yet."""
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise EnvironmentUnfit(
                f"While installing {', '.join(packages)}: this takes root on Debian or Ubuntu",
                hint="install them with your system's package manager, then repeat",
            )
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        log = cache_directory() / "log" / "apt.log"
        for argv in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages]):
            self._process.stream(
                argv, doing=f"installing {', '.join(packages)}", deadline_seconds=_PACKAGES_SECONDS, log=log, env=quiet
            )

    @property
    def bounded(self) -> bool:
        """CAP_SYS_RESOURCE is out of this machine's reach, so that runc refuses every privileged container."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
        return not int(bounding, 16) >> _SYS_RESOURCE & 1

    def _bound_capabilities(self) -> None:
        """Where the capability is missing, put a runc in front of runc that doesn't ask for it."""
        if not self.bounded:
            return
        if shutil.which("jq") is None:
            self.install("jq")
        front = Path("/usr/local/sbin/runc-bounded")
        front.write_bytes((self._toolchain / "node" / "runc-bounded").read_bytes())
        front.chmod(0o755)
        config = Path("/etc/docker/daemon.json")
        config.parent.mkdir(parents=True, exist_ok=True)
        settings = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
        settings.setdefault("runtimes", {})["bounded"] = {"path": str(front)}
        settings.setdefault("default-runtime", "bounded")
        config.write_text(json.dumps(settings, indent=2), encoding="utf-8")

    def _start_by_hand(self) -> None:
        """No systemd: the engine runs on its own, beyond the end of releaser. A dead one's pid file is in the way."""
        pid_file = Path("/var/run/docker.pid")
        if pid_file.exists() and not _is_dockerd(pid_file.read_text(encoding="ascii").strip()):
            pid_file.unlink()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self.version():
                return
            time.sleep(0.5)
        raise EnvironmentUnfit(
            f"While starting the Docker engine: no answer after {_START_SECONDS:.0f} s",
            detail="\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else "",
            hint=f"the engine's log: {self.log}",
        )


def _is_dockerd(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "dockerd"
    except OSError:
        return False
