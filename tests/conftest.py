"""What tests on the real cluster share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.settings import load_project

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def context() -> str:
    """The kube context of this project's dev environment. `releaser up` makes it."""
    return load_project(ROOT).environment("dev").context


@pytest.fixture(scope="session")
def cluster(context: str) -> Cluster:
    """Fails, rather than skips, without a cluster: `make test` starts one."""
    cluster = Cluster(context)
    cluster.version()
    return cluster


@pytest.fixture(scope="session")
def core(cluster: Cluster) -> client.CoreV1Api:
    return client.CoreV1Api(cluster._api)


def make_namespace() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def namespace(core: client.CoreV1Api) -> Iterator[str]:
    """A fresh namespace that enforces the restricted Pod Security Standard, removed afterwards."""
    name = make_namespace()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=labels)))
    yield name
    core.delete_namespace(name)
