"""The service under Docker Compose: as most Compose files are, and as a careful user of Compose runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import memory
from bench.platforms import proxy
from bench.platforms.contestant import CPUS, MEMORY_MIB, SETTINGS, Memory, Release
from bench.platforms.ports import free_port

_HERE = Path(__file__).parent / "compose"
_SECONDS = 180


class _Project:
    """One Compose project, by its file."""

    def __init__(self, program: Path, name: str, file: str, directory: Path, more: Mapping[str, str]) -> None:
        self._argv = [str(program), "--project-name", f"releaser-bench-{name}", "--file", str(_HERE / file)]
        settings = directory / f"{name}.env"
        settings.write_text("".join(f"{key}={value}\n" for key, value in SETTINGS.items()))
        self.port = free_port()
        self._variables = {
            **more,
            "SETTINGS": str(settings),
            "CPUS": str(CPUS),
            "MEMORY": f"{MEMORY_MIB}m",
            "PORT": str(self.port),
        }
        self.image = ""
        self.instances = 1

    def compose(self, *arguments: str) -> str:
        """Raises SystemExit with what Compose said."""
        environment = {**os.environ, **self._variables, "IMAGE": self.image, "INSTANCES": str(self.instances)}
        argv = [*self._argv, *arguments]
        finished = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        if finished.returncode:
            raise SystemExit(f"{' '.join(argv)} failed:\n{finished.stderr[-2000:]}")
        return finished.stdout.strip()

    def containers(self, service: str = "web") -> list[str]:
        """Running ones."""
        return self.compose("ps", "--quiet", service).split()

    def down(self) -> None:
        self.image = self.image or "none"
        self.compose("down", "--timeout", "1", "--volumes")

    def memory(self, *, with_proxy: bool) -> Memory:
        engine = {pid for each in _engine() for pid in memory.family(each)}
        served = {pid for each in self.containers() for pid in _processes(each)}
        proxies = {pid for each in self.containers("proxy") for pid in _processes(each)} if with_proxy else set()
        # Docker's own forwarder of a published port
        forwarders = {pid for pid in engine if f"{self.port}" in memory.command(pid)}
        others = {pid for pid in engine - forwarders if "docker-proxy" in " ".join(memory.command(pid)[:1])}
        return Memory(memory.total((engine - others) | proxies), memory.total(served - engine))


class _Composed:
    """What holds for both."""

    def __init__(self, project: _Project, releases: tuple[Release, Release]) -> None:
        self._project = project
        self._old, self._new = releases

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._project.port}"

    def stop(self) -> None:
        self._project.down()

    def arm_process(self) -> Callable[[], None]:
        return partial(os.kill, _pid(self._project.containers()[0]), signal.SIGKILL)

    def arm_unit(self) -> tuple[Callable[[], None], str]:
        return _removal(self._project.containers()[0])


class Alone(_Composed):
    """One container, which Compose replaces."""

    key, name, instances = "compose", "Compose, one", 1

    def __init__(self, program: Path, releases: tuple[Release, Release], directory: Path) -> None:
        super().__init__(_Project(program, "alone", "plain.yaml", directory, {}), releases)

    def start(self) -> None:
        self._up(self._old)

    def revive(self) -> None:
        self._project.compose("up", "--detach", "--wait")

    def update(self) -> None:
        self._up(self._new)

    def roll_back(self) -> None:
        self._up(self._old)

    def _up(self, release: Release) -> None:
        self._project.image = release.image
        self._project.compose("up", "--detach", "--wait")

    def scale(self, instances: int) -> None:
        raise NotImplementedError("a published port is one container's: whoever wants more needs a proxy")

    def memory(self) -> Memory:
        return self._project.memory(with_proxy=False)


class Behind(_Composed):
    """Several containers behind a proxy. An update starts as many new ones beside them, waits until the proxy knows
    them, and stops the old ones: what the plug-in docker-rollout does, since Compose has no such command."""

    key, name, instances = "compose-proxy", "Compose, proxy", 2

    def __init__(self, program: Path, releases: tuple[Release, Release], directory: Path) -> None:
        configuration, self._stats = directory / "compose.cfg", free_port()
        by_name = "resolvers docker\n    nameserver docker 127.0.0.11:53\n    hold valid 1s\n    hold nx 1s\n"
        # so many may be there at once: twice the instances in an update
        servers = ["server-template web 1-8 web:8080 resolvers docker resolve-prefer ipv4 init-addr none"]
        configuration.write_text(proxy.configuration(":8000", ":8404", servers, by_name))
        more = {
            "PROXY_IMAGE": proxy.IMAGE,
            "PROXY_CONFIGURATION": str(configuration),
            "STATS_PORT": str(self._stats),
        }
        super().__init__(_Project(program, "proxy", "careful.yaml", directory, more), releases)
        self._project.instances = self.instances

    def start(self) -> None:
        self._project.image, self._project.instances = self._old.image, self.instances
        self._project.compose("up", "--detach", "--wait")

    def revive(self) -> None:
        self._project.compose("up", "--detach", "--wait", "--no-recreate")

    def update(self) -> None:
        self._replace(self._new)

    def roll_back(self) -> None:
        self._replace(self._old)

    def _replace(self, release: Release) -> None:
        old = self._project.containers()
        self._project.image = release.image
        both = f"web={len(old) + self.instances}"
        self._project.compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--scale", both, "web")
        proxy.await_up(f"http://127.0.0.1:{self._stats}", len(old) + self.instances)
        _docker("stop", *old)
        _docker("rm", *old)

    def scale(self, instances: int) -> None:
        self._project.instances = instances
        self._project.compose("up", "--detach", "--wait", "--no-recreate")

    def memory(self) -> Memory:
        return self._project.memory(with_proxy=True)


def _pid(container: str) -> int:
    return int(_docker("inspect", "--format", "{{.State.Pid}}", container))


def _processes(container: str) -> list[int]:
    """Of the container, with the shim above it."""
    return memory.family(memory.parent(_pid(container)))


def _removal(container: str) -> tuple[Callable[[], None], str]:
    """By force; and the host name that it has. `docker kill` would do the same: no policy restarts what was stopped on
    purpose."""

    def remove() -> None:
        _docker("rm", "--force", container)

    return remove, container[:12]


def _engine() -> list[int]:
    """Docker's daemon; containerd is below it, or beside it where systemd starts both."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    here = Path("/proc/self/ns/pid").readlink()
    named = [pid for pid in pids if Path((memory.command(pid) or [""])[0]).name in ("dockerd", "containerd")]
    return [pid for pid in named if Path(f"/proc/{pid}/ns/pid").readlink() == here]


def _docker(*arguments: str) -> str:
    finished = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=_SECONDS)
    if finished.returncode:
        raise SystemExit(f"docker {' '.join(arguments)} failed:\n{finished.stderr[-2000:]}")
    return finished.stdout.strip()
