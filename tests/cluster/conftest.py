"""The command line against the real Minikube: each site is a project of its own with namespaces of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from releaser.adapters.cluster import Cluster
from tests.cluster import site as sites


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Iterator[sites.Site]:
    with sites.site(tmp_path / "project", cluster) as made:
        yield made
