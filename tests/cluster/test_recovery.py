"""Killed, interrupted, cut off from the API server: the next deploy goes on with no manual step. bench/recover.py
kills at every step boundary and at every write; here stand the most telling ones."""

from __future__ import annotations

import signal
import subprocess

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from tests.cluster.broken import greeting
from tests.cluster.recovery import Death, Victim, at_step, at_write, recovered
from tests.cluster.site import RELEASE, Ended, Site, eventually
from tests.cluster.traffic import asking
from tests.fakes import Recorder

pytestmark = pytest.mark.cluster

# An upgrade's writes: 1 the record, pending-upgrade; 2 to 8 the objects, the Deployment last; 9 the old record,
# superseded; 10 the new record, deployed. Helm's test writes the rest.
RECORD, DEPLOYMENT, SUPERSEDED, DEPLOYED = 1, 8, 9, 10

DEATHS = {
    "releaser, when the upgrade begins": at_step("StepStarted", "upgrade"),
    "releaser, when the upgrade is done": at_step("StepEnded", "upgrade"),
    "releaser, in mid-rollout": at_step("StepStarted", "roll out"),
    "releaser, in mid-test": at_step("StepStarted", "test"),
    "releaser, before the verdict": at_step("StepEnded", "test"),
    "releaser, while helm goes on": at_write(RECORD, Victim.RELEASER, done=True),
    "helm, with its record written": at_write(RECORD, Victim.HELM, done=True),
    "helm, with the Deployment changed": at_write(DEPLOYMENT, Victim.HELM, done=True),
    "both, with the record written": at_write(RECORD, Victim.BOTH, done=True),
    "both, with half of the objects changed": at_write(DEPLOYMENT, Victim.BOTH, done=False),
    "both, when no revision is deployed": at_write(SUPERSEDED, Victim.BOTH, done=True),
    "both, when the answer to the last write is lost": at_write(DEPLOYED, Victim.BOTH, done=True),
}


@pytest.fixture
def released(site: Site) -> Site:
    """With one good revision."""
    greeting(site, "Old")
    site.releaser("deploy", "dev")
    return site


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_the_next_deploy_after_a_kill_ends_good(released: Site, death: Death) -> None:
    recovery = recovered(released, death, "New")
    assert recovery is not None, "the deploy ended before it was killed"
    assert recovery.good, recovery


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("step", ["upgrade", "roll out", "test"])
def test_an_interrupted_deploy_lets_go_of_the_lock_and_leaves_a_good_revision(
    released: Site, step: str, number: signal.Signals
) -> None:
    greeting(released, "New")
    with asking(released.url) as traffic:
        running = released.start("deploy", "dev")
        running.until("StepStarted", step)
        running.signal(number)
        ended = running.end()

    assert ended.code == 130, ended.stderr
    assert lock_holder(released) == ""
    newest = released.history()[0]
    assert (newest["status"], newest["verdict"]) == ("deployed", "good")
    assert released.get()["message"] == ("New" if newest["content"] == 2 else "Old")
    assert not traffic.failed, traffic.failed[:5]
    released.releaser("deploy", "dev")
    assert released.get()["message"] == "New"


@pytest.mark.alone
def test_the_api_server_restarts_in_mid_deploy(released: Site) -> None:
    greeting(released, "New")
    with asking(released.url) as traffic:
        running = released.start("deploy", "dev")
        running.until("StepStarted", "roll out")
        restart_api_server(released)
        ended = running.end()
        eventually("the API server answers", lambda: answers(released), 120)

    require_clear_end(ended)
    assert not traffic.failed, traffic.failed[:5]
    greeting(released, "Newer")
    released.releaser("deploy", "dev")
    assert released.get()["message"] == "Newer"
    newest = released.history()[0]
    assert (newest["status"], newest["verdict"]) == ("deployed", "good")


def require_clear_end(ended: Ended) -> None:
    """Done, or an error in plain words: never a traceback."""
    assert ended.code in (0, 5, 6, 7), ended.stderr
    assert ended.code == 0 or (ended.error["message"] and ended.error["hint"]), ended.stderr


def lock_holder(site: Site) -> str:
    """Who holds the release's lock; empty when nobody does."""
    leases = client.CoordinationV1Api(site.cluster.api)
    try:
        lease = leases.read_namespaced_lease(f"releaser-{RELEASE}", site.namespace)
    except ApiException as exc:
        if exc.status == 404:
            return ""
        raise
    return lease.spec.holder_identity or ""


def restart_api_server(site: Site) -> None:
    """Stop its container; kubelet starts another."""
    containers = in_node(site, "sudo", "crictl", "ps", "--quiet", "--name", "kube-apiserver").split()
    assert containers
    in_node(site, "sudo", "crictl", "stop", *containers)


def in_node(site: Site, *command: str) -> str:
    minikube = Tools(Process(Recorder())).path("minikube")
    return subprocess.run(
        [minikube, "-p", site.cluster.context, "ssh", "--", *command],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def answers(site: Site) -> bool:
    try:
        site.core.list_namespaced_pod(site.namespace, _request_timeout=5)
    except Exception:  # whatever a server that starts makes of it
        return False
    return True
