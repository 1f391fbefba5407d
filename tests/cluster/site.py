"""A copy of this project that releases into namespaces of its own, and the command line run in it. Also for bench/."""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml
from kubernetes import client

from releaser.adapters.cluster import Cluster
from tests.conftest import ROOT, make_namespace

RELEASE = "flask-hello"
ENVIRONMENTS = ("dev", "prod")
# The part of the NodePorts from which the API server takes none by itself while others are free.
# https://kubernetes.io/docs/concepts/services-networking/service/#avoid-nodeport-collisions
STATIC_NODE_PORTS = range(30000, 30086)
_DEADLINE_SECONDS = 400.0
_COPIED = (
    "app",
    "charts",
    "Dockerfile",
    ".dockerignore",
    ".gitignore",
    "values-dev.yaml",
    "values-prod.yaml",
    "lintconf.yaml",
    "chart_schema.yaml",
)


def eventually(what: str, probe: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true answer. Raises AssertionError with what was awaited."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := probe():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass(frozen=True)
class Ended:
    """A releaser that ended, run with --output json: its exit code (negative: the signal), result, events and error."""

    code: int
    stdout: str = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [document for line in self.lines if "event" in (document := _document(line))]

    @property
    def error(self) -> dict[str, Any]:
        """What releaser says of its failure; empty when it said nothing."""
        return next((document for line in self.lines if "exit_code" in (document := _document(line))), {})

    @property
    def stderr(self) -> str:
        """Without the many lines that only tell how pods come along."""
        return "\n".join(line for line in self.lines if _document(line).get("event") != "PodsChanged")


class Running:
    """A releaser in the background, to be looked at and ended while it works. Killed after 400 seconds."""

    def __init__(self, argv: list[str], environment: Mapping[str, str]) -> None:
        self._stdout = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by end()
        self.process = subprocess.Popen(
            argv, stdout=self._stdout, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment}
        )
        self._timer = threading.Timer(_DEADLINE_SECONDS, self.process.kill)
        self._timer.daemon = True
        self._timer.start()
        self._lines: list[str] = []
        self._written: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Read all the time: a program whose pipe is full stands still, and keeps its lock meanwhile."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._written.put(line)
        self._written.put("")

    def events(self) -> Iterator[dict[str, Any]]:
        """Each event when it is written; ends with the program's stderr. May be called again to go on."""
        while line := self._written.get():
            self._lines.append(line.rstrip())
            if "event" in (document := _document(line)):
                yield document
        self._written.put("")

    def until(self, event: str, step: str) -> None:
        """Until the step has reported `event` (StepStarted, StepEnded). Raises AssertionError when it never comes."""
        for seen in self.events():
            if (seen["event"], seen.get("name")) == (event, step):
                return
        raise AssertionError(f"releaser ended before {event} of {step}:\n" + "\n".join(self._lines))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> Ended:
        """Wait for the end."""
        for _ in self.events():
            pass
        code = self.process.wait()
        self._timer.cancel()
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()
        self._stdout.seek(0)
        with self._stdout:
            return Ended(code, self._stdout.read(), tuple(self._lines))


@dataclass(frozen=True)
class Site:
    """A project directory, its namespaces by environment, and the NodePort that is dev's."""

    root: Path
    namespaces: dict[str, str]
    cluster: Cluster
    node_port: int

    # -- the command line ----------------------------------------------------------------------------------------------

    def releaser(
        self, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            self._argv(*arguments),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Running:
        """The command in the background, with --output json."""
        return Running(self._argv("--output", "json", *arguments), environment or {})

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        """The command to its end with --output json, whatever its exit code."""
        return self.start(*arguments, environment=environment).end()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.releaser("--output", "json", *arguments).stdout)

    def history(self, environment: str = "dev") -> list[dict[str, Any]]:
        """All revisions, newest first."""
        revisions: list[dict[str, Any]] = self.json("history", environment)["revisions"]
        return revisions

    def verdicts(self, environment: str = "dev") -> list[tuple[int, str]]:
        return [(revision["number"], revision["verdict"]) for revision in self.history(environment)]

    def _argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "releaser", "--project", str(self.root), *arguments]

    # -- the project ---------------------------------------------------------------------------------------------------

    def values(self, environment: str, **changed: Any) -> None:
        """Lay values over those that the environment has."""
        _lay_over(self.root / f"values-{environment}.yaml", changed)

    def settings(self, environment: str, **changed: Any) -> None:
        """Lay settings over those that releaser.yaml has for the environment."""
        path = self.root / "releaser.yaml"
        document = yaml.safe_load(path.read_text())
        document["environments"][environment] |= changed
        path.write_text(yaml.safe_dump(document))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace the one place in the file where `old` stands."""
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} places with {old!r}, one is wanted"
        path.write_text(text.replace(old, new))

    def write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text)

    def commit(self, message: str) -> str:
        """Everything as it is now, as one commit of a repository that begins here; each is a minute younger than the
        one before. The commit's full name."""
        if not (self.root / ".git").exists():
            self._git("init", "--quiet")
        minute = int(self._git("rev-list", "--count", "--all"))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message, minute=minute)
        return self._git("rev-parse", "HEAD")

    def reset(self) -> None:
        """Back to the last commit, and nothing beside it."""
        self._git("checkout", "--quiet", "--force", "--", ".")
        self._git("clean", "--quiet", "-ffdx")

    def checkout(self, root: Path, commit: str) -> Site:
        """The same project at a commit in another directory: what another machine would have checked out."""
        shutil.copytree(self.root, root)
        there = Site(root, self.namespaces, self.cluster, self.node_port)
        there._git("checkout", "--quiet", "--detach", commit)
        return there

    def _git(self, *arguments: str, minute: int = 0) -> str:
        identity = {
            name: value
            for role in ("AUTHOR", "COMMITTER")
            for name, value in ((f"GIT_{role}_NAME", "test"), (f"GIT_{role}_EMAIL", "test@localhost"))
        }
        dates = {f"GIT_{role}_DATE": f"2026-01-01T00:{minute:02d}:00+0000" for role in ("AUTHOR", "COMMITTER")}
        # nobody's own settings, such as signing
        nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            ["git", "-C", self.root, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **identity, **dates, **nobody},
        ).stdout.strip()

    # -- the cluster ---------------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> str:
        return self.namespaces["dev"]

    @property
    def core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.cluster.api)

    @property
    def url(self) -> str:
        """Where dev answers."""
        return f"http://{self.cluster.node_ip()}:{self.node_port}"

    def get(self, path: str = "/") -> dict[str, Any]:
        """What the service answers over its NodePort."""
        answer: dict[str, Any] = requests.get(
            f"{self.url}{path}", timeout=5, headers={"Accept": "application/json"}
        ).json()
        return answer


@contextmanager
def site(root: Path, cluster: Cluster) -> Iterator[Site]:
    """A new project in the directory `root` and new namespaces, which are removed afterwards."""
    copy_project(root)
    core = client.CoreV1Api(cluster.api)
    namespaces = {name: make_namespace() for name in ENVIRONMENTS}
    settings = {
        name: {"context": cluster.context, "namespace": namespace, "protected": name == "prod", "deadlineSeconds": 120}
        for name, namespace in namespaces.items()
    }
    (root / "releaser.yaml").write_text(yaml.safe_dump({"release": RELEASE, "environments": settings}))
    made = Site(root, namespaces, cluster, free_node_port(cluster))
    made.values("dev", service={"nodePort": made.node_port})
    try:
        for namespace in namespaces.values():
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace, labels=labels)))
        yield made
    finally:
        for namespace in namespaces.values():
            core.delete_namespace(namespace, propagation_policy="Background")


def free_node_port(cluster: Cluster) -> int:
    """One that no Service holds now. By chance, so that runs at the same time hardly get the same; pytest-xdist's
    workers never do."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = STATIC_NODE_PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    by_chance = random.sample(own, len(own))
    return next(port for port in by_chance if cluster.node_port_holder(port) is None)


def copy_project(root: Path) -> None:
    """What releaser needs of this project; releaser.yaml is the copy's own."""
    root.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)


def _lay_over(path: Path, changed: Mapping[str, Any]) -> None:
    values = yaml.safe_load(path.read_text())
    for key, value in changed.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(values))


def _document(line: str) -> dict[str, Any]:
    """The JSON object that the line is; empty for any other line, such as those of a traceback."""
    try:
        document = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
