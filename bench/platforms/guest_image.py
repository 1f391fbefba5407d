"""The virtual machine's disk: Debian bookworm with the service under systemd, made once and kept by its content.

mmdebstrap fills a directory, the application's locked packages go into /opt/packages, the code into /srv/releases, and
`mke2fs -d` writes the directory as ext4: nothing is mounted. Kernel and initrd lie beside it and are booted directly.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.platforms.contestant import SETTINGS, Release
from releaser.adapters.process import Process
from releaser.adapters.tools import cache_directory
from releaser.models import Reporter
from releaser.steps import step
from tests.conftest import ROOT

_DEBIAN_PACKAGES = (
    *("python3", "python3-minimal", "systemd-sysv", "udev", "openssh-server"),
    *("linux-image-cloud-amd64", "initramfs-tools"),
)
# what the machine has: an initrd with all of Debian's drivers is several times as large, and unpacked at every start
_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "ext4")
_DEBIAN_PYTHON = "3.11"
_HERE = Path(__file__).parent / "guest"
_DISK_MIB = 1500
_SECONDS = 1800
_FIRST_BYTES_SECONDS = 20


@dataclass(frozen=True)
class Guest:
    """Files of the machine: its disk (to be laid over, never written), kernel, initrd and the key for root's ssh."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"


def make(release: Release, process: Process, reporter: Reporter) -> Guest:
    """The guest with this release on it; made when there is none of that content."""
    if platform.machine() != "x86_64":
        raise SystemExit(f"the virtual machine is x86-64 only, and this one is {platform.machine()}")
    if os.geteuid() != 0:
        raise SystemExit(
            "making the guest's disk takes root; leave machines out by --only kubernetes --only compose ..."
        )
    home = cache_directory() / "bench" / "guest"
    system = home / f"system-{_digest(_DEBIAN_PACKAGES)}"
    guest = Guest(home / _digest([_DEBIAN_PACKAGES, SETTINGS, *_contents(release)]))
    log = cache_directory() / "log" / "guest.log"
    if not system.exists():
        with step(reporter, "install the guest's Debian", log=log):
            _install(system, process, log)
    if not guest.directory.exists():
        with step(reporter, "write the guest's disk", log=log):
            _write(system, guest, release, process, log)
            for old in home.iterdir():
                if old != guest.directory and not old.name.startswith("system-"):
                    shutil.rmtree(old)
    return guest


def accelerator(guest: Guest) -> tuple[str, str]:
    """QEMU's accelerator, and why it is not KVM. Where KVM can only run kernels made for it (PVM in a nested machine),
    it is there, takes the kernel and never gets to its first line: so it is tried."""
    if not Path("/dev/kvm").exists():
        return "tcg", "there is no /dev/kvm"
    argv = [
        *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256", "-display", "none", "-nodefaults"),
        *("-serial", "stdio", "-no-reboot", "-kernel", str(guest.kernel)),
        *("-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"),
    ]
    tried = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = tried.communicate(timeout=_FIRST_BYTES_SECONDS)
    except subprocess.TimeoutExpired:
        tried.kill()
        said, _ = tried.communicate()
    if b"Linux version" in said:
        return "kvm", ""
    return "tcg", f"KVM did not get Debian's kernel to its first line within {_FIRST_BYTES_SECONDS} s"


# -- making it ---------------------------------------------------------------------------------------------------------


def _install(system: Path, process: Process, log: Path) -> None:
    part = _emptied(system)
    process.stream(
        [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
            f"--include={','.join(_DEBIAN_PACKAGES)}",
            *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale", "info")),
            *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Retries 3", "bookworm", str(part)),
        ],
        doing="installing the guest's Debian",
        deadline_seconds=_SECONDS,
        log=log,
    )
    part.rename(system)


def _write(system: Path, guest: Guest, release: Release, process: Process, log: Path) -> None:
    part = _emptied(guest.directory)
    part.mkdir()

    def run(doing: str, *argv: str) -> None:
        process.stream(argv, doing=doing, deadline_seconds=_SECONDS, log=log)

    run("making the guest's key", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(part / "id_ed25519"))
    with tempfile.TemporaryDirectory(dir=guest.directory.parent) as directory:
        root = Path(directory) / "root"
        run("copying the guest's Debian", "cp", "--archive", str(system), str(root))
        run("installing the application's packages", *_pip(root / "opt/packages"))
        # as in the container image: bytecode is there before the first start
        run("compiling packages", "chroot", str(root), "python3", "-m", "compileall", "-q", "/opt/packages")
        _configure(root, part / "id_ed25519.pub", release)
        (root / "etc/initramfs-tools/modules").write_text("\n".join(_DRIVERS) + "\n")
        kernel = next((root / "lib/modules").iterdir()).name
        (root / "etc/initramfs-tools/conf.d/drivers").write_text("MODULES=list\n")
        made = ("mkinitramfs", "-o", f"/boot/initrd.img-{kernel}", kernel)
        run("making the guest's initrd", "chroot", str(root), *made)
        for name, found in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            shutil.copy(next((root / "boot").glob(found)), part / name)
        disk = str(part / "disk.img")
        run("writing the guest's disk", "mke2fs", "-q", "-t", "ext4", "-d", str(root), disk, f"{_DISK_MIB}M")
    part.rename(guest.directory)


def _pip(target: Path) -> list[str]:
    """For the guest's Python, whatever this one is."""
    platforms = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--target", str(target), "--python-version", _DEBIAN_PYTHON, "--implementation", "cp"),
        *(f"--platform={each}" for each in platforms),
        *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(ROOT / "app/requirements.lock")),
    ]


def _configure(root: Path, public_key: Path, release: Release) -> None:
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(public_key, ssh / "authorized_keys")
    code = root / "srv/releases" / release.version
    shutil.copytree(Path(release.root) / "app", code / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "srv/app").symlink_to(f"releases/{release.version}/app")
    (root / "etc/flask-hello.env").write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))
    shutil.copy(_HERE / "10-network.network", root / "etc/systemd/network/10-network.network")
    shutil.copy(_HERE / "flask-hello.service", root / "etc/systemd/system/flask-hello.service")
    # the root file system is on the first disk, and nothing else is to be waited for
    (root / "etc/fstab").write_text("/dev/vda / ext4 noatime 0 1\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/machine-id").write_text(hashlib.sha256(release.version.encode()).hexdigest()[:32] + "\n")
    for unit in ("systemd-networkd.service", "flask-hello.service"):
        # the guest's own: this machine may have none
        subprocess.run(["chroot", root, "systemctl", "enable", "--quiet", unit], check=True, timeout=60)


def _emptied(path: Path) -> Path:
    """A name beside `path` with nothing under it; renamed when all is there."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    return part


def _contents(release: Release) -> list[bytes]:
    app = Path(release.root) / "app"
    files = sorted(path for path in app.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path.read_bytes() for path in (Path(__file__), *sorted(_HERE.iterdir()), *files)]


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
