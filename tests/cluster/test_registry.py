"""Images through a real registry with TLS and passwords: pushed once, pulled by the node, by digest."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from kubernetes import client

from releaser.adapters.cluster import Cluster
from releaser.adapters.docker import Images
from releaser.adapters.process import Process
from releaser.adapters.registry import Registry
from releaser.errors import EnvironmentUnfit, Refused
from releaser.models import Image, Note
from releaser.settings import RegistrySettings
from tests.cluster.site import RELEASE, Site, eventually
from tests.cluster.test_images import dockerfile
from tests.fakes import Recorder
from tests.registry import Served, registry, trusted_by, write_login

pytestmark = pytest.mark.cluster

SIZE = 3_000_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Served]:
    """At the address that this machine has in Minikube's network."""
    host = cluster.node_ip().rpartition(".")[0] + ".1"
    with registry(tmp_path_factory.mktemp("registry"), host) as made:
        yield made


@pytest.fixture
def login(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("DOCKER_CONFIG", str(served.docker_config))
    return served


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def store(served: Served, cluster: Cluster, recorder: Recorder, path: str = "team/web", **settings: object) -> Registry:
    named = RegistrySettings(f"{served.address}/{path}", **settings)  # type: ignore[arg-type]
    return Registry(Process(recorder), cluster, named, recorder)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """One layer, which no registry has."""
    return built(tmp_path, content=SIZE)


def built(directory: Path, **sizes: int) -> Image:
    """With a layer of so many random bytes for each name, and nothing below."""
    for name, size in sizes.items():
        (directory / name).write_bytes(os.urandom(size))
    path = dockerfile(directory, "\n".join(f"COPY {name} /{name}" for name in sizes), "scratch")
    return Images(Process(Recorder())).build(Image("releaser-test", f"1-{os.urandom(6).hex()}"), path, {})


def test_it_is_pushed_once_and_named_by_its_digest(
    login: Served, cluster: Cluster, recorder: Recorder, image: Image
) -> None:
    there = store(login, cluster, recorder)
    assert there.image_ids(image.ref) == ("",)
    assert there.named(image).digest == ""
    told: list[str] = []
    sent = there.load(image, told.append)
    assert sent.bytes_sent is not None and sent.bytes_sent >= SIZE and told
    named = there.named(image)
    assert (named.repository, named.tag, named.id) == (f"{login.address}/team/web", image.tag, image.id)
    assert named.digest.startswith("sha256:")
    assert there.image_ids(image.ref) == (image.id,)

    taken = login.weather.bytes_taken
    assert there.load(image).layers_sent == 0
    assert login.weather.bytes_taken - taken < 10_000


def test_another_build_of_the_same_content_is_left_as_it_is(
    login: Served, cluster: Cluster, recorder: Recorder, image: Image, tmp_path: Path
) -> None:
    there = store(login, cluster, recorder)
    there.load(image)
    again = Images(Process(recorder)).build(image, tmp_path / "Dockerfile", {"built": "again"})
    assert again.id != image.id
    there.load(again)
    assert there.named(again).id == image.id


def test_a_tag_that_has_other_content_is_refused(
    login: Served, cluster: Cluster, recorder: Recorder, image: Image, tmp_path: Path
) -> None:
    there = store(login, cluster, recorder)
    there.load(image)
    (tmp_path / "content").write_bytes(os.urandom(SIZE))
    forced = Images(Process(recorder)).build(image, tmp_path / "Dockerfile", {})
    with pytest.raises(Refused, match="other content under this tag"):
        there.load(forced)
    assert there.image_ids(image.ref) == (image.id,)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_unwell_for_a_while_gets_it_in_the_end(
    login: Served, cluster: Cluster, recorder: Recorder, image: Image, status: int
) -> None:
    """Asked what it has, or sent a manifest. That comes last: the layers that have arrived are not sent again."""
    there = store(login, cluster, recorder)
    taken = login.weather.bytes_taken
    login.weather.to_questions, login.weather.answers = [status], [status] * 2
    login.weather.given.clear()
    there.load(image)
    assert login.weather.given == [status] * 3
    assert there.image_ids(image.ref) == (image.id,)
    assert login.weather.bytes_taken - taken < 2 * SIZE
    assert any(isinstance(event, Note) and "again in" in event.text for event in recorder.events)


PUSHER = """
import sys
from pathlib import Path
from releaser.adapters.cluster import Cluster
from releaser.models import Image
from tests.cluster.test_registry import store
from tests.fakes import Recorder
from tests.registry import Served, Weather
context, address, tag, image_id = sys.argv[1:]
served = Served(address, Path(), Path(), Weather(), Path())
store(served, Cluster(context), Recorder(), "team/half").load(Image("releaser-test", tag, image_id))
"""


def test_a_push_that_is_killed_leaves_no_tag_and_the_next_one_sends_the_rest(
    login: Served, cluster: Cluster, recorder: Recorder, tmp_path: Path
) -> None:
    """Its small layer gets through, its large one doesn't."""
    image = built(tmp_path, small=SIZE, large=3 * SIZE)
    login.weather.stuck_at = 2 * SIZE
    argv = [sys.executable, "-c", PUSHER, cluster.context, login.address, image.tag, image.id]
    pusher = subprocess.Popen(argv)
    try:
        assert login.weather.stuck.wait(60)
        arrived = login.data / "docker/registry/v2/repositories/team/half/_layers/sha256"
        eventually("its small layer is there", lambda: arrived.is_dir() and list(arrived.iterdir()))
    finally:
        pusher.kill()
        pusher.wait()
        login.weather.stuck_at = None
        login.weather.cleared.set()
    there = store(login, cluster, recorder, "team/half")
    assert there.image_ids(image.ref) == ("",)
    taken = login.weather.bytes_taken
    there.load(image)
    assert 3 * SIZE <= login.weather.bytes_taken - taken < 3 * SIZE + SIZE // 2
    assert there.image_ids(image.ref) == (image.id,)


def test_docker_keeps_no_name_of_what_was_pushed(
    login: Served, cluster: Cluster, recorder: Recorder, image: Image
) -> None:
    """An image that has one is not removed with its own; one that somebody gave it is left alone."""
    there, engine = store(login, cluster, recorder), docker.from_env()
    there.load(image)
    assert engine.images.get(image.id).tags == [image.ref]
    engine.api.tag(image.id, f"{login.address}/team/other", image.tag)
    store(login, cluster, recorder, "team/other").load(image)
    assert set(engine.images.get(image.id).tags) == {image.ref, f"{login.address}/team/other:{image.tag}"}


def test_a_registry_without_tls_is_used_where_releaser_yaml_says_so(
    cluster: Cluster, recorder: Recorder, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry(tmp_path / "plain", "127.0.0.1", tls=False) as plain:
        monkeypatch.setenv("DOCKER_CONFIG", str(plain.docker_config))
        there = store(plain, cluster, recorder, plain_http=True)
        assert there.image_ids(image.ref) == ("",)
        there.load(image)
        assert there.image_ids(image.ref) == (image.id,)


@pytest.mark.parametrize("password", ["wrong", None], ids=["wrong password", "no password"])
def test_credentials_that_are_not_accepted_are_told_with_the_way_to_mend_them(
    served: Served,
    cluster: Cluster,
    recorder: Recorder,
    image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str | None,
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    if password:
        write_login(tmp_path / "docker", served.address, password)
    with pytest.raises(EnvironmentUnfit, match="does not accept the credentials") as caught:
        store(served, cluster, recorder).load(image)
    assert caught.value.hint == f"docker login {served.address}"


def test_credentials_come_from_a_helper_too(
    served: Served,
    cluster: Cluster,
    recorder: Recorder,
    image: Image,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = json.loads((served.docker_config / "config.json").read_text())["auths"][served.address]["auth"]
    user, _, password = base64.b64decode(kept).decode().partition(":")
    helper = tmp_path / "docker-credential-test"
    said = json.dumps({"ServerURL": served.address, "Username": user, "Secret": password})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{said}'\n")
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {served.address: "test"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    there = store(served, cluster, recorder, create_pull_secret=True)
    there.load(image)
    there.prepare(namespace, "web")
    helper.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(EnvironmentUnfit):
        there.prepare(namespace, "web")


def test_a_pull_secret_is_made_brought_up_to_date_and_taken_away(
    login: Served, cluster: Cluster, recorder: Recorder, namespace: str, site: Site
) -> None:
    there = store(login, cluster, recorder, create_pull_secret=True)
    assert there.pull_secrets("web") == ("web-registry",)
    for _ in range(2):
        there.prepare(namespace, "web")
    secret = site.core.read_namespaced_secret("web-registry", namespace)
    assert secret.type == "kubernetes.io/dockerconfigjson"
    assert list(json.loads(base64.b64decode(secret.data[".dockerconfigjson"]))["auths"]) == [login.address]
    there.clear(namespace, "web")
    assert site.core.list_namespaced_secret(namespace).items == []


def test_a_pull_secret_of_ones_own_has_to_be_there(
    login: Served, cluster: Cluster, recorder: Recorder, namespace: str
) -> None:
    there = store(login, cluster, recorder, pull_secret="mine")
    with pytest.raises(EnvironmentUnfit, match="has no secret mine"):
        there.prepare(namespace, "web")


def test_an_image_that_is_not_here_any_more_is_refused(login: Served, cluster: Cluster, recorder: Recorder) -> None:
    with pytest.raises(Refused, match="isn't in Docker here any more"):
        store(login, cluster, recorder).load(Image("web", "1-gone", f"sha256:{'0' * 64}"))


@pytest.fixture
def own_image(site: Site) -> None:
    """One that no other test has: kubelet keeps in mind what it pulled with a secret, by content, and refuses it to
    pods that name another secret or none."""
    (site.root / "app" / "own.py").write_text(f'"""{os.urandom(6).hex()}"""\n')


@pytest.mark.usefixtures("own_image")
def test_what_was_good_in_dev_is_promoted_through_the_registry_and_pulled_by_the_node(
    login: Served, site: Site, context: str
) -> None:
    site.releaser("deploy", "dev")
    wanted = {"repository": f"{login.address}/team/{RELEASE}", "createPullSecret": True}
    site.settings("prod", delivery="registry", registry=wanted)
    with trusted_by(context, login):
        site.releaser("promote", "dev", "prod", "--yes")
        [revision] = site.history("prod")
        assert revision["verdict"] == "good"
        assert revision["image"].startswith(f"{login.address}/team/{RELEASE}:")
        assert revision["entry"]["image_id"] == site.history("dev")[0]["entry"]["image_id"]
        pods = site.cluster.pods(site.namespaces["prod"], RELEASE)
        digest = (
            store(login, site.cluster, Recorder(), f"team/{RELEASE}")
            .named(Image(RELEASE, revision["image"].rpartition(":")[2]))
            .digest
        )
        assert {container.image_id.rpartition("@")[2] for pod in pods for container in pod.containers} == {digest}

        # again: nothing is pushed, built or changed in the registry
        taken = login.weather.bytes_taken
        site.releaser("deploy", "prod", "--yes")
        assert login.weather.bytes_taken - taken < 10_000
    site.releaser("destroy", "prod", "--yes")
    assert site.core.list_namespaced_secret(site.namespaces["prod"]).items == []


@pytest.mark.usefixtures("own_image")
def test_a_node_whose_credentials_have_expired_fails_the_release_with_its_cause(
    login: Served, site: Site, context: str
) -> None:
    wanted = {"repository": f"{login.address}/team/expired", "pullSecret": "stale"}
    site.settings("dev", delivery="registry", registry=wanted)
    stale = {"auths": {login.address: {"auth": base64.b64encode(b"ann:expired").decode()}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(stale).encode()).decode()}
    body = docker_secret("stale", data)
    site.core.create_namespaced_secret(site.namespace, body)
    with trusted_by(context, login):
        ended = site.run("deploy", "dev")
    assert ended.code == 6, ended.stderr
    assert ended.error["cause"] == "image missing"
    assert "401" in ended.stderr or "unauthorized" in ended.stderr.lower()


def docker_secret(name: str, data: dict[str, str]) -> client.V1Secret:
    return client.V1Secret(metadata=client.V1ObjectMeta(name=name), type="kubernetes.io/dockerconfigjson", data=data)
