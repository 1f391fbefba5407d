"""Programs of Debian's packages that tests run, without installing them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from releaser.adapters.tools import cache_directory


def unpacked(name: str, *packages: str) -> Path:
    """The root directory of these packages, unpacked under this name where they disturb nobody."""
    root = cache_directory() / name
    if not (root / "done").exists():
        files = root / "packages"
        files.mkdir(parents=True, exist_ok=True)
        finished = subprocess.run(["apt-get", "download", *packages], cwd=files, capture_output=True, timeout=300)
        assert finished.returncode == 0, f"{name} comes from Debian's packages: {finished.stderr.decode()}"
        for package in files.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True, timeout=120)
        (root / "done").touch()
    return root
