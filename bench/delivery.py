"""How long an image takes into Minikube's node: `python -m bench.delivery [--rounds N] [--big GIB]`.

Side by side, in turns and in one run, as whole commands: `minikube image load` and `releaser load`, of an image with a
layer of Python packages (some 400 MB in all) and one of code: first, when the node has nothing of it; after a change of
one line of the code; and when nothing changed. The image is built before the clock starts. Of releaser the bytes sent
are told, and how much more they are than the files in the layers sent. Also told is how long releaser takes to see that
this project's own image is built already, beside `docker build` with everything in its cache. With --big, an image of
so many GiB is sent as well, and the most memory that releaser and all that it starts took together is told. Results go
to bench/results/delivery.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.memory import family, total
from bench.record import Silent, circumstances, save, table, tool
from releaser.adapters.cluster import Cluster
from releaser.adapters.docker import LOCAL_BASE, LOCAL_BUILD_BASE, Images
from releaser.adapters.machines import machines
from releaser.adapters.process import Process
from releaser.models import Image
from releaser.settings import load_project
from tests.conftest import ROOT

_REPOSITORY = "releaser-bench"
_PACKAGES = "numpy pandas scipy"
_LINES = 10_000
_SECONDS = 1800
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Bench:
    """A project with nothing but an image, for one Minikube profile."""

    root: Path
    profile: str

    @property
    def dockerfile(self) -> Path:
        return self.root / "Dockerfile"

    def write(self, lines: str) -> None:
        # BASE is for releaser, which wants one; where the usual ones can't be had it would be the service's own
        self.dockerfile.write_text(f"ARG BASE={_REPOSITORY}-base:1\nFROM {_REPOSITORY}-base:1\n{lines}\n")

    def change(self) -> None:
        lines = [*map("LINE_{} = None".format, range(_LINES)), f"CHANGED = {time.time_ns()}\n"]
        (self.root / "code.py").write_text("\n".join(lines))

    def build(self) -> Image:
        images = Images(Process(Silent()))
        image = images.identify(_REPOSITORY, "1", self.dockerfile)
        return image if image.id else images.build(image, self.dockerfile, {})

    def minikube(self, image: Image) -> dict[str, Any]:
        return _timed([str(tool("minikube")), "-p", self.profile, "image", "load", image.ref])

    def releaser(self, _image: Image, *, weigh: bool = False) -> dict[str, Any]:
        argv = [sys.executable, "-m", "releaser", "--project", str(self.root), "--output", "json", "load", "dev"]
        return _timed(argv, lambda out: json.loads(out)["sent"], weigh=weigh)


def _timed(argv: list[str], read: Callable[[str], Any] = lambda out: None, *, weigh: bool = False) -> dict[str, Any]:
    """Looking at memory takes time, from who is looked at too: only with `weigh`."""
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    peak = _Peak(process.pid) if weigh else None
    out, err = process.communicate(timeout=_SECONDS)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{argv} failed:\n{out}{err}")
    return {"seconds": seconds, "memory_bytes": peak.end() if peak else None, "sent": read(out)}


class _Peak:
    """The most memory (proportional set size) that a process and all below it take together."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, total(set(family(self._pid))))


# -- the image and the node --------------------------------------------------------------------------------------------


def _make_base() -> None:
    """One layer that no other image has, so that the node can be without it."""
    if subprocess.run(["docker", "image", "inspect", f"{_REPOSITORY}-base:1"], capture_output=True).returncode == 0:
        return
    container = _docker("create", LOCAL_BUILD_BASE, "true")
    exported = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
    subprocess.run(["docker", "import", "-", f"{_REPOSITORY}-base:1"], stdin=exported.stdout, check=True)
    exported.wait()
    _docker("rm", container)


def _files_bytes(image: Image, layers: int) -> int:
    """What the files take in so many of the image's newest layers, as Docker counts it."""
    sizes = _docker("history", "--human=false", "--format", "{{.Size}}", image.ref).split()
    return sum([int(size) for size in sizes if size != "0"][:layers])


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _empty_node(bench: Bench) -> None:
    """Takes all images of the bench from the node, and waits until their layers are gone."""
    [machine] = machines(bench.profile)
    names = _in(machine.command("ctr", "-n", "k8s.io", "images", "ls", "-q")).splitlines()
    for name in names:
        if f"/{_REPOSITORY}:" in name or name.startswith("sha256:"):  # CRI's second name for the same, by config
            _in(machine.command("ctr", "-n", "k8s.io", "images", "rm", name))
    layers = json.loads(_docker("image", "inspect", f"{_REPOSITORY}-base:1"))[0]["RootFS"]["Layers"]
    while layers[0] in _in(machine.command("ctr", "-n", "k8s.io", "content", "ls", "-q")):
        time.sleep(0.5)


def _in(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


# -- the measurement ---------------------------------------------------------------------------------------------------


def _rounds(bench: Bench, rounds: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    bench.write(f"RUN python3 -m pip install --quiet --break-system-packages {_PACKAGES}\nCOPY code.py /code.py")
    contestants = {"minikube image load": bench.minikube, "releaser load": bench.releaser}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def measure(case: str, name: str, load: Callable[[Image], dict[str, Any]], image: Image) -> None:
        measured = load(image)
        told = ""
        if sent := measured["sent"]:
            measured["files_bytes"] = files = _files_bytes(image, sent["layers_sent"])
            told = f"  {sent['bytes_sent']} bytes, {sent['bytes_sent'] / files - 1:+.1%}, {sent['way']}"
        found.setdefault(case, {}).setdefault(name, []).append(measured)
        print(f"{case:16} {name:20} {measured['seconds']:6.2f} s{told}", flush=True)

    for number in range(rounds):
        order = list(contestants.items())[:: 1 if number % 2 else -1]
        for name, load in order:
            _empty_node(bench)
            bench.change()
            image = bench.build()
            measure("first", name, load, image)
            bench.change()
            image = bench.build()
            measure("one line changed", name, load, image)
            measure("unchanged", name, load, image)
    return found


def _recognised(rounds: int) -> dict[str, list[float]]:
    """Seconds, with this project's own Dockerfile and source: of releaser's step by itself, of the whole command, and
    of `docker build` with the same bases."""
    argv = [sys.executable, "-m", "releaser", "--project", str(ROOT), "--output", "json", "build", "dev"]
    bases = [f"--build-arg=BASE={LOCAL_BASE}", f"--build-arg=BUILD_BASE={LOCAL_BUILD_BASE}"]
    naive = ["docker", "build", "--quiet", "--network=host", "--tag", f"{_REPOSITORY}-service:1", *bases, str(ROOT)]
    found: dict[str, list[float]] = {"step": [], "command": [], "docker build": []}
    for number in range(rounds + 1):
        built, docker = _timed(argv, json.loads), _timed(naive)
        if number:  # the first one may have had to build
            assert not built["sent"]["rebuilt"]
            seconds = (built["sent"]["elapsed_seconds"], built["seconds"], docker["seconds"])
            for kept, each in zip(found.values(), seconds, strict=True):
                kept.append(each)
    return found


def _table(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    rows: list[list[object]] = []
    for case, by_name in found.items():
        theirs, ours = (
            statistics.median(each["seconds"] for each in runs) for runs in map(by_name.get, _NAMES) if runs
        )
        rows.append([case, theirs, f"{ours:.2f}", theirs / ours])
    return table(["", "minikube image load, s", "releaser load, s", "times faster"], rows)


_NAMES = ("minikube image load", "releaser load")


def _big(bench: Bench, gib: int) -> dict[str, Any]:
    bench.write(f"RUN head -c {gib}G /dev/urandom > /big\nCOPY code.py /code.py")
    bench.change()
    return bench.releaser(bench.build(), weigh=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delivery", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--big", type=int, default=0, metavar="GIB", help="also send an image of so many GiB")
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    options = parser.parse_args()
    document = circumstances(Cluster(options.context))
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.context)
        (bench.root / "releaser.yaml").write_text(
            f"image: {_REPOSITORY}\nenvironments: {{dev: {{context: {options.context}}}}}\n"
        )
        (bench.root / "values-dev.yaml").write_text("{}\n")
        (bench.root / "charts").symlink_to(ROOT / "charts")
        (bench.root / ".dockerignore").write_text("*\n!code.py\n")
        _make_base()
        document["rounds"] = found = _rounds(bench, options.rounds)
        bench.change()
        image = bench.build()
        document["image_bytes"] = int(_docker("image", "inspect", "--format", "{{.Size}}", image.ref))
        print(f"\nan image of {document['image_bytes'] / 1e6:.0f} MB\n{_table(found)}")
        document["recognised"] = recognised = _recognised(options.rounds)
        medians = ", ".join(f"{name} {statistics.median(each):.2f} s" for name, each in recognised.items())
        print(f"seen to be built already: {medians}")
        if options.big:
            document["big"] = measured = _big(bench, options.big)
            print(f"{options.big} GiB: {measured['seconds']:.1f} s, {measured['memory_bytes'] / 1e6:.0f} MB of memory")
        _empty_node(bench)
    print(f"\nwritten to {save('delivery', document)}")


if __name__ == "__main__":
    main()
