"""With a second node, which is there as long as these tests need it: what one node can't show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.cluster.site import RELEASE, Site
from tests.cluster.test_verify import figure, outcomes
from tests.conftest import ROOT
from tests.fakes import Recorder

# A node that comes and goes is in the way of every other test on the cluster.
pytestmark = [pytest.mark.cluster, pytest.mark.alone]

_ADD_SECONDS = 900
_DELETE_SECONDS = 300


@pytest.fixture(scope="module")
def second_node(context: str, cluster: Cluster) -> Iterator[None]:
    """Left alone if it was there before. What a killed run left of it is finished or used by the next `releaser up`."""
    alone = cluster.node_count() == 1
    up = [sys.executable, "-m", "releaser", "up", "--profile", context, "--nodes", "2"]
    added = subprocess.run(up, capture_output=True, text=True, timeout=_ADD_SECONDS, cwd=ROOT)
    assert added.returncode == 0, added.stdout + added.stderr
    assert cluster.node_count() == 2
    yield
    if alone:
        minikube = Tools(Process(Recorder())).path("minikube")
        deleted = subprocess.run(
            [minikube, "-p", context, "node", "delete", f"{context}-m02"],
            capture_output=True,
            text=True,
            timeout=_DELETE_SECONDS,
        )
        assert deleted.returncode == 0, deleted.stdout + deleted.stderr


@pytest.mark.usefixtures("second_node")
def test_policies_hold_between_nodes_and_a_node_is_drained_unnoticed(site: Site) -> None:
    """Without an address outside the cluster: only pods of its own namespace are let in, the prober's among them."""
    site.values("dev", service={"type": "ClusterIP", "nodePort": None})
    site.releaser("deploy", "dev")
    before = {pod.node for pod in site.cluster.pods(site.namespace, RELEASE)}

    verified = site.json("verify", "dev", "network-policy", "drain")

    assert outcomes(verified) == {"network-policy": "holds", "drain": "holds"}
    assert figure(verified, "network-policy", "in from namespace default") == 0
    assert figure(verified, "network-policy", "in from the same namespace") == 3
    assert figure(verified, "drain", "evictions") >= 1
    after = {pod.node for pod in site.cluster.pods(site.namespace, RELEASE)}
    assert len(before) == 2 and len(after) == 1  # topology spread, and a drained node
    assert not any(node.spec.unschedulable for node in site.core.list_node().items)
