"""A Service of the cluster on a local port, by `kubectl port-forward`."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import EnvironmentUnfit

_READY_SECONDS = 20.0


class KubectlForwarder:
    def __init__(self, process: Process, tools: Tools, context: str) -> None:
        self._process = process
        self._tools = tools
        self._context = context

    @contextmanager
    def forward(self, namespace: str, service: str) -> Iterator[str]:
        argv: list[str | Path] = [
            self._tools.path("kubectl"),
            *("--context", self._context, "--namespace", namespace),
            *("port-forward", f"service/{service}", ":80"),
        ]
        with self._process.running(argv, doing=f"forwarding service {service}") as lines:
            port = _first_port(lines)
            if port is None:
                raise EnvironmentUnfit(
                    f"While forwarding service {service}: kubectl named no port within {_READY_SECONDS:.0f} s",
                    hint="releaser -v open shows the command; repeat it by hand",
                )
            yield f"http://127.0.0.1:{port}"


def _first_port(lines: Iterator[str]) -> str | None:
    """kubectl says `Forwarding from 127.0.0.1:40123 -> 8080`; what follows is read away, so that it never blocks."""
    found: list[str] = []
    seen = threading.Event()

    def read() -> None:
        for line in lines:
            if match := re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                found.append(match[1])
                seen.set()
        seen.set()

    threading.Thread(target=read, daemon=True).start()
    seen.wait(_READY_SECONDS)
    return found[0] if found else None
