"""Images into nodes, with real container runtimes: only what a node lacks is sent, and nothing half done has a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from releaser.adapters.docker import Images
from releaser.adapters.exporter import Exporter, Way
from releaser.adapters.machines import Machine, machines
from releaser.adapters.node import MinikubeNodes
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.errors import EnvironmentUnfit
from releaser.models import Image, Note, Sent
from tests.cluster import nodes
from tests.cluster.nodes import run
from tests.cluster.site import eventually
from tests.cluster.test_images import dockerfile
from tests.fakes import Recorder
from tests.images import imported

pytestmark = pytest.mark.cluster

BIG, SMALL = 40_000_000, 200_000
REPOSITORY = "releaser-test"


@pytest.fixture(scope="module", params=["containerd", "docker", "cri-o"])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, context: str
) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp(request.param)
    with {
        "containerd": lambda: nodes.containerd(context),
        "docker": nodes.docker,
        "cri-o": lambda: nodes.podman(directory),
    }[request.param]() as made:
        yield made


def reached(*found: Machine, exporter: Exporter | None = None) -> MinikubeNodes:
    recorder = Recorder()
    process = Process(recorder)
    return MinikubeNodes(process, Tools(process), "nodes", recorder, find=lambda _: list(found), exporter=exporter)


def make(directory: Path, tag: str, **content: int) -> Image:
    """An image with a layer of so many random bytes for each name."""
    directory.mkdir(exist_ok=True)
    for name, size in content.items():
        if not (directory / name).exists():
            (directory / name).write_bytes(os.urandom(size))
    path = dockerfile(directory, "\n".join(f"COPY {name} /{name}" for name in content))
    return Images(Process(Recorder())).build(Image(REPOSITORY, tag), path, {})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return make(tmp_path_factory.mktemp("image"), "first", big=BIG, small=SMALL)


def changed(directory: Path, image: Image) -> Image:
    """With another last layer."""
    path = directory / "Dockerfile"
    (directory / "small").write_bytes(os.urandom(SMALL))
    path.write_text(f"FROM {image.id}\nCOPY small /small\n")
    return Images(Process(Recorder())).build(Image(REPOSITORY, f"changed-{os.urandom(4).hex()}"), path, {})


class Only(Exporter):
    """One of the ways."""

    def __init__(self, number: int) -> None:
        self._number = number

    def ways(self, image: Image, name: str, have: Sequence[str], layout: str) -> Iterator[Way]:
        yield list(super().ways(image, name, have, layout))[self._number]


class Spoilt(Exporter):
    """What comes from Docker's store has a byte turned round on its way."""

    def ways(self, image: Image, name: str, have: Sequence[str], layout: str) -> Iterator[Way]:
        way = next(super().ways(image, name, have, layout))
        turn = (
            "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE); "
            "first = bytearray(p.stdout.read(100_000)); first[-1] ^= 1; sys.stdout.buffer.write(first); "
            "[sys.stdout.buffer.write(part) for part in iter(lambda: p.stdout.read(1 << 20), b'')]"
        )
        yield replace(way, argv=(sys.executable, "-c", turn, *way.argv))


def test_a_node_gets_everything_once_and_then_what_it_lacks(machine: Machine, first: Image, tmp_path: Path) -> None:
    nodes = reached(machine)
    assert nodes.image_ids(first.ref) == ("",)
    sent = nodes.load(first)
    assert sent.layers_sent == sent.layers and sent.bytes_sent and sent.bytes_sent > BIG
    assert nodes.image_ids(first.ref) == (first.id,)

    second = changed(tmp_path, first)
    sent = reached(machine).load(second)
    assert (sent.layers_sent, sent.layers) == (1, sent.layers)
    assert sent.bytes_sent and SMALL < sent.bytes_sent < SMALL + 20_000  # config, manifest and a tar's padding
    assert nodes.image_ids(second.ref, first.ref) == (second.id, first.id)


def test_an_image_gets_a_second_name(machine: Machine, first: Image) -> None:
    nodes = reached(machine)
    nodes.load(first)
    nodes.tag(first, f"{REPOSITORY}:second-name")
    assert nodes.image_ids(f"{REPOSITORY}:second-name", f"{REPOSITORY}:third-name") == (first.id, "")


def test_a_name_that_was_given_to_other_content_by_hand_is_noticed_and_given_back(
    machine: Machine, first: Image, tmp_path: Path
) -> None:
    nodes, other = reached(machine), make(tmp_path, "other", small=SMALL)
    nodes.load(first)
    nodes.load(other)
    nodes.tag(other, first.ref)
    assert nodes.image_ids(first.ref) == (other.id,)
    nodes.load(first)
    assert nodes.image_ids(first.ref, other.ref) == (first.id, other.id)


def test_an_image_goes_with_its_last_name_and_its_layers_with_it(machine: Machine, tmp_path: Path) -> None:
    image, second = make(tmp_path, "goes", small=SMALL), f"{REPOSITORY}:goes-too"
    nodes = reached(machine)
    nodes.load(image)
    nodes.tag(image, second)
    assert nodes.remove(image.ref)
    assert nodes.image_ids(image.ref, second) == ("", image.id)
    nodes.load(image)
    for ref in (image.ref, second):
        assert ref in nodes.refs(REPOSITORY)
        nodes.remove(ref)
    assert not {image.ref, second} & set(nodes.refs(REPOSITORY))
    layers = Exporter().layers_of(image)
    eventually("its layer is gone", lambda: layers[-1] not in nodes._look()[0].of(layers))


@pytest.mark.parametrize("way", [1, 2], ids=["a container reads the store", "docker save"])
def test_who_may_not_read_dockers_store_has_other_ways(machine: Machine, tmp_path: Path, way: int) -> None:
    image = make(tmp_path, f"way-{way}", small=SMALL)
    nodes = reached(machine, exporter=Only(way))
    nodes.load(image)
    assert nodes.image_ids(image.ref) == (image.id,)


def test_a_spoilt_layer_is_refused_and_names_nothing(machine: Machine, tmp_path: Path) -> None:
    image = make(tmp_path, "spoilt", small=SMALL)
    with pytest.raises(EnvironmentUnfit, match="While loading"):
        reached(machine, exporter=Spoilt()).load(image)
    assert reached(machine).image_ids(image.ref) == ("",)
    reached(machine).load(image)


def test_several_nodes_get_it_at_the_same_time(context: str, first: Image, tmp_path: Path) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(nodes.containerd(context)), stack.enter_context(nodes.docker())]
        told: list[str] = []
        sent = reached(*both).load(first, told.append)
        assert sent.layers_sent == sent.layers
        for machine in both:
            assert reached(machine).image_ids(first.ref) == (first.id,)
        second = changed(tmp_path, first)
        reached(both[0]).load(second)
        # who has it in part only has it not
        assert reached(*both).image_ids(second.ref, first.ref) == ("", first.id)
    assert max(float(text.split()[2]) for text in told) > 2 * BIG / 1e6


def test_a_machine_that_is_reached_by_ssh(
    context: str, first: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with Minikube's drivers that make virtual machines: their files are read, ssh is real, and so is the node."""
    home = Path(os.environ.get("MINIKUBE_HOME") or Path.home() / ".minikube")
    config = json.loads((home / "profiles" / context / "config.json").read_text())
    node = json.loads((home / "machines" / context / "config.json").read_text())
    (tmp_path / "profiles" / context).mkdir(parents=True)
    (tmp_path / "machines" / context).mkdir(parents=True)
    (tmp_path / "profiles" / context / "config.json").write_text(json.dumps(config | {"Driver": "kvm2"}))
    (tmp_path / "machines" / context / "config.json").write_text(json.dumps(node))
    home = tmp_path.rename(tmp_path.parent / ".minikube")
    monkeypatch.setenv("MINIKUBE_HOME", str(home))
    [machine] = machines(context)
    assert machine.prefix[0] == "ssh"
    sent = reached(machine).load(first)
    assert sent.bytes_sent and sent.bytes_sent > BIG
    assert reached(machine).image_ids(first.ref) == (first.id,)


def test_a_node_that_can_not_be_looked_into_is_served_by_minikube_and_told(context: str, tmp_path: Path) -> None:
    image = make(tmp_path, "by-minikube", small=SMALL)
    recorder = Recorder()
    process = Process(recorder)
    nodes = MinikubeNodes(process, Tools(process), context, recorder, find=lambda _: [])
    assert nodes.load(image) == Sent("whole, by minikube image load")
    assert nodes.image_ids(image.ref) == (image.id,)
    assert any(isinstance(event, Note) and "minikube image load" in event.text for event in recorder.events)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_leaves_no_name(context: str, first: Image) -> None:
    with nodes.containerd(context, tmpfs_bytes=BIG // 2) as machine:
        with pytest.raises(EnvironmentUnfit, match="the node's disk is full") as caught:
            reached(machine).load(first)
        assert "releaser prune" in caught.value.hint
        assert reached(machine).image_ids(first.ref) == ("",)


def test_a_layer_that_is_damaged_in_dockers_store_is_told_and_names_nothing(context: str, tmp_path: Path) -> None:
    image = make(tmp_path, f"damaged-{os.urandom(4).hex()}", small=SMALL)
    engine = docker.from_env()
    layer = engine.images.get(image.id).attrs["GraphDriver"]["Data"]["UpperDir"]
    with (Path(layer) / "small").open("r+b") as file:
        file.write(b"another beginning")
    with nodes.containerd(context) as machine:
        with pytest.raises(EnvironmentUnfit, match="Docker's copy of the image is damaged") as caught:
            reached(machine).load(image)
        assert "another digest in the store" in caught.value.detail
        assert image.ref in caught.value.hint
        assert reached(machine).image_ids(image.ref) == ("",)
    engine.images.remove(image.id, force=True)


def test_a_tag_goes_from_nodes_of_which_some_have_it(first: Image) -> None:
    """And one that a container holds stays, where the engine doesn't let it go."""
    with nodes.docker() as one, nodes.docker() as two:
        reached(one).load(first)
        both = reached(replace(one, name="one"), replace(two, name="two"))
        run(*one.command("docker", "create", "--name", "held", first.id, "true"))
        assert not both.remove(first.ref)
        run(*one.command("docker", "rm", "held"))
        assert both.refs(REPOSITORY) == (first.ref,)
        assert both.remove(first.ref)
        assert both.refs(REPOSITORY) == ()


def test_what_a_broken_off_transfer_left_is_dropped_when_nobody_is_at_it_any_more(context: str) -> None:
    old, new = (imported(REPOSITORY, f"swept-{number}") for number in (1, 2))
    layers = [Exporter().layers_of(image)[0] for image in (old, new)]
    with nodes.containerd(context) as machine:
        ctr = machine.command("ctr", "-n", "k8s.io", "content")
        for image, layer, since in ((old, layers[0], 1), (new, layers[1], int(time.time()))):
            reached(machine).load(image)
            run(*ctr, "label", layer, f"containerd.io/gc.root=arriving.{since}")
        reached(machine).sweep()
        left = [line.split()[0] for line in run(*ctr, "ls").splitlines() if "gc.root=arriving" in line]
    assert left == [layers[1]]
    for image in (old, new):
        docker.from_env().images.remove(image.id, force=True)


SENDER = """
import sys
from releaser.adapters.machines import Machine
from releaser.models import Image
from tests.cluster.test_nodes import reached
machine, repository, tag, image_id = sys.argv[1:]
node = Machine(machine, "containerd", ("docker", "exec", "-i", machine))
reached(node).load(Image(repository, tag, image_id), lambda text: print(text, flush=True))
"""


@pytest.fixture
def half_sent(context: str, tmp_path: Path) -> Iterator[tuple[Machine, Image, subprocess.Popen[str]]]:
    """The first layers are over when most of the whole has been sent."""
    image = make(tmp_path / "big", "halves", one=BIG, two=BIG, three=BIG)
    with nodes.containerd(context) as machine:
        argv = [sys.executable, "-c", SENDER, machine.name, image.repository, image.tag, image.id]
        sender = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert sender.stdout is not None
        for line in sender.stdout:
            sent, _, total, _ = line.split()
            if float(sent) > 0.8 * float(total):
                break
        yield machine, image, sender
        sender.kill()
        sender.wait()
        sender.stdout.close()


Half = tuple[Machine, Image, subprocess.Popen[str]]


def assert_taken_up(machine: Machine, image: Image) -> None:
    nodes = reached(machine)
    assert nodes.image_ids(image.ref) == ("",)
    sent = nodes.load(image)
    assert 0 < sent.layers_sent < sent.layers
    assert nodes.image_ids(image.ref) == (image.id,)


def test_a_killed_releaser_leaves_no_name_and_the_next_one_sends_the_rest(half_sent: Half) -> None:
    machine, image, sender = half_sent
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    time.sleep(1)
    reached(machine).sweep()  # it is too young to be dropped
    assert_taken_up(machine, image)


def test_a_node_that_restarts_in_mid_transfer_gets_it_all_the_same(half_sent: Half) -> None:
    machine, image, sender = half_sent
    nodes.run("docker", "restart", "--time=0", machine.name)
    nodes.await_containerd(machine)
    assert sender.wait(120) in (0, 5)  # it tries other ways, and by then the node may be back
    reached(machine).load(image)
    assert reached(machine).image_ids(image.ref) == (image.id,)
