"""Ports of the loopback interface that nobody listens on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Each call gives another, as long as the process lasts."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


_given: set[int] = set()
