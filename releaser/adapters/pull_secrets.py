"""Secrets by which nodes pull from a registry, made of the credentials that docker has."""

from __future__ import annotations

import base64
import json

from docker.auth import load_config, resolve_authconfig
from docker.errors import DockerException
from kubernetes import client

from releaser.adapters.cluster import Cluster, tolerating
from releaser.errors import EnvironmentUnfit
from releaser.settings import RegistrySettings

_REQUEST_SECONDS = 15
_INSTANCE = "app.kubernetes.io/instance"
_OWNED = {"app.kubernetes.io/managed-by": "releaser"}


class PullSecrets:
    """Those of one registry: one of the user's own, one that is made here, or none."""

    def __init__(self, cluster: Cluster, settings: RegistrySettings) -> None:
        self._cluster = cluster
        self._settings = settings

    def names(self, release: str) -> tuple[str, ...]:
        """Of the Secrets that the release's pods have to name."""
        if self._settings.pull_secret:
            return (self._settings.pull_secret,)
        return (_made(release),) if self._settings.create_pull_secret else ()

    def prepare(self, namespace: str, release: str) -> None:
        """Make the pull secret that was asked for, or bring it up to date.

        Raises EnvironmentUnfit where docker has no credentials to put in, or a secret that was named isn't there.
        """
        core = client.CoreV1Api(self._cluster.api)
        if self._settings.pull_secret:
            self._require(core, namespace, self._settings.pull_secret)
            return
        if not self._settings.create_pull_secret:
            return
        name = _made(release)
        body = client.V1Secret(
            metadata=client.V1ObjectMeta(name=name, labels={**_OWNED, _INSTANCE: release}),
            type="kubernetes.io/dockerconfigjson",
            data={".dockerconfigjson": base64.b64encode(self._docker_config()).decode()},
        )
        with self._cluster.asking(f"writing the pull secret {name} in {namespace}"):
            with tolerating(409):
                core.create_namespaced_secret(namespace, body, _request_timeout=_REQUEST_SECONDS)
                return
            core.replace_namespaced_secret(name, namespace, body, _request_timeout=_REQUEST_SECONDS)

    def clear(self, namespace: str, release: str) -> None:
        """Take away the pull secret that `prepare` made."""
        name = _made(release)
        with self._cluster.asking(f"removing the pull secret {name} from {namespace}"):
            core = client.CoreV1Api(self._cluster.api)
            selector = ",".join(f"{key}={value}" for key, value in {**_OWNED, _INSTANCE: release}.items())
            core.delete_collection_namespaced_secret(
                namespace,
                label_selector=selector,
                field_selector=f"metadata.name={name}",
                _request_timeout=_REQUEST_SECONDS,
            )

    @property
    def _host(self) -> str:
        return self._settings.repository.partition("/")[0]

    def _docker_config(self) -> bytes:
        """A config.json with the credentials for this registry and no other."""
        try:
            found = resolve_authconfig(load_config(), registry=self._host)
        except DockerException as exc:
            raise EnvironmentUnfit(
                f"While asking docker's credential helper for {self._host}: it failed", detail=str(exc)
            ) from exc
        # what a helper says comes with capitals
        known = {key.lower(): value for key, value in (found or {}).items()}
        user, password = known.get("username"), known.get("password")
        if not user or not password:
            raise EnvironmentUnfit(
                f"While making a pull secret: docker has no user and password for {self._host}",
                hint=f"docker login {self._host}, or name a secret of your own (registry.pullSecret)",
            )
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        return json.dumps({"auths": {self._host: {"username": user, "password": password, "auth": auth}}}).encode()

    def _require(self, core: client.CoreV1Api, namespace: str, name: str) -> None:
        with self._cluster.asking(f"looking for the pull secret {name} in {namespace}"), tolerating(404):
            core.read_namespaced_secret(name, namespace, _request_timeout=_REQUEST_SECONDS)
            return
        raise EnvironmentUnfit(
            f"While looking for pull secrets: {namespace} has no secret {name}",
            hint=f"kubectl -n {namespace} create secret docker-registry {name}, or let releaser make one "
            "(registry.createPullSecret)",
        )


def _made(release: str) -> str:
    """The name of the secret that releaser makes."""
    return f"{release}-registry"
