"""HAProxy before instances that bring no load balancer along: one configuration for Compose and for machines.

It is asked by `docker` from an image made here (haproxy/Dockerfile), which Compose and machines share.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import requests

from releaser.adapters.docker import LOCAL_BASE

IMAGE = "releaser-bench-proxy:1"
_DEBIAN = "releaser/debian:bookworm"  # made by `releaser up` where no registry answers
_HERE = Path(__file__).parent / "haproxy"
_BUILD_SECONDS = 900
_UP_SECONDS = 60.0


def build() -> None:
    """The image, from the local Debian where `releaser up` had to make one."""
    known = subprocess.run(["docker", "image", "inspect", LOCAL_BASE], capture_output=True, timeout=60).returncode == 0
    base = [f"--build-arg=BASE={_DEBIAN}"] if known else []
    argv = ["docker", "build", "--quiet", "--network=host", *base, "--tag", IMAGE, str(_HERE)]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_SECONDS)
    if finished.returncode:
        raise SystemExit(f"While building the proxy's image: docker build failed\n{finished.stderr[-2000:]}")


def configuration(bind: str, stats: str, servers: Sequence[str], more: str = "") -> str:
    """A request that meets a closed or closing instance is sent to another: that is what makes updates lossless.

    Asking /readyz twice a second takes an instance out before users notice, and back in when it answers.
    """
    lines = "\n".join(f"    {server}" for server in servers)
    return f"""global
    maxconn 512
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 15s
    timeout server 15s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
    option httpchk GET /readyz
    default-server check inter 500ms fall 1 rise 1
{more}frontend users
    bind {bind}
    default_backend web
frontend figures
    bind {stats}
    stats enable
    stats uri /
backend web
    balance roundrobin
{lines}
"""


def await_up(stats_url: str, instances: int) -> None:
    """Until the proxy sends requests to so many. Raises SystemExit after a minute."""
    end = time.monotonic() + _UP_SECONDS
    up = 0
    while time.monotonic() < end:
        try:
            up = _up(requests.get(f"{stats_url}/;csv", timeout=5).text)
        except requests.RequestException:
            up = 0
        if up >= instances:
            return
        time.sleep(0.1)
    raise SystemExit(f"While waiting for the proxy: after {_UP_SECONDS:.0f} s it knows {up} of {instances} instances")


def _up(csv: str) -> int:
    """Servers of the backend whose last check was good."""
    rows = [line.split(",") for line in csv.splitlines() if line.startswith("web,")]
    return sum(row[17].startswith("UP") for row in rows if row[1] not in ("BACKEND", "FRONTEND"))
