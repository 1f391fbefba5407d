"""The command line against the real Minikube: each site is a project of its own with namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from kubernetes import client

from releaser.adapters.cluster import Cluster
from tests.conftest import ROOT, make_namespace

NODE_PORT = 31190  # dev itself may hold 31181


def eventually(what: str, probe: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true answer. Fails with what was awaited."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := probe():
            return answer
        time.sleep(0.5)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


@dataclass
class Site:
    """A copy of this project that releases into namespaces of its own."""

    root: Path
    namespaces: dict[str, str]
    cluster: Cluster

    def releaser(
        self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            [sys.executable, "-m", "releaser", "--project", str(self.root), *arguments],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    def json(self, *arguments: str) -> Any:
        return json.loads(self.releaser("--output", "json", *arguments).stdout)

    def values(self, environment: str, **changed: Any) -> None:
        """Lay values over those that the environment has."""
        path = self.root / f"values-{environment}.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changed.items():
            if isinstance(value, dict):
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
        path.write_text(yaml.safe_dump(values))

    def verdicts(self, environment: str) -> list[tuple[int, str]]:
        return [(r["number"], r["verdict"]) for r in self.json("history", environment)["revisions"]]

    def get(self, path: str = "/") -> dict[str, Any]:
        """What the service answers over its NodePort."""
        url = f"http://{self.cluster.node_ip()}:{NODE_PORT}{path}"
        answer: dict[str, Any] = requests.get(url, timeout=5, headers={"Accept": "application/json"}).json()
        return answer


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster, core: client.CoreV1Api, context: str) -> Iterator[Site]:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("app", "charts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "Dockerfile",
        ".dockerignore",
        "values-dev.yaml",
        "values-prod.yaml",
        "lintconf.yaml",
        "chart_schema.yaml",
    ):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name)
    namespaces = {name: make_namespace() for name in ("dev", "prod")}
    settings = {
        name: {"context": context, "namespace": namespace, "protected": name == "prod", "deadlineSeconds": 120}
        for name, namespace in namespaces.items()
    }
    (root / "releaser.yaml").write_text(yaml.safe_dump({"release": "flask-hello", "environments": settings}))
    site = Site(root, namespaces, cluster)
    site.values("dev", service={"nodePort": NODE_PORT})
    for namespace in namespaces.values():
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace, labels=labels)))
    yield site
    for namespace in namespaces.values():
        core.delete_namespace(namespace, propagation_policy="Background")
    # the NodePort is free again only when the Service is gone
    eventually("the NodePort is free again", lambda: cluster.node_port_holder(NODE_PORT) is None)
