"""A proxy before the API server that counts Helm's writes and can kill at the n-th. Also for bench/.

It listens on 127.0.0.1 without TLS and asks the API server with the kube context's own certificate. Its address holds a
secret path, so that nobody else on this machine uses it. It finds out who writes by Linux' /proc.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from kubernetes import config

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "te", "trailer"})
_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Write:
    """One of Helm's writes: its number from 1, what it asked for, and Helm's process."""

    number: int
    method: str
    path: str
    pid: int

    def __str__(self) -> str:
        return f"{self.number}: {self.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Kill:
    """SIGKILL at Helm's write `number`: before the API server hears of it, or once it is done there but Helm doesn't
    know. Helm is hit, unless it is spared; `also` is called at the same moment."""

    number: int
    done: bool
    spare_helm: bool = False
    also: Callable[[], None] = lambda: None


class Proxy:
    """What went through. `killed` is the write at which the kill came, None before it."""

    def __init__(self, kubeconfig: Path, kill: Kill | None) -> None:
        self.environment = {"KUBECONFIG": str(kubeconfig)}
        self.writes: list[Write] = []
        self.killed: Write | None = None
        self._kill = kill
        self._lock = threading.Lock()

    def counted(self, method: str, path: str, pid: int) -> Write:
        with self._lock:
            write = Write(len(self.writes) + 1, method, path, pid)
            self.writes.append(write)
            return write

    def strike(self, write: Write, *, done: bool) -> bool:
        """Kill if this is the moment; tells whether Helm is dead, so that its request ends here."""
        if self._kill is None or (write.number, done) != (self._kill.number, self._kill.done):
            return False
        if not self._kill.spare_helm:
            os.kill(write.pid, signal.SIGKILL)
        self._kill.also()
        self.killed = write
        return not self._kill.spare_helm


@contextmanager
def counting(context: str, directory: Path, kill: Kill | None = None) -> Iterator[Proxy]:
    """A proxy to the cluster of `context`. With its `environment`, programs take it for that very context."""
    secret = secrets.token_urlsafe(16)
    kubeconfig = directory / f"kubeconfig-{secret[:8]}"
    proxy = Proxy(kubeconfig, kill)
    with _Server(("127.0.0.1", 0), _handler(context, f"/{secret}", proxy)) as server:
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(context, f"http://127.0.0.1:{server.server_port}/{secret}")))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a watch ends when the API server ends it: nobody waits for that

    def handle_error(self, *_: object) -> None:
        """Silent: killed clients break their connections, which is what this is for."""


def _kubeconfig(context: str, server: str) -> Mapping[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": "proxy", "user": "nobody"}}],
        "current-context": context,
    }


def _handler(context: str, secret: str, proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    upstream = config.new_client_from_config(context=context).configuration
    address = urlsplit(upstream.host)
    assert address.hostname, upstream.host
    host, port = address.hostname, address.port
    tls = ssl.create_default_context(cafile=upstream.ssl_ca_cert)
    tls.load_cert_chain(upstream.cert_file, upstream.key_file)

    class Handler(BaseHTTPRequestHandler):
        """One client connection, and the one to the API server that belongs to it."""

        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self._upstream = http.client.HTTPSConnection(host, port, context=tls)

        def finish(self) -> None:
            self._upstream.close()
            with suppress(OSError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Silent."""

        def do_any(self) -> None:
            if not self.path.startswith(f"{secret}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            write = self._write()
            if write and proxy.strike(write, done=False):
                self.close_connection = True
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            self._upstream.request(self.command, self.path.removeprefix(secret), body, headers)
            with self._upstream.getresponse() as response:
                if write and proxy.strike(write, done=True):
                    self.close_connection = True
                    return
                self._answer(response)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

        def _write(self) -> Write | None:
            """This request as a counted write; None when it is not one of Helm's. Dry runs write nothing."""
            helm = self.headers.get("User-Agent", "").startswith("Helm/")
            if not helm or self.command not in WRITES or "dryRun=All" in self.path:
                return None
            pid = _process_at(self.client_address[1], self.connection.getsockname()[1])
            return proxy.counted(self.command, self.path.removeprefix(secret), pid)

        def _answer(self, response: http.client.HTTPResponse) -> None:
            """Pass on what comes as it comes: a watch goes on for minutes."""
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            chunked = response.length is None
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while chunk := response.read1(_CHUNK_BYTES):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")

    return Handler


def _process_at(port: int, other_port: int) -> int:
    """The process of this machine that holds the end `port` of a connection to our `other_port`."""
    wanted = (f"0100007F:{port:04X}", f"0100007F:{other_port:04X}")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if (row[1], row[2]) == wanted)
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # processes come and go, and some are not ours to see
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return int(descriptor.parts[2])
    raise LookupError(f"no process holds the connection from port {port}")
