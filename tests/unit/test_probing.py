"""How a Service is found and asked from here: the real adapter, a little API server, a little service."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.prober import ServiceProber
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from releaser.flows.ports import Probing
from releaser.models import CommandRan, Probed
from tests.fakes import Recorder
from tests.unit.misbehaving import DEADLINE_SECONDS, Server, good, in_turn, reset, serving, whole, writing

NAMESPACE, SERVICE = "web-dev", "web"


@dataclass
class Kubernetes:
    """An API server with one Service and one node, which is this machine. It makes no pods: `asked` tells who tried."""

    ports: list[dict[str, int]] = field(default_factory=list)
    ingress: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cluster: Cluster = field(init=False)

    def expose(self, server: Server) -> None:
        """The server as the Service's NodePort."""
        self.ports = [{"port": 80, "nodePort": port_of(server)}]

    def answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {path}")
        if method == "GET" and path == "/api/v1/nodes":
            return 200, {"items": [{"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}]}
        if method == "GET" and path == f"/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}" and self.ports:
            spec = {"clusterIP": "127.0.0.1", "ports": self.ports}
            return 200, {"spec": spec, "status": {"loadBalancer": {"ingress": self.ingress}}}
        if method == "GET" and path == f"/api/v1/namespaces/{NAMESPACE}/pods":
            return 200, {"items": []}
        if method == "POST":
            return 403, {"message": 'pods "releaser-probe" is forbidden: exceeded quota'}
        return 404, {"message": f"{path} not found"}


class LittleCluster(Cluster):
    """Of an address, instead of a context of the kubeconfig."""

    def __init__(self, url: str) -> None:
        self.context = "little"
        self._api = client.ApiClient(client.Configuration(host=url))
        self._core = client.CoreV1Api(self._api)


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    made = Kubernetes()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, document = made.answer(self.command, self.path.partition("?")[0])
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        made.cluster = LittleCluster(f"http://127.0.0.1:{server.server_port}")
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()


@contextmanager
def probing(kubernetes: Kubernetes, reporter: Recorder, rate: float = 100, path: str = "/version") -> Iterator[Probing]:
    prober = ServiceProber(kubernetes.cluster, Process(reporter), reporter)
    with prober.probe(NAMESPACE, SERVICE, "web:1", rate, path) as found:
        yield found


def port_of(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


def eventually(what: str, probe: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not probe():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def children() -> list[int]:
    """Processes that this one started and that run the prober."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            words = status.read_text().rpartition(")")[2].split()
            if words[1] == str(os.getpid()) and b"releaser/prober.py" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
    return found


# -- where it asks -----------------------------------------------------------------------------------------------------


def url_asked(reporter: Recorder) -> str:
    """What the prober was started with."""
    [command] = [event for event in reporter.events if isinstance(event, CommandRan)]
    return next(word for word in command.argv if word.startswith("http://"))


def test_a_node_port_that_answers_is_asked_from_here(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter):
            pass
    assert url_asked(reporter) == server.url
    assert [each for each in kubernetes.asked if "pods" in each] == []


def test_a_load_balancer_that_answers_is_preferred_to_the_node_port(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as balancer, serving(good) as node:
        kubernetes.ports = [{"port": port_of(balancer), "nodePort": port_of(node)}]
        kubernetes.ingress = [{"hostname": "localhost"}]
        with probing(kubernetes, reporter):
            pass
    assert url_asked(reporter) == f"http://localhost:{port_of(balancer)}"


def test_a_load_balancer_that_does_not_answer_leaves_the_node_port(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as node:
        kubernetes.ports = [{"port": 1, "nodePort": port_of(node)}]
        kubernetes.ingress = [{"ip": "127.0.0.1"}]
        with probing(kubernetes, reporter):
            pass
    assert url_asked(reporter) == node.url


@pytest.mark.parametrize("ports", [[{"port": 80}], [{"port": 80, "nodePort": 1}]], ids=["no NodePort", "a dead one"])
def test_where_nothing_answers_from_here_a_pod_is_wanted_and_its_refusal_is_explained(
    kubernetes: Kubernetes, reporter: Recorder, ports: list[dict[str, int]]
) -> None:
    kubernetes.ports = ports
    with pytest.raises(EnvironmentUnfit) as caught, probing(kubernetes, reporter):
        raise AssertionError("it can't have started")
    assert f"POST /api/v1/namespaces/{NAMESPACE}/pods" in kubernetes.asked
    assert caught.value.message == "While starting a probe pod in web-dev: the API server refused it (403 Forbidden)"
    assert caught.value.detail == 'pods "releaser-probe" is forbidden: exceeded quota'
    assert "probe.ratePerSecond to 0" in caught.value.hint
    assert not any(isinstance(event, CommandRan) for event in reporter.events)


def test_a_service_that_is_not_there_is_named(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with pytest.raises(EnvironmentUnfit, match="asking for the Service web in web-dev"), probing(kubernetes, reporter):
        raise AssertionError("it can't have started")


# -- what it counts ----------------------------------------------------------------------------------------------------


def test_the_receipt_is_the_last_line_and_each_line_is_reported(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter, rate=50, path="/who") as found:
            eventually("20 answers", lambda: found.receipt.sent >= 20)
    receipt = found.receipt
    assert (receipt.failed, receipt.trouble, receipt.rate_per_second) == (0, "", 50)
    assert receipt.sent == len(server.heads) and server.heads[0].startswith("GET /who ")
    assert receipt.versions == (("1.0", receipt.sent),)
    told = [event for event in reporter.events if isinstance(event, Probed)]
    assert told[-1].receipt == receipt and told[0].receipt.sent < receipt.sent
    assert [event.elapsed_seconds for event in told] == sorted(event.elapsed_seconds for event in told)


def test_it_begins_with_a_request_that_was_sent(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter, rate=1) as found:
            assert found.receipt.sent == 1


def test_those_who_answered_most_stand_first(kubernetes: Kubernetes, reporter: Recorder) -> None:
    seldom, often = (writing(whole({"pod": name})) for name in ("web-a", "web-b"))
    with serving(in_turn(seldom, often, often, reset)) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter) as found:
            eventually("20 requests", lambda: found.receipt.sent >= 20)
    receipt = found.receipt
    assert [name for name, _ in receipt.pods] == ["web-b", "web-a"]
    assert receipt.errors == (("reset", receipt.failed),) and receipt.failed == receipt.sent // 4


def test_an_end_before_it_was_wanted_is_told_by_the_receipt(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter) as found:
            [child] = children()
            os.kill(child, signal.SIGTERM)
            eventually("the receipt's trouble", lambda: bool(found.receipt.trouble))
    assert found.receipt.trouble.startswith("the prober ended too soon, after ")
    assert found.receipt.sent > 0


def test_a_prober_that_was_killed_is_told_by_the_receipt(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with probing(kubernetes, reporter) as found:
            eventually("10 answers", lambda: found.receipt.sent >= 10)
            [child] = children()
            os.kill(child, signal.SIGKILL)
    assert found.receipt.trouble == "the prober's last line is missing"
    assert found.receipt.sent >= 10  # what was known by then


def test_it_ends_with_the_context_whatever_happened_in_there(kubernetes: Kubernetes, reporter: Recorder) -> None:
    with serving(good) as server:
        kubernetes.expose(server)
        with pytest.raises(ZeroDivisionError), probing(kubernetes, reporter) as found:
            assert len(children()) == 1
            raise ZeroDivisionError
    assert children() == []
    assert found.receipt.trouble == ""
