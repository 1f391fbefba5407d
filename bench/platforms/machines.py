"""The service in virtual machines: one, updated in place; and several behind a proxy, updated one after the other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from bench import memory
from bench.platforms import proxy
from bench.platforms.contestant import CPUS, Memory, Release
from bench.platforms.guest_image import Guest
from bench.platforms.ports import free_port

MEMORY_MIB = 384
_PROXY_NAME = "releaser-bench-machines-proxy"
_PROCESSOR = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # translated code is kept up to so many MiB: left to itself QEMU takes an eighth of the computer's memory
    "tcg": ("-accel", "tcg,tb-size=128", "-cpu", "max"),
}
_SSH_SECONDS = 300
_UP_SECONDS = 600.0


@dataclass
class Machine:
    """One virtual machine. All its traffic stays on this machine's loopback (QEMU's user network)."""

    name: str
    guest: Guest
    accelerator: str
    disk: Path
    port: int
    ssh_port: int
    process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """From the disk as it is, unless it runs; a new disk is a layer over the guest's."""
        if self.process is not None and self.process.poll() is None:
            return
        if not self.disk.exists():
            base = ("-F", "raw", "-b", str(self.guest.disk))
            _run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(self.disk)])
        forwarded = f"hostfwd=tcp:127.0.0.1:{self.port}-:8080,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        argv = [
            # the machine ends with us, whatever ends us
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
            *_PROCESSOR[self.accelerator],
            *("-m", str(MEMORY_MIB), "-smp", str(CPUS), "-display", "none", "-nodefaults", "-no-reboot"),
            *("-serial", f"file:{self.disk.with_suffix('.console')}"),
            *("-kernel", str(self.guest.kernel), "-initrd", str(self.guest.initrd)),
            *("-append", f"root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.hostname={self.name}"),
            *("-drive", f"file={self.disk},if=virtio,format=qcow2", "-device", "virtio-rng-pci"),
            *("-netdev", f"user,id=net,{forwarded}", "-device", "virtio-net-pci,netdev=net,romfile="),
        ]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def revive(self) -> None:
        """Switched on when it is off; else its service is started anew."""
        if self.process is None or self.process.poll() is not None:
            self.boot()
        else:
            self.run("systemctl restart flask-hello")

    def kill(self) -> None:
        """As when its power is cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def discard(self) -> None:
        self.kill()
        self.disk.unlink(missing_ok=True)

    def run(self, script: str, source: bytes | None = None) -> None:
        """A shell's script as root in the machine. Raises SystemExit with what ssh said."""
        _run(self._ssh(script), source)

    def arm(self) -> Callable[[], None]:
        """What kills gunicorn's master. The way into the machine takes time: it is gone beforehand."""
        script = "pid=$(systemctl show --property MainPID --value flask-hello); echo armed; read go; kill -KILL $pid"
        waiting = subprocess.Popen(self._ssh(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert waiting.stdin is not None and waiting.stdout is not None
        if waiting.stdout.readline() != b"armed\n":
            raise SystemExit(f"While preparing to kill the service in {self.name}: ssh ended with {waiting.wait()}")
        go = waiting.stdin

        def kill() -> None:
            go.write(b"now\n")
            go.close()

        return kill

    def _ssh(self, script: str) -> list[str]:
        return [
            *("ssh", "-i", str(self.guest.key), "-p", str(self.ssh_port), "-o", "BatchMode=yes"),
            *("-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            # OpenSSH's first choice takes seconds where the processor is translated
            *("-o", "KexAlgorithms=curve25519-sha256", "root@127.0.0.1", script),
        ]

    def release(self, release: Release) -> None:
        """Copy the code beside the old one, lead the link to it, restart: an old version stays for the way back."""
        code = subprocess.run(
            ["tar", "--create", "--exclude=__pycache__", "--directory", release.root, "app"],
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        there = f"/srv/releases/{release.version}"
        self.run(f"mkdir -p {there} && tar --extract --no-same-owner --directory {there}", code)
        self.switch(release)

    def switch(self, release: Release) -> None:
        self.run(f"ln -sfn releases/{release.version}/app /srv/app && systemctl restart flask-hello")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def await_version(self, version: str) -> None:
        end = time.monotonic() + _UP_SECONDS
        while time.monotonic() < end:
            with suppress(requests.RequestException, ValueError):
                ready = requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
                if ready and requests.get(f"{self.url}/version", timeout=5).json()["version"] == version:
                    return
            time.sleep(0.1)
        raise SystemExit(f"While updating machine {self.name}: {version} does not answer after {_UP_SECONDS:.0f} s")


class Alone:
    """One machine, updated in place."""

    key, name, instances = "machine", "VM, one", 1

    def __init__(self, guest: Guest, accelerator: str, releases: tuple[Release, Release], directory: Path) -> None:
        self._old, self._new = releases
        self._machine = Machine("vm1", guest, accelerator, directory / "alone.qcow2", free_port(), free_port())

    @property
    def url(self) -> str:
        return self._machine.url

    def start(self) -> None:
        self._machine.boot()

    def stop(self) -> None:
        self._machine.discard()

    def arm_process(self) -> Callable[[], None]:
        return self._machine.arm()

    def arm_unit(self) -> tuple[Callable[[], None], str]:
        return self._machine.kill, ""  # it comes back under its own name

    def revive(self) -> None:
        self._machine.revive()

    def update(self) -> None:
        self._machine.release(self._new)

    def roll_back(self) -> None:
        self._machine.switch(self._old)

    def scale(self, instances: int) -> None:
        raise NotImplementedError("one machine is one machine: whoever wants more needs a proxy")

    def memory(self) -> Memory:
        return Memory(0, _memory([self._machine]))


class Behind:
    """Several machines behind a proxy, which stands on this machine as it would stand before theirs."""

    key, name, instances = "machines", "VMs, proxy", 2

    def __init__(self, guest: Guest, accelerator: str, releases: tuple[Release, Release], directory: Path) -> None:
        self._old, self._new = releases
        self._port, self._stats = free_port(), free_port()
        self._configuration = directory / "machines.cfg"
        self._machines = [
            Machine(f"vm{number}", guest, accelerator, directory / f"vm{number}.qcow2", free_port(), free_port())
            for number in range(1, self.instances + 1)
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        servers = [f"server {each.name} 127.0.0.1:{each.port}" for each in self._machines]
        bind, stats = f"127.0.0.1:{self._port}", f"127.0.0.1:{self._stats}"
        self._configuration.write_text(proxy.configuration(bind, stats, servers))
        mounted = f"{self._configuration}:/etc/haproxy/haproxy.cfg:ro"
        for each in self._machines:
            each.boot()
        _remove_proxy()
        _run(["docker", "run", "--detach", "--name", _PROXY_NAME, "--network=host", "--volume", mounted, proxy.IMAGE])

    def stop(self) -> None:
        for each in self._machines:
            each.discard()
        _remove_proxy()

    def arm_process(self) -> Callable[[], None]:
        return self._machines[0].arm()

    def arm_unit(self) -> tuple[Callable[[], None], str]:
        return self._machines[0].kill, ""

    def revive(self) -> None:
        self._machines[0].revive()

    def update(self) -> None:
        for each in self._machines:
            each.release(self._new)
            self._settle(each, self._new)

    def roll_back(self) -> None:
        for each in self._machines:
            each.switch(self._old)
            self._settle(each, self._old)

    def _settle(self, machine: Machine, release: Release) -> None:
        """The next one goes only when this one is back."""
        machine.await_version(release.version)
        proxy.await_up(f"http://127.0.0.1:{self._stats}", len(self._machines))

    def scale(self, instances: int) -> None:
        for number, each in enumerate(self._machines):
            if number >= instances:
                each.kill()
            elif each.process is None:
                each.boot()

    def memory(self) -> Memory:
        pid = int(_run(["docker", "inspect", "--format", "{{.State.Pid}}", _PROXY_NAME]))
        # with the shim that Docker gave it
        return Memory(memory.total(set(memory.family(memory.parent(pid)))), _memory(self._machines))


def _memory(machines: list[Machine]) -> int:
    return memory.total({pid for each in machines if each.process for pid in memory.family(each.process.pid)})


def _remove_proxy() -> None:
    subprocess.run(["docker", "rm", "--force", _PROXY_NAME], capture_output=True, timeout=60)


def _run(argv: list[str], source: bytes | None = None) -> str:
    finished = subprocess.run(argv, input=source, capture_output=True, timeout=_SSH_SECONDS)
    if finished.returncode:
        raise SystemExit(f"{' '.join(argv)} failed:\n{finished.stderr.decode(errors='replace')[-2000:]}")
    return finished.stdout.decode(errors="replace").strip()
