"""Kubernetes, as the flows need it: small typed questions, and a watch that yields snapshots of a rollout."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger
from kubernetes.informer import SharedInformer

from releaser.errors import EnvironmentUnfit, ReleaserError, WrongContext
from releaser.models import ContainerState, DeploymentState, ObjectEvent, PodState, ReplicaSetState, Snapshot

_EDITED = "releaser/edited"
_ENDED = ("Succeeded", "Failed")
_REQUEST_SECONDS = 15
# After so long the server ends a watch and the informer lists anew.
_WATCH_SECONDS = 30
_INSTANCE = "app.kubernetes.io/instance"
# The informer logs each reconnect with a traceback; a rollout that can't be followed ends by its deadline instead.
logging.getLogger("kubernetes.informer").setLevel(logging.CRITICAL)


class Cluster:
    """One cluster, named by its kube context; nothing global is read or changed."""

    def __init__(self, context: str) -> None:
        self.context = context
        self._api = connect(context)
        self._core = client.CoreV1Api(self._api)
        self._apps = client.AppsV1Api(self._api)

    def version(self) -> str:
        """The server's version; the cheapest question that proves that a cluster answers."""
        with self._asking("asking the cluster for its version"):
            return str(client.VersionApi(self._api).get_code(_request_timeout=_REQUEST_SECONDS).git_version)

    def node_count(self) -> int:
        with self._asking("listing the nodes"):
            return len(self._core.list_node(_request_timeout=_REQUEST_SECONDS).items)

    def node_ip(self) -> str:
        """Internal address of the first node: where NodePorts answer on a local cluster."""
        with self._asking("asking for the node's address"):
            for node in self._core.list_node(_request_timeout=_REQUEST_SECONDS).items:
                for address in node.status.addresses or []:
                    if address.type == "InternalIP":
                        return str(address.address)
        raise EnvironmentUnfit(f"While asking for the node's address: no node of {self.context} has an InternalIP")

    def metrics_answer(self) -> bool:
        """The metrics API is served. Its first figures come a minute later, when metrics-server has looked twice."""
        try:
            client.CustomObjectsApi(self._api).list_cluster_custom_object(
                "metrics.k8s.io", "v1beta1", "nodes", _request_timeout=_REQUEST_SECONDS
            )
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            return False
        return True

    # -- services ------------------------------------------------------------------------------------------------------

    def node_port_holder(self, port: int) -> tuple[str, str] | None:
        """(namespace, service) that holds the NodePort, or None."""
        with self._asking(f"looking who holds NodePort {port}"):
            for service in self._core.list_service_for_all_namespaces(_request_timeout=_REQUEST_SECONDS).items:
                if any(p.node_port == port for p in service.spec.ports or []):
                    return service.metadata.namespace, service.metadata.name
        return None

    def service_url(self, namespace: str, release: str) -> str:
        """Where the release's Service answers: the NodePort from outside, else its name inside the cluster."""
        with self._asking("asking for the Service"):
            services = self._core.list_namespaced_service(
                namespace, label_selector=f"{_INSTANCE}={release}", _request_timeout=_REQUEST_SECONDS
            ).items
        for service in services:
            port = service.spec.ports[0]
            if port.node_port:
                return f"http://{self.node_ip()}:{port.node_port}"
            return f"http://{service.metadata.name}.{namespace}.svc:{port.port}"
        return ""

    def service_name(self, namespace: str, release: str) -> str:
        """Name of the release's Service; empty when there is none."""
        with self._asking("asking for the Service"):
            services = self._core.list_namespaced_service(
                namespace, label_selector=f"{_INSTANCE}={release}", _request_timeout=_REQUEST_SECONDS
            ).items
        return str(services[0].metadata.name) if services else ""

    def images_named(self) -> set[str]:
        """Every image that a pod or ReplicaSet of any namespace names, as it is named there. Pods that have ended, such
        as those of tests, don't count."""
        with self._asking("asking which images are in use"):
            pods = self._core.list_pod_for_all_namespaces(_request_timeout=_REQUEST_SECONDS).items
            sets = self._apps.list_replica_set_for_all_namespaces(_request_timeout=_REQUEST_SECONDS).items
        specs = [
            *(pod.spec for pod in pods if pod.status.phase not in _ENDED),
            *(each.spec.template.spec for each in sets),
        ]
        return {c.image for spec in specs for c in [*spec.containers, *(spec.init_containers or [])]}

    # -- the release's own records -------------------------------------------------------------------------------------

    def revision_labels(self, namespace: str, release: str) -> dict[int, dict[str, str]]:
        """Labels of Helm's release Secrets by revision number; only metadata crosses the wire."""
        with self._asking("reading the release's records"):
            document = self._metadata_only(
                f"/api/v1/namespaces/{namespace}/secrets", {"labelSelector": f"owner=helm,name={release}"}
            )
        labels = [item["metadata"].get("labels", {}) for item in document.get("items") or []]
        return {int(each["version"]): each for each in labels if each.get("version", "").isdigit()}

    def label_revision(self, namespace: str, release: str, number: int, labels: Mapping[str, str]) -> None:
        """Add labels to the record of a revision. Helm keeps foreign labels when it rewrites the record."""
        with self._asking(f"recording the verdict on revision {number}"):
            self._core.patch_namespaced_secret(
                f"sh.helm.release.v1.{release}.v{number}",
                namespace,
                {"metadata": {"labels": dict(labels)}},
                _request_timeout=_REQUEST_SECONDS,
            )

    def await_settled(self, namespace: str, release: str, number: int, seconds: float) -> bool:
        """Wait until a revision is no longer pending-*; False when it still is after so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with self._asking("watching the release's records"):
                changes = watch.Watch().stream(
                    self._core.list_namespaced_secret,
                    namespace,
                    label_selector=f"owner=helm,name={release},version={number}",
                    timeout_seconds=max(1, min(int(left), _WATCH_SECONDS)),
                )
                with closing(changes):
                    for change in changes:
                        status = (change["object"].metadata.labels or {}).get("status", "")
                        if change["type"] == "DELETED" or not status.startswith("pending-"):
                            return True
        return False

    def entries(self, namespace: str, release: str) -> dict[int, str]:
        """The ledger's entries by revision number; empty when there is no ledger."""
        with self._asking("reading the ledger"), tolerating(404):
            found = self._core.read_namespaced_config_map(
                _ledger(release), namespace, _request_timeout=_REQUEST_SECONDS
            )
            return {int(key[1:]): text for key, text in (found.data or {}).items() if key[1:].isdigit()}
        return {}

    def enter(self, namespace: str, release: str, number: int, text: str, known: Collection[int]) -> None:
        """Write a revision's entry into the ledger, and drop those of revisions that are no longer `known`."""
        gone: dict[str, str | None] = {
            f"r{each}": None for each in self.entries(namespace, release) if each not in known
        }
        labels = {"app.kubernetes.io/managed-by": "releaser", "releaser/release": release}
        body = {
            "metadata": {"name": _ledger(release), "labels": labels},
            "data": {**gone, f"r{number}": text},
        }
        with self._asking(f"writing revision {number} into the ledger"):
            with tolerating(404):
                self._core.patch_namespaced_config_map(
                    _ledger(release), namespace, body, _request_timeout=_REQUEST_SECONDS
                )
                return
            self._core.create_namespaced_config_map(namespace, body, _request_timeout=_REQUEST_SECONDS)

    def close_ledger(self, namespace: str, release: str) -> None:
        """Remove the ledger of a release that is gone: revision numbers begin anew."""
        with self._asking("removing the ledger"), tolerating(404):
            self._core.delete_namespaced_config_map(_ledger(release), namespace, _request_timeout=_REQUEST_SECONDS)

    # -- pods ----------------------------------------------------------------------------------------------------------

    def pods(self, namespace: str, release: str) -> tuple[PodState, ...]:
        """The pods of the release's Deployments (not those of its tests), by name."""
        with self._asking("listing the pods"):
            items = self._core.list_namespaced_pod(
                namespace, label_selector=f"{_INSTANCE}={release}", _request_timeout=_REQUEST_SECONDS
            ).items
        return tuple(sorted((pod for item in items if (pod := _pod(item)).owner_uid), key=lambda pod: pod.name))

    def mark_edited(self, namespace: str, pod: str) -> None:
        """Say of the pod that it no longer runs what its image has."""
        with self._asking(f"marking pod {pod}"):
            body = {"metadata": {"annotations": {_EDITED: "true"}}}
            self._core.patch_namespaced_pod(pod, namespace, body, _request_timeout=_REQUEST_SECONDS)

    def remove_pod(self, namespace: str, pod: str) -> None:
        """Its owner makes another one from the image. One that is gone already is no error."""
        with self._asking(f"removing pod {pod}"), tolerating(404):
            self._core.delete_namespaced_pod(pod, namespace, _request_timeout=_REQUEST_SECONDS)

    def witnesses(self, namespace: str, release: str, since: datetime) -> tuple[PodState, ...]:
        """Every pod that may tell of a release: its own, its tests' and whatever (hooks) was made since."""
        with self._asking("listing the pods"):
            items = self._core.list_namespaced_pod(namespace, _request_timeout=_REQUEST_SECONDS).items
        return tuple(
            _pod(item)
            for item in items
            if (item.metadata.labels or {}).get(_INSTANCE) == release or item.metadata.creation_timestamp >= since
        )

    def events(self, namespace: str, since: datetime) -> tuple[ObjectEvent, ...]:
        """The namespace's events since then, oldest first."""
        with self._asking("reading the events"):
            items = self._core.list_namespaced_event(namespace, _request_timeout=_REQUEST_SECONDS).items
        events = [event for item in items if (event := _event(item)).last_seen and event.last_seen >= since]
        return tuple(sorted(events, key=lambda event: event.last_seen or since))

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False, lines: int = 50) -> str:
        """The last lines of a container's log; empty when it has none (yet)."""
        try:
            text = self._core.read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                previous=previous,
                tail_lines=lines,
                _request_timeout=_REQUEST_SECONDS,
            )
        except ApiException as exc:
            if exc.status in (400, 404):  # no such run of the container, or the pod is gone
                return ""
            raise self._mapped(exc, f"reading the log of {pod}") from exc
        return str(text)

    def follow_log(self, namespace: str, pod: str, container: str, lines: int) -> Iterator[str]:
        """The container's log as it is written, until the container ends."""
        with self._asking(f"following the log of {pod}"):
            response = self._core.read_namespaced_pod_log(
                pod, namespace, container=container, follow=True, tail_lines=lines, _preload_content=False
            )
            rest = b""
            with closing(response):
                for chunk in response.stream(amt=None, decode_content=False):
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line.decode(errors="replace")

    # -- the rollout ---------------------------------------------------------------------------------------------------

    def snapshots(self, namespace: str, release: str, deadline_seconds: float) -> Iterator[Snapshot]:
        """A snapshot now and after each change of Deployments, ReplicaSets, Pods and Events, until the deadline.

        The last one is repeated once a second at most while nothing changes, so that callers can show elapsed time.
        """
        changed: queue.Queue[None] = queue.Queue()
        selector = f"{_INSTANCE}={release}"
        informers = [
            SharedInformer(list_function, namespace=namespace, label_selector=labels, resync_period=_WATCH_SECONDS)
            for list_function, labels in (
                (self._apps.list_namespaced_deployment, selector),
                (self._apps.list_namespaced_replica_set, selector),
                (self._core.list_namespaced_pod, selector),
                (self._core.list_namespaced_event, None),  # Events carry no labels of their objects
            )
        ]
        deployments, replica_sets, pods, events = informers
        started = time.monotonic()
        try:
            for informer in informers:
                for kind in ("ADDED", "MODIFIED", "DELETED"):
                    informer.add_event_handler(kind, lambda _: changed.put(None))
                informer.start()
            while (elapsed := time.monotonic() - started) < deadline_seconds:
                _wait_for_change(changed)
                yield _snapshot(
                    deployments.cache.list(), replica_sets.cache.list(), pods.cache.list(), events.cache.list(), elapsed
                )
        finally:
            for informer in informers:
                # stop() joins a thread that may sit in a read until the server ends the watch: not ours to wait for
                threading.Thread(target=informer.stop, daemon=True).start()

    # -- for adapters with requests of their own -----------------------------------------------------------------------

    @property
    def api(self) -> client.ApiClient:
        return self._api

    def asking(self, doing: str) -> AbstractContextManager[None]:
        """Around a request: what it raises becomes EnvironmentUnfit."""
        return self._asking(doing)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _metadata_only(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        response = self._api.call_api(
            *self._api.param_serialize(
                method="GET",
                resource_path=path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
                auth_settings=["BearerToken"],
            ),
            _request_timeout=_REQUEST_SECONDS,
        )
        response.read()
        if response.status >= 400:
            raise ApiException(http_resp=response)
        document: dict[str, Any] = json.loads(response.data)
        return document

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise self._mapped(exc, doing) from exc

    def _mapped(self, exc: Exception, doing: str) -> ReleaserError:
        return mapped(exc, doing, self.context)


def connect(context: str, configuration: client.Configuration | None = None) -> client.ApiClient:
    """A client of its own for the context. Raises WrongContext that names the known ones."""
    try:
        return config.new_client_from_config(context=context, client_configuration=configuration)
    except ConfigException as exc:
        known = _known_contexts()
        raise WrongContext(
            f'While connecting: the kubeconfig has no context "{context}"',
            hint=f"known contexts: {', '.join(known) or 'none'}; `releaser up` makes the local one",
        ) from exc


@contextmanager
def tolerating(*statuses: int) -> Iterator[None]:
    """The body ends early when the API server answers with one of these."""
    try:
        yield
    except ApiException as exc:
        if exc.status not in statuses:
            raise


def mapped(exc: Exception, doing: str, context: str) -> ReleaserError:
    """What the client raises -> our error."""
    if isinstance(exc, ApiException):
        return EnvironmentUnfit(
            f"While {doing}: the API server of {context} said {exc.status} {exc.reason}", detail=_explanation(exc)
        )
    return EnvironmentUnfit(
        f"While {doing}: the cluster of context {context} does not answer",
        detail=str(exc)[:300],
        hint="releaser doctor shows what is missing; `releaser up` starts the local cluster",
    )


def _explanation(exc: ApiException) -> str:
    """The API server's own words, e.g. which right is missing."""
    try:
        return str(json.loads(exc.body)["message"])
    except (TypeError, ValueError, KeyError):
        return ""


def _wait_for_change(changed: queue.Queue[None]) -> None:
    """Until something changes, a second at most; a burst of changes counts as one."""
    try:
        changed.get(timeout=1.0)
        while True:
            changed.get_nowait()
    except queue.Empty:
        return


def _ledger(release: str) -> str:
    return f"releaser-{release}"


def _known_contexts() -> list[str]:
    # list_kube_config_contexts() fails where no context is the current one, which is nothing that we need
    merged = KubeConfigMerger(KUBE_CONFIG_DEFAULT_LOCATION).config
    return [str(context["name"]) for context in (merged["contexts"] if merged else None) or []]


# -- kubernetes' objects -> our words ----------------------------------------------------------------------------------


def _snapshot(
    deployments: list[client.V1Deployment],
    replica_sets: list[client.V1ReplicaSet],
    pods: list[client.V1Pod],
    events: list[client.CoreV1Event],
    at_seconds: float,
) -> Snapshot:
    """Of the namespace's events only those of these objects."""
    uids = {item.metadata.uid for item in (*deployments, *replica_sets, *pods)}
    return Snapshot(
        tuple(_deployment(item) for item in deployments),
        tuple(_replica_set(item) for item in replica_sets),
        tuple(_pod(item) for item in pods),
        tuple(_event(item) for item in events if item.involved_object.uid in uids),
        at_seconds,
    )


def _event(item: client.CoreV1Event) -> ObjectEvent:
    seen = item.last_timestamp or item.event_time or item.metadata.creation_timestamp
    return ObjectEvent(
        uid=item.involved_object.uid or "",
        where=f"{(item.involved_object.kind or '').lower()}/{item.involved_object.name}",
        reason=item.reason or "",
        message=item.message or "",
        warning=item.type == "Warning",
        count=item.count or 1,
        last_seen=seen,
    )


def _deployment(item: client.V1Deployment) -> DeploymentState:
    status, conditions = item.status, item.status.conditions or []
    exceeded = next((c.message for c in conditions if c.reason == "ProgressDeadlineExceeded"), "")
    return DeploymentState(
        name=item.metadata.name,
        generation=item.metadata.generation or 0,
        observed_generation=status.observed_generation or 0,
        desired=1 if item.spec.replicas is None else item.spec.replicas,
        replicas=status.replicas or 0,
        updated=status.updated_replicas or 0,
        available=status.available_replicas or 0,
        revision=_deployment_revision(item),
        deadline_exceeded=exceeded or "",
    )


def _replica_set(item: client.V1ReplicaSet) -> ReplicaSetState:
    failure = next((c.message for c in item.status.conditions or [] if c.type == "ReplicaFailure"), "")
    return ReplicaSetState(
        uid=item.metadata.uid,
        name=item.metadata.name,
        revision=_deployment_revision(item),
        desired=item.spec.replicas or 0,
        failure=failure or "",
    )


def _deployment_revision(item: client.V1Deployment | client.V1ReplicaSet) -> int:
    return int((item.metadata.annotations or {}).get("deployment.kubernetes.io/revision", 0))


def _pod(item: client.V1Pod) -> PodState:
    conditions = {c.type: c for c in item.status.conditions or []}

    def holds(condition: str) -> bool:
        return condition in conditions and conditions[condition].status == "True"

    scheduled = conditions.get("PodScheduled")
    owner = next((o for o in item.metadata.owner_references or [] if o.controller), None)
    return PodState(
        name=item.metadata.name,
        phase=item.status.phase or "",
        scheduled=holds("PodScheduled"),
        ready=holds("Ready"),
        terminating=item.metadata.deletion_timestamp is not None,
        containers=tuple(_container(status) for status in item.status.container_statuses or []),
        init_containers=tuple(_container(status) for status in item.status.init_container_statuses or []),
        uid=item.metadata.uid or "",
        owner_uid=owner.uid if owner else "",
        node=item.spec.node_name or "",
        edited=_EDITED in (item.metadata.annotations or {}),
        unschedulable=(scheduled.message or "") if scheduled and scheduled.reason == "Unschedulable" else "",
    )


def _container(status: client.V1ContainerStatus) -> ContainerState:
    waiting, terminated = status.state.waiting, status.state.terminated
    last = status.last_state.terminated if status.last_state else None
    return ContainerState(
        name=status.name,
        ready=bool(status.ready),
        started=bool(status.started),
        restarts=status.restart_count or 0,
        waiting_reason=(waiting.reason or "") if waiting else "",
        waiting_message=(waiting.message or "") if waiting else "",
        running=status.state.running is not None,
        exit_code=terminated.exit_code if terminated else None,
        terminated_reason=(terminated.reason or "") if terminated else "",
        last_exit_code=last.exit_code if last else None,
        last_terminated_reason=(last.reason or "") if last else "",
        image_id=status.image_id or "",
    )
