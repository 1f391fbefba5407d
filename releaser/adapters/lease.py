"""Leases of coordination.k8s.io, over a client of their own: a request that hangs elsewhere doesn't hold a heartbeat
up, and none of these hangs for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.adapters.cluster import connect, mapped, tolerating
from releaser.lease import LEASE_SECONDS, WAITS_FOR, Lease

# Several attempts must fit into the time for which a heartbeat may be late.
_REQUEST_SECONDS = 3


class Leases:
    """The Leases of one cluster. Each write names the version that it is based on; None: somebody wrote first."""

    def __init__(self, context: str) -> None:
        self._context = context
        self._api = connect(context, client.Configuration(retries=False))
        self._leases = client.CoordinationV1Api(self._api)

    def read(self, namespace: str, name: str) -> Lease | None:
        with self._asking(f"reading the Lease {name}"), tolerating(404):
            return _lease(self._leases.read_namespaced_lease(name, namespace, _request_timeout=_REQUEST_SECONDS))
        return None

    def waiters(self, namespace: str, release: str) -> tuple[Lease, ...]:
        """The Leases of those who wait for the release's lock."""
        with self._asking(f"listing who waits for {release}"):
            items = self._leases.list_namespaced_lease(
                namespace, label_selector=f"{WAITS_FOR}={release}", _request_timeout=_REQUEST_SECONDS
            ).items
        return tuple(_lease(item) for item in items)

    def create(self, namespace: str, lease: Lease) -> Lease | None:
        """Also makes the namespace when it is missing, as `helm install --create-namespace` would later."""
        with self._asking(f"creating the Lease {lease.name}"), tolerating(404):
            return self._create(namespace, lease)
        with self._asking(f"creating the namespace {namespace}"), tolerating(409):
            client.CoreV1Api(self._api).create_namespace(
                {"metadata": {"name": namespace}}, _request_timeout=_REQUEST_SECONDS
            )
        with self._asking(f"creating the Lease {lease.name}"):
            return self._create(namespace, lease)

    def update(self, namespace: str, lease: Lease) -> Lease | None:
        with self._asking(f"renewing the Lease {lease.name}"), tolerating(404, 409):
            stored = self._leases.replace_namespaced_lease(
                lease.name, namespace, _body(lease), _request_timeout=_REQUEST_SECONDS
            )
            return _lease(stored)
        return None

    def delete(self, namespace: str, name: str, version: str = "") -> None:
        """With a version: only if nobody wrote since."""
        options = {"preconditions": {"resourceVersion": version}} if version else None
        with self._asking(f"deleting the Lease {name}"), tolerating(404, 409):
            self._leases.delete_namespaced_lease(name, namespace, body=options, _request_timeout=_REQUEST_SECONDS)

    def _create(self, namespace: str, lease: Lease) -> Lease | None:
        with tolerating(409):
            stored = self._leases.create_namespaced_lease(namespace, _body(lease), _request_timeout=_REQUEST_SECONDS)
            return _lease(stored)
        return None

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise mapped(exc, doing, self._context) from exc


def _body(lease: Lease) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "leaseDurationSeconds": lease.duration_seconds,
        "leaseTransitions": lease.transitions,
        "renewTime": _micro_time(datetime.now(UTC)),
    }
    if lease.holder:
        spec["holderIdentity"] = lease.holder
    if lease.since:
        spec["acquireTime"] = _micro_time(lease.since)
    metadata: dict[str, Any] = {
        "name": lease.name,
        "labels": dict(lease.labels),
        "annotations": dict(lease.annotations),
    }
    if lease.version:
        metadata["resourceVersion"] = lease.version
    return {"metadata": metadata, "spec": spec}


def _micro_time(moment: datetime) -> datetime:
    """Never on a full second: the client writes that without its fraction, which the API server refuses here (400)."""
    return moment if moment.microsecond else moment.replace(microsecond=1)


def _lease(item: client.V1Lease) -> Lease:
    return Lease(
        name=item.metadata.name,
        holder=item.spec.holder_identity or "",
        since=item.spec.acquire_time,
        duration_seconds=item.spec.lease_duration_seconds or LEASE_SECONDS,
        transitions=item.spec.lease_transitions or 0,
        labels=item.metadata.labels or {},
        annotations=item.metadata.annotations or {},
        version=item.metadata.resource_version,
    )
