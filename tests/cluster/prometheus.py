"""Debian's Prometheus on this machine, scraping the pods of a release in the real cluster through the API server.

Debian's build can't discover targets in Kubernetes by itself: a thread here writes them into a file, as the endpoints
of the Service have them - pods that aren't ready, too, but none that is leaving.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from releaser.adapters.cluster import Cluster
from releaser.errors import EnvironmentUnfit
from tests.cluster.debian import unpacked
from tests.cluster.site import eventually

HASTE = 60
"""The rules' durations are divided by this: minutes become seconds."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Labels = dict[str, str]


def hastened(spec: dict[str, Any]) -> dict[str, Any]:
    """A PrometheusRule's spec with every range and every `for` divided by HASTE."""

    def shorter(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * _SECONDS[match[3]] // HASTE}s{match[4]}"

    text = yaml.safe_dump(spec, width=1000)
    text = re.sub(r"(\[)(\d+)([smhd])(\])", shorter, text)
    text = re.sub(r"( for: )(\d+)([smhd])(\n)", shorter, text)
    return dict(yaml.safe_load(text))


@dataclass(frozen=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """The labels and the value of each series now."""
        found = self._get("query", {"query": expression})
        return [(each["metric"], float(each["value"][1])) for each in found]

    def points(self, expression: str, start: float, end: float, step_seconds: float) -> list[tuple[Labels, int]]:
        """The labels of each series, and how many points it has at these steps."""
        parameters = {"query": expression, "start": start, "end": end, "step": step_seconds}
        return [(each["metric"], len(each["values"])) for each in self._get("query_range", parameters)]

    def _get(self, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", f"{parameters}: {answer}"
        return list(answer["data"]["result"])


@contextmanager
def prometheus(
    directory: Path, cluster: Cluster, namespace: str, release: str, rules: dict[str, Any]
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes and evaluates once a second, with `rules` in haste; gone afterwards."""
    program = unpacked("prometheus", "prometheus") / "usr" / "bin" / "prometheus"
    api = cluster.api.configuration
    directory.mkdir()
    (directory / "rules.yaml").write_text(yaml.safe_dump(hastened(rules)))
    scrape = {
        "job_name": release,
        "scheme": "https",
        "tls_config": {"ca_file": api.ssl_ca_cert, "cert_file": api.cert_file, "key_file": api.key_file},
        "file_sd_configs": [{"files": ["targets.json"]}],
    }
    seconds = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    settings = {"global": seconds, "rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (directory / "targets.json").write_text("[]")
    port = _free_port()
    argv = [
        program,
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    ended = threading.Event()
    discovery = threading.Thread(target=_discover, args=(directory, cluster, namespace, release, ended))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=directory, stdout=log, stderr=log)
    try:
        discovery.start()
        url = f"http://127.0.0.1:{port}"
        eventually("Prometheus is ready", lambda: _ready(process, url, directory))
        yield Prometheus(url)
    finally:
        ended.set()
        discovery.join()
        process.terminate()
        process.wait(30)


def _discover(directory: Path, cluster: Cluster, namespace: str, release: str, ended: threading.Event) -> None:
    """Keep targets.json as the pods are."""
    address = urlsplit(cluster.api.configuration.host).netloc
    known: list[str] = []
    while not ended.wait(0.5):
        try:
            pods = cluster.pods(namespace, release)
        except EnvironmentUnfit:
            continue
        present = [pod.name for pod in pods if pod.phase == "Running" and not pod.terminating]
        if present == known:
            continue
        known = present
        targets = [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": f"/api/v1/namespaces/{namespace}/pods/{pod}/proxy/metrics",
                    "namespace": namespace,
                    "pod": pod,
                    "instance": pod,
                },
            }
            for pod in present
        ]
        part = directory / "targets.json.part"
        part.write_text(json.dumps(targets))
        part.replace(directory / "targets.json")


def _ready(process: subprocess.Popen[bytes], url: str, directory: Path) -> bool:
    assert process.poll() is None, (directory / "log").read_text()
    try:
        return requests.get(f"{url}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
