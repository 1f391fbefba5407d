"""What the cluster says of who may reach whom: NetworkPolicies, and the labels that they go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernetes import client

from releaser.adapters.cluster import Cluster

_REQUEST_SECONDS = 15


class ClusterPolicies:
    """Satisfies the experiments' Policies."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)

    def network_policies(self, namespace: str) -> tuple[Mapping[str, Any], ...]:
        with self._cluster.asking(f"asking for the NetworkPolicies of {namespace}"):
            items = (
                client.NetworkingV1Api(self._cluster.api)
                .list_namespaced_network_policy(namespace, _request_timeout=_REQUEST_SECONDS)
                .items
            )
            return tuple(self._cluster.api.sanitize_for_serialization(item) for item in items)

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        with self._cluster.asking(f"asking for the labels of namespace {namespace}"):
            found = self._core.read_namespace(namespace, _request_timeout=_REQUEST_SECONDS)
            return dict(found.metadata.labels or {})

    def pod_labels(self, namespace: str, pod: str) -> dict[str, str]:
        with self._cluster.asking(f"asking for the labels of pod {pod}"):
            found = self._core.read_namespaced_pod(pod, namespace, _request_timeout=_REQUEST_SECONDS)
            return dict(found.metadata.labels or {})
