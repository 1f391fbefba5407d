"""Sends requests through a Service while it is being changed: from here where it answers here, else from a pod."""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Any

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from releaser.models import Probed, Receipt, Reporter

_POD_SECONDS = 3600
_START_SECONDS = 20.0
_END_SECONDS = 10.0


class Watching:
    """The newest figures of a prober at work."""

    def __init__(self, reporter: Reporter, rate_per_second: float) -> None:
        self._reporter = reporter
        self.receipt = Receipt(0, 0, 0.0, 0.0, 0.0, rate_per_second)
        self.answered = threading.Event()
        self.ended = threading.Event()

    def tell(self, line: str) -> None:
        """One line of the prober's output."""
        try:
            figures: dict[str, Any] = json.loads(line)
        except ValueError:
            return  # not the prober's: a warning of the interpreter
        self.receipt = replace(
            self.receipt,
            sent=figures["sent"],
            failed=figures["failed"],
            longest_gap_seconds=figures["longest_gap_seconds"],
            p50_seconds=figures["p50_seconds"],
            p99_seconds=figures["p99_seconds"],
            versions=_counts(figures["versions"]),
            pods=_counts(figures["pods"]),
            errors=_counts(figures["errors"]),
        )
        self._reporter.emit(Probed(self.receipt))
        self.answered.set()
        if figures["final"]:
            self.ended.set()


class ServiceProber:
    def __init__(self, cluster: Cluster, process: Process, reporter: Reporter) -> None:
        self._cluster = cluster
        self._process = process
        self._reporter = reporter

    @contextmanager
    def probe(self, namespace: str, service: str, image: str, rate_per_second: float, path: str) -> Iterator[Watching]:
        """Requests until the context ends. Raises EnvironmentUnfit when none can be sent."""
        watching = Watching(self._reporter, rate_per_second)
        url = self._cluster.url_from_here(namespace, service)
        arguments = ["--rate", f"{rate_per_second:g}"]
        if url:
            argv = [sys.executable, "-c", _source(), f"{url}{path}", *arguments, "--stdin"]
            with self._process.beside(argv, doing="sending requests", on_line=watching.tell):
                yield watching
            return
        port = self._cluster.service_port(namespace, service)
        argv = ["python", "-c", _source(), f"http://{service}.{namespace}.svc:{port}{path}", *arguments]
        with self._in_a_pod(namespace, image, argv, watching):
            yield watching

    @contextmanager
    def _in_a_pod(self, namespace: str, image: str, argv: list[str], watching: Watching) -> Iterator[None]:
        name = f"releaser-probe-{secrets.token_hex(4)}"
        self._cluster.create_pod(namespace, _pod(name, image, argv))
        try:
            reader = threading.Thread(target=self._read, args=(namespace, name, watching), daemon=True)
            reader.start()
            if not watching.answered.wait(_START_SECONDS):
                raise EnvironmentUnfit(
                    f"While starting the pod {name} in {namespace}: it sent nothing within {_START_SECONDS:.0f} s"
                )
            yield
        finally:
            # SIGTERM brings its last figures, which the log still has while it is going
            self._cluster.delete_pod(namespace, name)
            watching.ended.wait(_END_SECONDS)

    def _read(self, namespace: str, name: str, watching: Watching) -> None:
        try:
            self._cluster.await_running(namespace, name, _START_SECONDS)
            for line in self._cluster.follow_log(namespace, name, "probe", lines=1):
                watching.tell(line)
        except EnvironmentUnfit:
            return  # no figures come: that is told by whoever waits for them


def _counts(figures: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(figures.items()))


def _source() -> str:
    return (files("releaser") / "prober.py").read_text(encoding="utf-8")


def _pod(name: str, image: str, argv: list[str]) -> dict[str, Any]:
    """Meets the Pod Security Standard `restricted`, and bears no label by which a Service could find it."""
    return {
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "releaser", "app.kubernetes.io/component": "probe"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _POD_SECONDS,
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": argv,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {
                        "requests": {"cpu": "20m", "memory": "48Mi"},
                        "limits": {"cpu": "500m", "memory": "128Mi"},
                    },
                }
            ],
        },
    }
