"""Pods that run one Python program and go away again: what somebody else in the cluster would find."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import closing

from kubernetes import client, watch

from releaser.adapters.cluster import Cluster, tolerating
from releaser.adapters.pods import program_pod
from releaser.errors import EnvironmentUnfit
from releaser.verification import Ran

_CONTAINER = "errand"
_LABELS = {"app.kubernetes.io/managed-by": "releaser", "app.kubernetes.io/component": "verify"}
# by which they are found again: keys that nobody else's labels have
_ERRAND, _RELEASE = "releaser/errand", "releaser/release"
_REQUEST_SECONDS = 15
_RUN_SECONDS = 60
_ENDED = ("Succeeded", "Failed")


class PodErrands:
    """Satisfies the experiments' Errands."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)

    def run(
        self,
        namespace: str,
        release: str,
        image: str,
        script: str,
        labels: Mapping[str, str] | None = None,
        node: str = "",
    ) -> Ran:
        """The program's end and output. `labels` are the pod's besides its own; it must not get those by which the
        release's Service or Deployment find their pods. Raises EnvironmentUnfit when it can't be run."""
        name = f"releaser-verify-{secrets.token_hex(4)}"
        doing = f"running pod {name} in {namespace}"
        own = {_ERRAND: "verify", _RELEASE: release}
        pod = _pod(name, {**_LABELS, **(labels or {}), **own}, image, script, node)
        try:
            with self._cluster.asking(doing):
                self._core.create_namespaced_pod(namespace, pod, _request_timeout=_REQUEST_SECONDS)
            status = self._ended(namespace, name, doing)
            return Ran(status, self._cluster.log(namespace, name, _CONTAINER, lines=200))
        finally:
            self._delete(namespace, name)

    def sweep(self, namespace: str, release: str, labels: Mapping[str, str] | None = None) -> int:
        wanted = {_ERRAND: "verify", _RELEASE: release, **(labels or {})}
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        with self._cluster.asking("looking for pods that an earlier run left"):
            pods = self._core.list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=_REQUEST_SECONDS
            ).items
        for pod in pods:
            self._delete(namespace, pod.metadata.name)
        return len(pods)

    def _ended(self, namespace: str, name: str, doing: str) -> int:
        said = "nothing is known of it"
        with self._cluster.asking(doing):
            changes = watch.Watch().stream(
                self._core.list_namespaced_pod,
                namespace,
                field_selector=f"metadata.name={name}",
                timeout_seconds=_RUN_SECONDS,
                _request_timeout=_RUN_SECONDS + _REQUEST_SECONDS,
            )
            with closing(changes):
                for change in changes:
                    status = change["object"].status
                    said = f"it is {(status.phase or 'pending').lower()}"
                    if status.phase in _ENDED:
                        [state] = status.container_statuses
                        return int(state.state.terminated.exit_code)
        raise EnvironmentUnfit(
            f"While {doing}: {said} after {_RUN_SECONDS} s",
            hint=f"kubectl --context {self._cluster.context} -n {namespace} get events",
        )

    def _delete(self, namespace: str, name: str) -> None:
        with self._cluster.asking(f"removing pod {name}"), tolerating(404):
            self._core.delete_namespaced_pod(name, namespace, grace_period_seconds=0, _request_timeout=_REQUEST_SECONDS)


def _pod(name: str, labels: Mapping[str, str], image: str, script: str, node: str) -> client.V1Pod:
    return program_pod(
        name,
        labels,
        image,
        [script],
        container=_CONTAINER,
        cpu="10m",
        longest_seconds=_RUN_SECONDS,
        grace_seconds=1,
        node=node,
    )
