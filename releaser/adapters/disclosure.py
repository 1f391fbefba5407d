"""The ways by which a secret could come out: requests without credentials, and what anybody may read who may look."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import urllib3
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.errors import EnvironmentUnfit

_REQUEST_SECONDS = 15
_LINES = 500


class ClusterDisclosure:
    """Satisfies the experiments' Disclosure."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)
        self._apps = client.AppsV1Api(cluster.api)

    def anonymous_status(self, path: str) -> int:
        """The server is known by the kubeconfig's own certificate; of us nothing is said."""
        configuration = self._cluster.api.configuration
        doing = f"asking for {path} without credentials"
        try:
            with urllib3.PoolManager(
                ca_certs=configuration.ssl_ca_cert,
                cert_reqs="CERT_REQUIRED" if configuration.verify_ssl else "CERT_NONE",
                retries=False,
            ) as pool:
                return int(pool.request("GET", f"{configuration.host}{path}", timeout=_REQUEST_SECONDS).status)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise EnvironmentUnfit(f"While {doing}: the API server does not answer", detail=str(exc)[:300]) from exc

    def secret_values(self, namespace: str, names: Sequence[str]) -> tuple[str, ...]:
        found = []
        for name in names:
            with self._cluster.asking(f"reading the Secret {name}"):
                secret = self._core.read_namespaced_secret(name, namespace, _request_timeout=_REQUEST_SECONDS)
            found += [base64.b64decode(each).decode(errors="replace") for each in (secret.data or {}).values()]
        return tuple(found)

    def may_read_secrets(self, namespace: str, account: str) -> bool:
        review = {
            "spec": {
                "user": f"system:serviceaccount:{namespace}:{account}",
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
                "resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "secrets"},
            }
        }
        with self._cluster.asking(f"asking what the account {account} may"):
            answer = client.AuthorizationV1Api(self._cluster.api).create_subject_access_review(
                review, _request_timeout=_REQUEST_SECONDS
            )
        return bool(answer.status.allowed)

    def readable(self, namespace: str) -> dict[str, str]:
        texts: dict[str, str] = {}
        with self._cluster.asking(f"reading what {namespace} has"):
            for kind, listing in (
                ("configmap", self._core.list_namespaced_config_map),
                ("deployment", self._apps.list_namespaced_deployment),
                ("replicaset", self._apps.list_namespaced_replica_set),
                ("pod", self._core.list_namespaced_pod),
                ("event", self._core.list_namespaced_event),
            ):
                for item in listing(namespace, _request_timeout=_REQUEST_SECONDS).items:
                    document = self._cluster.api.sanitize_for_serialization(item)
                    texts[f"{kind}/{item.metadata.name}"] = json.dumps(document, ensure_ascii=False)
                    if kind == "pod":
                        for container in item.spec.containers:
                            log = self._cluster.log(namespace, item.metadata.name, container.name, lines=_LINES)
                            texts[f"log of {item.metadata.name}"] = log
        return texts
