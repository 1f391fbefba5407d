"""How long from saving a file to the new code answering on every pod: `python -m bench.loop [--rounds N]`.

Side by side on one cluster, each in a namespace of its own, in turns:

    releaser dev            saved code is written into the pods that run, as releaser.yaml says
    releaser dev, by image  the same without `dev.live`: built, sent and rolled out
    the naive loop          docker build, minikube image load, helm upgrade --wait
    pods alone              no build and nothing sent: the same pods replaced as `releaser dev` replaces them, which is
                            the least that any loop takes that starts pods anew

Every pod answers when so many answers in a row, on new connections, came from the new code, and from as many pods as
there are replicas. Results go to bench/results/loop.json.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml
from kubernetes import client

from bench.record import circumstances, save, table, tool
from releaser.adapters.cluster import Cluster
from releaser.adapters.docker import LOCAL_BASE, LOCAL_BUILD_BASE
from releaser.settings import load_project
from tests.cluster.site import RELEASE, Running, Site, site
from tests.conftest import ROOT

_IN_A_ROW = 20
_SECONDS = 300.0
_CALM_SECONDS = 5.0
_CHART = "charts/flask-hello"


@dataclass
class Code:
    """The one line that is saved again and again; the service tells it at /version."""

    site: Site
    number: int = 0
    run: int = field(default_factory=lambda: int(time.time()))  # no image of an earlier one will do

    def save(self) -> str:
        self.number += 1
        path = self.site.root / "app" / "__init__.py"
        version = f"1.{self.run}.{self.number}"
        path.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', path.read_text()))
        return version


def await_answers(site: Site, is_new: Callable[[dict[str, Any]], bool]) -> None:
    """Until every pod answers with the new."""
    pods: list[str] = []
    end = time.monotonic() + _SECONDS
    while len(pods) < _IN_A_ROW or len(set(pods)) < _replicas(site):
        if time.monotonic() > end:
            raise SystemExit(f"the new code does not answer after {_SECONDS:.0f} s")
        with suppress(requests.RequestException, KeyError):
            said = site.get()
            pods = [*pods, said["pod"]] if is_new(said) else []
            continue
        pods = []


def await_calm(site: Site) -> None:
    """Until the pods of the round before are gone, as when somebody thinks between two saves."""
    end = time.monotonic() + _SECONDS
    while len(site.cluster.pods(site.namespace, RELEASE)) > _replicas(site) and time.monotonic() < end:
        time.sleep(0.5)
    time.sleep(_CALM_SECONDS)


def _replicas(site: Site) -> int:
    return int(yaml.safe_load((site.root / _CHART / "values.yaml").read_text())["replicaCount"])


# -- the contestants ---------------------------------------------------------------------------------------------------


class Dev:
    name = "releaser dev"

    def __init__(self, made: Site, *, live: bool = True) -> None:
        self.site = made
        if not live:
            self.name += ", by image"
        self._code = Code(made)
        path = made.root / "releaser.yaml"
        own = yaml.safe_load((ROOT / "releaser.yaml").read_text())
        dev = {key: value for key, value in own["dev"].items() if live or key != "live"}
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"dev": dev}))

    def round(self) -> float:
        running = self.site.start("dev")
        try:
            self._await_idle(running)
            started = time.monotonic()
            version = self._code.save()
            await_answers(self.site, lambda said: said["version"] == version)
            return time.monotonic() - started
        finally:
            running.signal(2)
            running.end()

    def _await_idle(self, running: Running) -> None:
        if not any("waiting for the next save" in event.get("text", "") for event in running.events()):
            raise SystemExit(f"releaser dev ended: {running.end().stderr}")


class Naive:
    name = "the naive loop"

    def __init__(self, made: Site) -> None:
        self.site = made
        self._code = Code(made)

    def round(self) -> float:
        if not self._code.number:
            self._release(self._code.save())
        started = time.monotonic()
        version = self._code.save()
        self._release(version)
        await_answers(self.site, lambda said: said["version"] == version)
        return time.monotonic() - started

    def _release(self, version: str) -> None:
        context, image = self.site.cluster.context, f"{RELEASE}:naive-{version}"
        bases = [f"--build-arg=BASE={LOCAL_BASE}", f"--build-arg=BUILD_BASE={LOCAL_BUILD_BASE}"]
        values = ["--values", f"{self.site.root}/values-dev.yaml", "--set-string", f"image.tag=naive-{version}"]
        for argv in (
            [
                "docker",
                "build",
                "--quiet",
                "--network=host",
                *(bases if _has_local_base() else []),
                "--tag",
                image,
                ".",
            ],
            [tool("minikube"), "--profile", context, "image", "load", image],
            [
                *(tool("helm"), "upgrade", "--install", RELEASE, _CHART, *values, "--wait"),
                *("--namespace", self.site.namespace, "--kube-context", context),
            ],
        ):
            subprocess.run(list(map(str, argv)), cwd=self.site.root, check=True, capture_output=True)


class PodsAlone:
    """The pods that `releaser dev` has made, replaced."""

    name = "pods alone"

    def __init__(self, made: Site) -> None:
        self.site = made

    def round(self) -> float:
        old = {pod.name for pod in self.site.cluster.pods(self.site.namespace, RELEASE)}
        started = time.monotonic()
        stamp = {"spec": {"template": {"metadata": {"annotations": {"bench/restarted": str(started)}}}}}
        client.AppsV1Api(self.site.cluster.api).patch_namespaced_deployment(RELEASE, self.site.namespace, stamp)
        await_answers(self.site, lambda said: said["pod"] not in old)
        return time.monotonic() - started


def _has_local_base() -> bool:
    return subprocess.run(["docker", "image", "inspect", LOCAL_BASE], capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.loop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    options = parser.parse_args()
    cluster = Cluster(options.context)
    document = circumstances(cluster)
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dev = Dev(stack.enter_context(site(root / "dev", cluster)))
        by_image = Dev(stack.enter_context(site(root / "image", cluster)), live=False)
        naive = Naive(stack.enter_context(site(root / "naive", cluster)))
        for _ in range(options.rounds):
            for contestant in (dev, by_image, PodsAlone(by_image.site), naive):
                await_calm(contestant.site)
                seconds = contestant.round()
                found.setdefault(contestant.name, []).append(seconds)
                print(f"{contestant.name:23} {seconds:6.2f} s", flush=True)
    document["seconds"] = found
    ours = statistics.median(found[Dev.name])
    rows = [
        [name, statistics.median(each), min(each), max(each), statistics.median(each) / ours]
        for name, each in found.items()
    ]
    print(f"\n{table(['from save to answers', 'median, s', 'least', 'most', 'of releaser dev'], rows)}")
    print(f"\nwritten to {save('loop', document)}")


if __name__ == "__main__":
    main()
