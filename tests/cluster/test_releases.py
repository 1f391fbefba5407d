"""Releases, good and bad, on the real cluster."""

from __future__ import annotations

import pytest
from kubernetes import client

from tests.cluster.site import Site, eventually

pytestmark = pytest.mark.cluster


def test_install_upgrade_broken_upgrade_automatic_return_and_manual_rollback(site: Site) -> None:
    deployed = site.json("deploy", "dev")
    assert deployed["url"].endswith(f":{site.node_port}")
    assert deployed["after"]["verdict"] == "good"
    assert site.get()["environment"] == "dev"

    site.values("dev", app={"greeting": "Second"})
    site.releaser("deploy", "dev")
    assert site.get()["message"] == "Second"

    site.values("dev", app={"greeting": "Third"}, faults={"crashAtStart": True})
    broken = site.releaser("deploy", "dev", code=6)
    assert "crash at start" in broken.stderr
    assert "revision 2 is back as revision 4" in broken.stderr
    assert "told to crash" in broken.stderr  # the traceback's last line, of a pod that is gone
    assert site.get()["message"] == "Second"
    assert site.verdicts("dev") == [(4, "good"), (3, "failed"), (2, "good"), (1, "good")]

    rolled = site.json("rollback", "dev")
    assert rolled["target"]["number"] == 1
    assert site.get()["message"] != "Second"
    assert site.json("status", "dev")["revision"]["number"] == 5


def test_a_release_that_never_gets_ready_is_taken_back_at_the_progress_deadline(site: Site) -> None:
    site.releaser("deploy", "dev")
    site.values("dev", faults={"neverReady": True}, rollout={"progressDeadlineSeconds": 15})
    assert "never ready" in site.releaser("deploy", "dev", code=6).stderr
    assert site.verdicts("dev") == [(3, "good"), (2, "failed"), (1, "good")]


def test_a_release_whose_tests_fail_is_taken_back(site: Site) -> None:
    site.releaser("deploy", "dev")
    site.values("dev", faults={"errorRate": 1})
    assert "test failed" in site.releaser("deploy", "dev", code=6).stderr
    assert site.get()["environment"] == "dev"


def test_a_first_install_that_fails_is_removed(site: Site) -> None:
    site.values("dev", faults={"crashAtStart": True})
    failed = site.releaser("deploy", "dev", code=6)
    assert "the first install was removed" in failed.stderr
    assert site.json("status", "dev")["revision"] is None


def test_prod_is_guarded_and_its_hpa_reads_real_metrics(site: Site, context: str) -> None:
    assert "--yes" in site.releaser("deploy", "prod", code=4).stderr
    assert "not to" in site.releaser("deploy", "prod", "--yes", "--context", "elsewhere", code=4).stderr
    assert site.json("status", "prod")["revision"] is None

    site.releaser("deploy", "prod", "--yes", "--context", context)
    assert "--yes" in site.releaser("destroy", "prod", code=4).stderr

    scaling = client.AutoscalingV2Api(site.cluster.api)

    def cpu() -> int | None:
        [hpa] = scaling.list_namespaced_horizontal_pod_autoscaler(site.namespaces["prod"]).items
        metrics = hpa.status.current_metrics or []
        return next((m.resource.current.average_utilization for m in metrics if m.resource), None)

    assert eventually("the HPA reads a CPU utilization", lambda: (value := cpu()) is not None and value >= 0, 150)


def test_a_deleted_pod_is_replaced_and_the_service_goes_on(site: Site, core: client.CoreV1Api) -> None:
    site.releaser("deploy", "dev")
    namespace = site.namespaces["dev"]
    before = {pod.name for pod in site.cluster.pods(namespace, "flask-hello")}
    core.delete_namespaced_pod(sorted(before)[0], namespace)
    assert site.get()["pod"] in before

    def replaced() -> bool:
        pods = [pod for pod in site.cluster.pods(namespace, "flask-hello") if not pod.terminating]
        return len(pods) == 2 and all(pod.ready for pod in pods) and {pod.name for pod in pods} != before

    assert eventually("a new pod is ready", replaced)


def test_wrong_values_are_refused_before_anything_is_touched(site: Site) -> None:
    site.values("dev", replicaCout=3)
    refused = site.releaser("deploy", "dev", code=3)
    assert "values-dev.yaml:" in refused.stderr
    assert 'did you mean "replicaCount"?' in refused.stderr
    assert site.json("status", "dev")["revision"] is None


def test_a_node_port_of_another_release_is_refused(site: Site, namespace: str, core: client.CoreV1Api) -> None:
    core.create_namespaced_service(
        namespace,
        client.V1Service(
            metadata=client.V1ObjectMeta(name="squatter"),
            spec=client.V1ServiceSpec(type="NodePort", ports=[client.V1ServicePort(port=80, node_port=site.node_port)]),
        ),
    )
    refused = site.releaser("deploy", "dev", code=4)
    assert f"NodePort {site.node_port} is taken by service squatter in namespace {namespace}" in refused.stderr
    assert site.json("status", "dev")["revision"] is None
    core.delete_namespaced_service("squatter", namespace)


def test_logs_and_destroy(site: Site) -> None:
    site.releaser("deploy", "dev")
    assert '"level"' in site.releaser("logs", "dev", "--lines", "5").stdout
    site.releaser("destroy", "dev")
    assert site.json("status", "dev")["revision"] is None
    assert "was not installed" in site.releaser("destroy", "dev").stdout
