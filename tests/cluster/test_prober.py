"""The prober on the real cluster: through a NodePort from here, and from a pod where only the cluster reaches it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.prober import ServiceProber
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from releaser.flows.ports import Probing
from releaser.models import Probed, Receipt
from tests.cluster.site import RELEASE, Site, eventually
from tests.cluster.site import site as make_site
from tests.fakes import Recorder

pytestmark = pytest.mark.cluster

PER_SECOND = 200
INNER = "inner"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Site]:
    """With a second Service that has no address outside the cluster. Its namespace enforces Pod Security restricted."""
    with make_site(tmp_path_factory.mktemp("probed") / "project", cluster) as made:
        made.releaser("deploy", "dev")
        service = made.core.read_namespaced_service(RELEASE, made.namespace)
        ports = [client.V1ServicePort(port=port.port, target_port=port.target_port) for port in service.spec.ports]
        inner = client.V1Service(
            metadata=client.V1ObjectMeta(name=INNER),
            spec=client.V1ServiceSpec(type="ClusterIP", selector=service.spec.selector, ports=ports),
        )
        made.core.create_namespaced_service(made.namespace, inner)
        yield made


@pytest.fixture(scope="module")
def image(released: Site) -> str:
    return str(released.json("status", "dev")["revision"]["image"])


def prober(site: Site) -> tuple[ServiceProber, Recorder]:
    recorder = Recorder()
    return ServiceProber(site.cluster, Process(recorder), recorder), recorder


def await_sent(probing: Probing, count: int) -> None:
    eventually(f"{count} requests", lambda: probing.receipt.sent >= count)


def probe_pods(site: Site) -> list[client.V1Pod]:
    selector = "app.kubernetes.io/component=probe"
    pods: list[client.V1Pod] = site.core.list_namespaced_pod(site.namespace, label_selector=selector).items
    return pods


def await_no_probe_pod(site: Site) -> None:
    eventually("no probe pod is left", lambda: not probe_pods(site))


def assert_nothing_lost(site: Site, receipt: Receipt) -> None:
    """All that was sent was answered, by the release's own pods, up to the last line."""
    assert (receipt.failed, receipt.errors, receipt.trouble) == (0, (), "")
    assert receipt.sent >= 2 * PER_SECOND and receipt.rate_per_second == PER_SECOND
    own = {pod.name for pod in site.cluster.pods(site.namespace, RELEASE)}
    assert own and {name for name, _ in receipt.pods} == own
    for counted in (receipt.pods, receipt.versions):
        assert sum(count for _, count in counted) == receipt.sent


def test_through_a_node_port_it_asks_from_here(released: Site, image: str) -> None:
    service_prober, recorder = prober(released)
    with service_prober.probe(released.namespace, RELEASE, image, PER_SECOND, "/version") as probing:
        assert probe_pods(released) == []
        await_sent(probing, 2 * PER_SECOND)
    assert_nothing_lost(released, probing.receipt)
    told = [event.receipt for event in recorder.events if isinstance(event, Probed)]
    assert len(told) > 2 and told[-1] == probing.receipt


def test_where_nothing_answers_from_here_it_asks_from_a_pod_that_goes_with_it(released: Site, image: str) -> None:
    service_prober, _ = prober(released)
    with service_prober.probe(released.namespace, INNER, image, PER_SECOND, "/version") as probing:
        [pod] = probe_pods(released)
        await_sent(probing, 2 * PER_SECOND)
    assert_nothing_lost(released, probing.receipt)
    await_no_probe_pod(released)
    assert pod.metadata.name not in {each.name for each in released.cluster.pods(released.namespace, RELEASE)}


def test_a_pod_that_is_killed_is_told_by_the_receipt(released: Site, image: str) -> None:
    service_prober, _ = prober(released)
    with service_prober.probe(released.namespace, INNER, image, 20, "/version") as probing:
        [pod] = probe_pods(released)
        await_sent(probing, 10)
        released.core.delete_namespaced_pod(pod.metadata.name, released.namespace, grace_period_seconds=0)
        await_no_probe_pod(released)
    # kubelet may still have let it write that line
    assert probing.receipt.trouble.startswith(("the prober's last line is missing", "the prober ended too soon"))
    assert probing.receipt.sent >= 10  # what was known by then


def test_a_pod_that_is_told_to_end_too_soon_is_told_by_the_receipt(released: Site, image: str) -> None:
    service_prober, _ = prober(released)
    with service_prober.probe(released.namespace, INNER, image, 20, "/version") as probing:
        [pod] = probe_pods(released)
        released.core.delete_namespaced_pod(pod.metadata.name, released.namespace)
        eventually("the receipt's trouble", lambda: probing.receipt.trouble)
    assert probing.receipt.trouble.startswith("the prober ended too soon")
    await_no_probe_pod(released)


def test_an_image_that_does_not_exist_is_named_and_leaves_no_pod(released: Site) -> None:
    service_prober, _ = prober(released)
    with (
        pytest.raises(EnvironmentUnfit) as caught,
        service_prober.probe(released.namespace, INNER, "flask-hello:no-such-tag", 20, "/version"),
    ):
        raise AssertionError("it can't have started")
    assert "flask-hello:no-such-tag" in caught.value.message
    assert caught.value.exit_code == 5
    await_no_probe_pod(released)


def test_what_a_killed_releaser_left_is_removed_by_the_next_one(released: Site, image: str) -> None:
    service_prober, _ = prober(released)
    with service_prober.probe(released.namespace, INNER, image, 20, "/version"):
        [first] = probe_pods(released)
        with service_prober.probe(released.namespace, INNER, image, 20, "/version") as second:
            eventually(
                "the first pod is on its way out",
                lambda: all(
                    pod.metadata.deletion_timestamp
                    for pod in probe_pods(released)
                    if pod.metadata.name == first.metadata.name
                ),
            )
        assert second.receipt.trouble == ""
