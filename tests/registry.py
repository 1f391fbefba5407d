"""A real registry (distribution's) with TLS and passwords, and a way between it and its users that can be disturbed."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bcrypt
import trustme
import yaml

from checks.build import program

USER, PASSWORD = "ann", "correct horse"
_SECONDS = 30.0
# Docker reads them at each request.
_CERTIFICATES = Path("/etc/docker/certs.d")


@dataclass
class Weather:
    """How the way to the registry is: answers to give in place of the registry's own when a manifest comes, and when
    one is asked for (Docker does not try these again by itself); and whether anything gets through that is larger than
    `stuck_at` bytes. What doesn't is not answered before it `cleared`, and lost then."""

    answers: list[int] = field(default_factory=list)
    to_questions: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    bytes_taken: int = 0
    stuck_at: int | None = None
    stuck: threading.Event = field(default_factory=threading.Event)
    cleared: threading.Event = field(default_factory=threading.Event)

    def answer(self, command: str, path: str) -> int:
        """The status to answer with; 0 for the registry's own."""
        answers = {"PUT": self.answers, "GET": self.to_questions, "HEAD": self.to_questions}.get(command)
        if not answers or "/manifests/" not in path:
            return 0
        self.given.append(answers.pop(0))
        return self.given[-1]


@dataclass(frozen=True)
class Served:
    """HOST:PORT, its CA's certificate, a docker config directory that knows the password, and the weather."""

    address: str
    ca: Path
    docker_config: Path
    weather: Weather
    data: Path


@contextmanager
def registry(directory: Path, host: str, *, tls: bool = True) -> Iterator[Served]:
    """Listens at an address of this machine that the cluster's nodes reach too. Without TLS Docker only talks to what
    listens at the machine itself."""
    directory.mkdir(parents=True, exist_ok=True)
    ca = trustme.CA()
    (directory / "ca.crt").write_bytes(ca.cert_pem.bytes())
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text(f"{USER}:{hashed}\n")
    inner = _free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "auth": {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}},
        # what it says of where to go on must be the way's address, not its own
        "http": {"addr": f"127.0.0.1:{inner}", "relativeurls": True},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    weather = Weather()
    with (directory / "log").open("wb") as log:
        served = subprocess.Popen([program("registry"), "serve", directory / "config.yaml"], stdout=log, stderr=log)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context:
        ca.issue_cert(host).configure_cert(context)
    way = _Server((host, 0), _way(inner, weather), context)
    threading.Thread(target=way.serve_forever, daemon=True).start()
    address = f"{host}:{way.server_address[1]}"
    trusted = _CERTIFICATES / address
    try:
        _await(inner)
        if tls:
            trusted.mkdir(parents=True)
            (trusted / "ca.crt").write_bytes(ca.cert_pem.bytes())
        docker_config = directory / "docker"
        write_login(docker_config, address)
        yield Served(address, directory / "ca.crt", docker_config, weather, directory / "data")
    finally:
        way.shutdown()
        way.server_close()
        served.terminate()
        served.wait(_SECONDS)
        (trusted / "ca.crt").unlink(missing_ok=True)
        if trusted.exists():
            trusted.rmdir()


def write_login(directory: Path, address: str, password: str = PASSWORD) -> None:
    """As `docker login` does without a credential helper."""
    directory.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))


@contextmanager
def trusted_by(node: str, served: Served) -> Iterator[None]:
    """The node's containerd takes the registry's certificate."""
    place = f"/etc/containerd/certs.d/{served.address}"
    hosts = f'server = "https://{served.address}"\n[host."https://{served.address}"]\n  ca = "{place}/ca.crt"\n'
    script = f"mkdir -p {place} && cat > {place}/ca.crt && printf '%s' '{hosts}' > {place}/hosts.toml"
    subprocess.run(
        ["docker", "exec", "-i", node, "sh", "-c", script], input=served.ca.read_bytes(), check=True, timeout=30
    )
    try:
        yield
    finally:
        subprocess.run(["docker", "exec", node, "rm", "-rf", place], check=True, timeout=30)


class _Server(ThreadingHTTPServer):
    """Each connection's handshake in its own thread: one that never comes holds up nobody else."""

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None
    ) -> None:
        super().__init__(address, handler)
        self._context = context

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        with suppress(OSError), ExitStack() as stack:
            if self._context:
                request = stack.enter_context(self._context.wrap_socket(request, server_side=True))
            super().finish_request(request, client_address)  # type: ignore[arg-type]


def _way(inner: int, weather: Weather) -> type[BaseHTTPRequestHandler]:
    class Way(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # what can't be read, such as the beginning of TLS where there is none, is answered like anything else
        default_request_version = "HTTP/1.0"

        def _pass_on(self) -> None:
            body = self._body()
            weather.bytes_taken += len(body)
            if weather.stuck_at is not None and len(body) > weather.stuck_at:
                weather.stuck.set()
                weather.cleared.wait(_SECONDS)
                self.close_connection = True
                return
            if status := weather.answer(self.command, self.path):
                self._answer(status, {"Content-Type": "application/json"}, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')
                return
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            headers.pop("Transfer-Encoding", None)
            connection = HTTPConnection("127.0.0.1", inner, timeout=_SECONDS)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
            finally:
                connection.close()

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
            if self.command != "HEAD":
                kept["Content-Length"] = str(len(body))
            for name, value in kept.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    return Way


_HOP_BY_HOP = ("transfer-encoding", "connection", "date", "server")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await(port: int) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
