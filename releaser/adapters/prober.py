"""Runs releaser/prober.py against a Service: here where the Service can be reached from here, else in a pod beside it.

The script's lines carry counters since its start, so the newest line is the receipt and a lost line is no loss.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from releaser import prober
from releaser.adapters.cluster import Cluster
from releaser.adapters.pods import program_pod
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit, ReleaserError
from releaser.models import Note, Probed, Receipt, Reporter

_SCRIPT = Path(prober.__file__)
_CONTAINER = "probe"
_LABELS = {"app.kubernetes.io/managed-by": "releaser", "app.kubernetes.io/component": "probe"}
_SERVICE = "releaser/probed-service"
# Ends a prober that a killed releaser left behind.
_LONGEST_SECONDS = 3600
_REQUEST_SECONDS = 15
_CONNECT_SECONDS = 1.0
_TIMEOUT_SECONDS = 5
_START_SECONDS = 30
# What enforces NetworkPolicies knows a new pod a little after it runs.
_NETWORK_SECONDS = 15
# The answers still due have their timeout; then come the last line and the way that it takes.
_ENDING_SECONDS = _TIMEOUT_SECONDS + 5
_FATAL_WAITS = {
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
}


class ServiceProber:
    """Satisfies flows' Prober. Each new line is also reported, as Probed."""

    def __init__(self, cluster: Cluster, process: Process, reporter: Reporter) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)
        self._process = process
        self._reporter = reporter

    @contextmanager
    def probe(self, namespace: str, service: str, image: str, rate_per_second: float, path: str) -> Iterator[_Probing]:
        """Ask `service` until the context ends; the first request has been sent when it begins.

        `image` is one with Python that the nodes have, for a pod that is needed where the Service has no address that
        answers from here. Raises EnvironmentUnfit where no prober can be started; what it runs into later is told by
        the receipt's `trouble`.
        """
        found = self._service(namespace, service)
        probing = _Probing(rate_per_second, self._reporter)
        arguments = [
            *("--path", path, "--rate", str(rate_per_second)),
            *("--timeout", str(_TIMEOUT_SECONDS), "--for", str(_LONGEST_SECONDS)),
        ]
        url = next((url for url, address in self._outside(found) if _answers(address)), "")
        if url:
            with self._here([url, *arguments], probing):
                yield probing
        else:
            inner = [_inner_url(found), *arguments, "--await", str(_NETWORK_SECONDS)]
            with self._inside(namespace, service, image, inner, probing):
                yield probing

    # -- here ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _here(self, arguments: list[str], probing: _Probing) -> Iterator[None]:
        # isolated: neither releaser's directory nor PYTHON* variables lead it to other modules
        argv = [sys.executable, "-I", str(_SCRIPT), *arguments]
        doing = f"probing {arguments[0]}"
        with (
            probing.ended(),
            self._process.held(
                argv, doing=doing, on_line=probing.read, on_end=probing.wake, ending_seconds=_ENDING_SECONDS
            ),
        ):
            probing.require_start(doing)
            with probing.wanted():
                yield

    # -- in a pod ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _inside(
        self, namespace: str, service: str, image: str, arguments: list[str], probing: _Probing
    ) -> Iterator[None]:
        name = f"releaser-probe-{secrets.token_hex(4)}"
        self._remove_old(namespace, service)
        with probing.ended():
            try:
                self._create(namespace, _pod(name, service, image, arguments))
                self._require_running(namespace, name)
                follower = threading.Thread(target=self._follow, args=(namespace, name, probing), daemon=True)
                follower.start()
                probing.require_start(f"probing from pod {name} in {namespace}")
                with probing.wanted():
                    yield
            finally:
                # SIGTERM makes the script write its last line, which the follower still reads
                if self._delete(namespace, name):
                    probing.final.wait(_ENDING_SECONDS)

    def _remove_old(self, namespace: str, service: str) -> None:
        """What a killed releaser left. There is one probing of a Service at a time."""
        labels = {**_LABELS, _SERVICE: service}
        with self._cluster.asking("looking for old probe pods"):
            pods = self._core.list_namespaced_pod(
                namespace,
                label_selector=",".join(f"{key}={value}" for key, value in labels.items()),
                _request_timeout=_REQUEST_SECONDS,
            ).items
        for pod in pods:
            self._delete(namespace, pod.metadata.name)

    def _create(self, namespace: str, pod: client.V1Pod) -> None:
        doing = f"starting a probe pod in {namespace}"
        with self._cluster.asking(doing):
            try:
                self._core.create_namespaced_pod(namespace, pod, _request_timeout=_REQUEST_SECONDS)
            except ApiException as exc:
                raise EnvironmentUnfit(
                    f"While {doing}: the API server refused it ({exc.status} {exc.reason})",
                    detail=_message(exc),
                    hint="allow pods with the label app.kubernetes.io/component=probe there, or set the environment's "
                    "probe.ratePerSecond to 0",
                ) from exc

    def _require_running(self, namespace: str, name: str) -> None:
        doing = f"waiting for pod {name} in {namespace} to run"
        last = "nothing is known of it"
        with self._cluster.asking(doing):
            changes = watch.Watch().stream(
                self._core.list_namespaced_pod,
                namespace,
                field_selector=f"metadata.name={name}",
                timeout_seconds=_START_SECONDS,
                _request_timeout=_START_SECONDS + _REQUEST_SECONDS,
            )
            with closing(changes):
                for change in changes:
                    running, fatal, last = _state(change["object"])
                    if running:
                        return
                    if fatal:
                        break
        raise EnvironmentUnfit(
            f"While {doing}: {last}", hint=f"kubectl --context {self._cluster.context} -n {namespace} get events"
        )

    def _follow(self, namespace: str, name: str, probing: _Probing) -> None:
        """Read the log up to the final line; a stream that breaks is taken up again at its newest line."""
        while not probing.final.is_set():
            try:
                for line in self._cluster.follow_log(namespace, name, _CONTAINER, lines=1):
                    probing.read(line)
            except ReleaserError as exc:
                probing.last_words = exc.message
            if probing.over.wait(1.0):
                return

    def _delete(self, namespace: str, name: str) -> bool:
        """Whether there was such a pod. Never raises: a pod that stays ends by itself."""
        try:
            with self._cluster.asking(f"removing pod {name} in {namespace}"):
                try:
                    self._core.delete_namespaced_pod(name, namespace, _request_timeout=_REQUEST_SECONDS)
                except ApiException as exc:
                    if exc.status != 404:
                        raise
                    return False
        except ReleaserError as exc:
            self._reporter.emit(Note(f"{exc.message}; it ends by itself after {_LONGEST_SECONDS} s", warning=True))
            return False
        return True

    # -- the Service ---------------------------------------------------------------------------------------------------

    def _service(self, namespace: str, name: str) -> client.V1Service:
        with self._cluster.asking(f"asking for the Service {name} in {namespace}"):
            return self._core.read_namespaced_service(name, namespace, _request_timeout=_REQUEST_SECONDS)

    def _outside(self, service: client.V1Service) -> Iterator[tuple[str, tuple[str, int]]]:
        """Where it may answer from here, as URL and as host and port."""
        port = service.spec.ports[0]
        for ingress in service.status.load_balancer.ingress or []:
            host = ingress.ip or ingress.hostname
            yield _url(host, port.port), (host, port.port)
        if port.node_port:
            host = self._cluster.node_ip()
            yield _url(host, port.node_port), (host, port.node_port)


class _Probing:
    """The newest line of the script, and whether it was the last and came when it was wanted."""

    def __init__(self, rate_per_second: float, reporter: Reporter) -> None:
        self._counted = Receipt(0, 0, 0.0, 0.0, 0.0, rate_per_second)
        self._trouble = ""
        self.last_words = ""
        self.final = threading.Event()
        self.over = threading.Event()
        self._started = False
        self._awaited = threading.Event()
        self._wanted = False
        self._reporter = reporter

    @property
    def receipt(self) -> Receipt:
        return replace(self._counted, trouble=self._trouble)

    def read(self, line: str) -> None:
        document = _document(line)
        if document is None:
            self.last_words = line or self.last_words
            return
        self._counted = _receipt(document)
        self._reporter.emit(Probed(self._counted, document["elapsed_seconds"]))
        self._started = True
        self.wake()
        if document["final"]:
            if self._wanted:
                self._trouble = f"the prober ended too soon, after {document['elapsed_seconds']:.0f} s"
            self.final.set()

    def wake(self) -> None:
        """Nobody need wait for lines any more."""
        self._awaited.set()

    def require_start(self, doing: str) -> None:
        self._awaited.wait(_START_SECONDS)
        if not self._started:
            raise EnvironmentUnfit(f"While {doing}: the prober counted nothing", detail=self.last_words)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """As long as the service is to be asked: an end in here is too soon."""
        self._wanted = True
        try:
            yield
        finally:
            self._wanted = False

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Around everything: afterwards there are no more lines."""
        try:
            yield
        finally:
            self.over.set()
            if not self.final.is_set():
                self._trouble = f"the prober's last line is missing; {self.last_words}".rstrip("; ")


def _document(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) and "longest_gap_seconds" in document else None


def _receipt(document: dict[str, Any]) -> Receipt:
    def counted(name: str) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(document[name].items(), key=lambda item: (-item[1], item[0])))

    return Receipt(
        sent=document["sent"],
        failed=document["failed"],
        longest_gap_seconds=document["longest_gap_seconds"],
        p50_seconds=document["p50_seconds"],
        p99_seconds=document["p99_seconds"],
        rate_per_second=document["rate_per_second"],
        versions=counted("versions"),
        pods=counted("pods"),
        errors=counted("errors"),
    )


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _inner_url(service: client.V1Service) -> str:
    """By address, so that no request waits for a name; a headless Service has none."""
    address, port = service.spec.cluster_ip, service.spec.ports[0].port
    if not address or address == "None":
        return _url(f"{service.metadata.name}.{service.metadata.namespace}.svc", port)
    return _url(address, port)


def _pod(name: str, service: str, image: str, arguments: list[str]) -> client.V1Pod:
    """It lacks the release's instance label: neither its Service nor its rollout may take it for one of their pods."""
    return program_pod(
        name,
        {**_LABELS, _SERVICE: service},
        image,
        [_SCRIPT.read_text(encoding="utf-8"), *arguments],
        container=_CONTAINER,
        cpu="50m",
        longest_seconds=_LONGEST_SECONDS + 60,
        grace_seconds=_ENDING_SECONDS,
    )


def _state(pod: client.V1Pod) -> tuple[bool, bool, str]:
    """Does it run, is there no hope that it will, and what is said of it."""
    for status in pod.status.container_statuses or []:
        state = status.state
        if state.running:
            return True, False, "running"
        if state.terminated:
            return False, True, f"it ended with exit code {state.terminated.exit_code}"
        if state.waiting and state.waiting.reason in _FATAL_WAITS:
            return False, True, state.waiting.message or state.waiting.reason
    unschedulable = next((c.message for c in pod.status.conditions or [] if c.reason == "Unschedulable"), None)
    return False, False, unschedulable or f"it is {(pod.status.phase or 'pending').lower()}"


def _message(exc: ApiException) -> str:
    """What the API server says in its answer."""
    try:
        return str(json.loads(exc.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(exc.body or "")[:300]
