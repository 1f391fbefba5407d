"""Running pods from within and one by one: a program run in them by kubectl, a page asked of one by the API's proxy."""

from __future__ import annotations

from collections.abc import Sequence

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.verification import Ran

_REQUEST_SECONDS = 10


class PodInsides:
    """Satisfies the experiments' Insides."""

    def __init__(self, process: Process, tools: Tools, cluster: Cluster) -> None:
        self._process = process
        self._tools = tools
        self._context = cluster.context
        self._api = cluster.api

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], deadline_seconds: float) -> Ran:
        finished = self._process.run(
            [
                self._tools.path("kubectl"),
                *("--context", self._context, "--namespace", namespace, "exec", pod, "--container", container, "--"),
                *argv,
            ],
            doing=f"running {argv[0]} in {pod}",
            deadline_seconds=deadline_seconds,
            check=False,
        )
        return Ran(finished.exit_status, finished.stdout or finished.stderr)

    def ask(self, namespace: str, pod: str, port: int, path: str) -> tuple[int, str]:
        """By the raw request, whose body isn't taken for anything that it isn't."""
        api = self._api
        try:
            response = api.call_api(
                *api.param_serialize(
                    method="GET",
                    resource_path=f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}",
                    header_params={"Accept": "application/json"},
                    auth_settings=["BearerToken"],
                ),
                _request_timeout=_REQUEST_SECONDS,
            )
            return int(response.status), response.read().decode(errors="replace")
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            return 0, ""


class ClusterNetwork:
    """Satisfies the experiments' Network."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)

    def service_address(self, namespace: str, service: str) -> str:
        with self._cluster.asking(f"asking for the Service {service}"):
            found = self._core.read_namespaced_service(service, namespace, _request_timeout=_REQUEST_SECONDS)
        address = str(found.spec.cluster_ip or "")
        return "" if address == "None" else address

    def ready_endpoints(self, namespace: str, service: str) -> frozenset[str]:
        with self._cluster.asking(f"asking for the endpoints of {service}"):
            slices = client.DiscoveryV1Api(self._cluster.api).list_namespaced_endpoint_slice(
                namespace,
                label_selector=f"kubernetes.io/service-name={service}",
                _request_timeout=_REQUEST_SECONDS,
            )
        return frozenset(
            address
            for each in slices.items
            for endpoint in each.endpoints or []
            if endpoint.conditions.ready
            for address in endpoint.addresses
        )

    def pod_addresses(self, namespace: str, release: str) -> dict[str, str]:
        with self._cluster.asking("asking for the pods' addresses"):
            items = self._core.list_namespaced_pod(
                namespace,
                label_selector=f"app.kubernetes.io/instance={release}",
                _request_timeout=_REQUEST_SECONDS,
            ).items
        ready = [
            item
            for item in items
            if item.metadata.owner_references
            and not item.metadata.deletion_timestamp
            and any(c.type == "Ready" and c.status == "True" for c in item.status.conditions or [])
        ]
        return {item.metadata.name: item.status.pod_ip for item in ready}
