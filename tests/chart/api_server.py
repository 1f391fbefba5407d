"""As much of a Kubernetes API server as Helm's `lookup` asks for: objects by name, and all of a kind in a namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

# What the chart makes, by group and version: Helm looks each kind up before it renders for a server.
_KINDS = {
    "v1": ["ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment", "ReplicaSet"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
}


@contextmanager
def serving(*objects: Mapping[str, Any]) -> Iterator[str]:
    """URL of a server that has these objects and nothing else."""
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(v) for v in _KINDS if "/" in v]},
        **{_root(v): _resources(v) for v in _KINDS},
        **{f"{_collection(each)}/{each['metadata']['name']}": each for each in objects},
        **{
            _collection(each): {
                "kind": f"{each['kind']}List",
                "apiVersion": each["apiVersion"],
                "items": [other for other in objects if _collection(other) == _collection(each)],
            }
            for each in objects
        },
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(found or status).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def against(url: str) -> list[str]:
    """Arguments of `helm template` that make `lookup` ask this server."""
    return ["--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url]


def owned(name: str) -> dict[str, Any]:
    """Metadata by which Helm knows an object of the release flask-hello in the namespace default."""
    return {
        "name": name,
        "namespace": "default",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "flask-hello", "meta.helm.sh/release-namespace": "default"},
    }


def _root(group_version: str) -> str:
    return f"/{'apis' if '/' in group_version else 'api'}/{group_version}"


def _collection(of: Mapping[str, Any]) -> str:
    return f"{_root(of['apiVersion'])}/namespaces/{of['metadata']['namespace']}/{_plural(of['kind'])}"


def _group(group_version: str) -> dict[str, Any]:
    group, version = group_version.split("/")
    preferred = {"groupVersion": group_version, "version": version}
    return {"name": group, "versions": [preferred], "preferredVersion": preferred}


def _resources(group_version: str) -> dict[str, Any]:
    resources = [
        {"name": _plural(kind), "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
        for kind in _KINDS[group_version]
    ]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}


def _plural(kind: str) -> str:
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
