"""One service on Kubernetes, under Docker Compose and in virtual machines: `python -m bench.platforms [OPTIONS]`.

On one machine, in turns and in one run, with the same code, settings and CPU:

    kubernetes     the chart on Minikube, two pods, by `releaser deploy`
    compose        one container that publishes its port, as most Compose files are
    compose-proxy  two containers behind HAProxy; an update starts new ones beside the old and then stops these
    machine        one virtual machine (QEMU), the service under systemd, updated in place
    machines       two of them behind HAProxy, updated one after the other

Measured: from nothing to all instances answering; SIGKILL of the service, and of the whole pod, container or machine;
an update and a rollback under 10 requests a second; one instance more; memory; requests a second and latency of one
instance. What is missing is installed (Debian packages, as root) or built (Compose, from its pinned module). Nothing is
left running, also after Ctrl-C. Results go to bench/results/platforms.json; with --only, to platforms-part.json.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.platforms import containers, guest_image, machines, programs, proxy
from bench.platforms.cluster import Kubernetes, releases
from bench.platforms.contestant import CPUS, MEMORY_MIB, THREADS, WORKERS, Contestant, Release
from bench.platforms.measure import BY_ITSELF_SECONDS, CONNECTIONS, LATENCY_RATE, LOAD_SECONDS, RATE, Turn
from bench.record import circumstances, save
from bench.tables import shown
from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.console import Output, Printer
from releaser.errors import ReleaserError
from releaser.settings import load_project
from tests.cluster.site import site
from tests.conftest import ROOT

KEYS = ("kubernetes", "compose", "compose-proxy", "machine", "machines")
_TABLES = ("start", "recovery", "updates", "memory", "load")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _terminated)
    printer = Printer(Output.TEXT)
    try:
        _compare(options, printer)
    except ReleaserError as error:
        printer.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        return 130
    finally:
        printer.close()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.platforms", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=KEYS, action="append", help="may be repeated; default: all")
    parser.add_argument("--context", default=load_project(ROOT).environment("dev").context)
    return parser.parse_args()


def _compare(options: argparse.Namespace, printer: Printer) -> None:
    keys = options.only or list(KEYS)
    cluster = Cluster(options.context)
    document = circumstances(cluster)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="releaser-bench-")))
        where = stack.enter_context(site(directory / "project", cluster))
        both = releases(where, directory)
        document |= _settings()
        entered = stack.enter_context(_contestants(keys, both, directory, printer, document))
        made: list[Contestant] = [*([Kubernetes(where)] if "kubernetes" in keys else []), *entered]
        document["contestants"] = {each.key: {"name": each.name, "instances": each.instances} for each in made}
        document["rounds"] = rounds = []
        name = "platforms-part" if options.only else "platforms"
        for number in range(options.rounds):
            turn = number % len(made)
            figures: dict[str, Any] = {}
            for contestant in [*made[turn:], *made[:turn]]:
                started = time.monotonic()
                figures[contestant.key] = Turn(contestant, both, _say).run()
                figures[contestant.key]["turn_seconds"] = time.monotonic() - started
            rounds.append(figures)
            # kept after each round: a later one may be interrupted
            written = save(name, document)
    for table in _TABLES:
        print(f"\n{shown('platforms', table, document)}")
    into_docs = "" if options.only else "; `python -m bench.tables` brings it into docs/"
    print(f"\nwritten to {written}{into_docs}")


def _settings() -> dict[str, Any]:
    return {
        "command": " ".join(["python -m bench.platforms", *sys.argv[1:]]),
        "settings": {
            "workers": WORKERS,
            "threads": THREADS,
            "cpus": CPUS,
            "container_memory_mib": MEMORY_MIB,
            "machine_memory_mib": machines.MEMORY_MIB,
            "requests_per_second": RATE,
            "latency_requests_per_second": LATENCY_RATE,
            "load_seconds": LOAD_SECONDS,
            "load_connections": CONNECTIONS,
            "by_itself_within_seconds": BY_ITSELF_SECONDS,
        },
    }


@contextmanager
def _contestants(
    keys: list[str], both: tuple[Release, Release], directory: Path, printer: Printer, document: dict[str, Any]
) -> Iterator[list[Contestant]]:
    """All but Kubernetes. Adds versions to the document."""
    process = Process(printer)
    made: list[Contestant] = []
    if {"compose-proxy", "machines"} & set(keys):
        proxy.build()
    if {"compose", "compose-proxy"} & set(keys):
        program = programs.compose(process, printer)
        document["versions"] |= {"compose": programs.COMPOSE.version, "docker": _docker_version()}
        for kind in (containers.Alone, containers.Behind):
            if kind.key in keys:
                made.append(kind(program, both, directory))
    if {"machine", "machines"} & set(keys):
        programs.install(process, printer)
        guest = guest_image.make(both[0], process, printer)
        accelerator, reason = guest_image.accelerator(guest)
        document["accelerator"] = {"name": accelerator, "reason": reason}
        document["versions"]["qemu"] = _qemu_version()
        _say(f"virtual machines run with {accelerator}" + (f": {reason}" if reason else ""))
        for sort in (machines.Alone, machines.Behind):
            if sort.key in keys:
                made.append(sort(guest, accelerator, both, directory))
    try:
        for contestant in made:
            contestant.stop()  # what a killed run may have left
        yield made
    finally:
        for contestant in made:
            contestant.stop()


def _docker_version() -> str:
    return _said(["docker", "version", "--format", "{{.Server.Version}}"])


def _qemu_version() -> str:
    found = re.search(r"version (\S+)", _said(["qemu-system-x86_64", "--version"]))
    return found[1] if found else ""


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _say(line: str) -> None:
    print(line, flush=True)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM cleans up as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
