"""An account that may do in a site's namespaces what docs/access/ says, and nothing else; and its kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from tests.cluster.site import Site
from tests.conftest import ROOT

_ACCESS = ROOT / "docs/access"
_SECONDS = 3600


@dataclass(frozen=True)
class Account:
    """`kubeconfig` has one context, named as the site's, and one user, who is this account."""

    kubeconfig: Path
    _binding: str
    _rbac: client.RbacAuthorizationV1Api

    def lose_cluster_role(self) -> None:
        """From now on it has rights in its namespaces only."""
        self._rbac.delete_cluster_role_binding(self._binding)


@contextmanager
def account(site: Site, kubeconfig: Path) -> Iterator[Account]:
    """One account of dev's namespace, with the Role in dev's and prod's, and the ClusterRole."""
    home = site.namespaces["dev"]
    rbac = client.RbacAuthorizationV1Api(site.cluster.api)
    subject = {"kind": "ServiceAccount", "name": "releaser", "namespace": home}
    for namespace in site.namespaces.values():
        for document in _documents("role.yaml"):
            if document["kind"] == "ServiceAccount":
                site.core.create_namespaced_service_account(namespace, document)
            elif document["kind"] == "Role":
                rbac.create_namespaced_role(namespace, document)
            else:
                rbac.create_namespaced_role_binding(namespace, document | {"subjects": [subject]})
    [role] = _documents("cluster-role.yaml")
    # of all clusters' names these are the only ones that others may have, too
    name = f"{role['metadata']['name']}-{home}"
    rbac.create_cluster_role(role | {"metadata": {"name": name}})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    rbac.create_cluster_role_binding({"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})
    _write(kubeconfig, site, home)
    try:
        yield Account(kubeconfig, name, rbac)
    finally:
        rbac.delete_collection_cluster_role_binding(field_selector=f"metadata.name={name}")
        rbac.delete_cluster_role(name)


def _documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((_ACCESS / file).read_text(encoding="utf-8")))


def _write(kubeconfig: Path, site: Site, namespace: str) -> None:
    request = {"spec": {"audiences": [], "expirationSeconds": _SECONDS}}
    token = site.core.create_namespaced_service_account_token("releaser", namespace, request).status.token
    connection = site.cluster.api.configuration
    name = site.cluster.context
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": connection.host, "certificate-authority": connection.ssl_ca_cert}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(document))
