"""`releaser dev`: each save is built, sent and rolled out; what fails is told, and the next save tries again. Where
releaser.yaml says so (dev.live), saved code is written into the pods that run, and no image is made."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from releaser.errors import EnvironmentUnfit, InvalidInput, Refused, ReleaserError
from releaser.flows.build import build, load
from releaser.flows.ports import Containers, Saves
from releaser.flows.release import follow, locked, record, settle
from releaser.flows.target import Target, Workshop
from releaser.interrupts import Interrupted, deferred
from releaser.ledger import labels
from releaser.located import load_mapping
from releaser.models import Developed, Image, LedgerEntry, Note, PodProblem, Verdict
from releaser.settings import Project
from releaser.steps import step
from releaser.values import merge, with_image


class _Overtaken(Exception):
    """Something was saved while pods still rolled."""


@dataclass
class _Loop:
    """What was released last: its image, what chart and values were, and the live files that the image has. `written`
    are those that the pods have from elsewhere since then."""

    read_project: Callable[[], Project]
    target: Target
    workshop: Workshop
    saves: Saves
    containers: Containers
    released: tuple[str, str] | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    releases: int = 0
    failed: int = 0
    writes: int = 0


def dev(
    read_project: Callable[[], Project], target: Target, workshop: Workshop, saves: Saves, containers: Containers
) -> Developed:
    """Release now and after each save, until an interrupt; then say what was done.

    There are no tests, no receipt and no way back: a revision made here never counts as proven. The lock is held while
    a revision is made, not between.
    """
    environment = target.environment
    if environment.protected:
        raise Refused(
            f"{environment.name} is protected: it isn't released at each save",
            hint=f"releaser deploy {environment.name}",
        )
    loop = _Loop(read_project, target, workshop, saves, containers)
    saved: frozenset[Path] = frozenset()
    try:
        with locked(target, "dev", wait=True) as (held, orphaned):
            settle(held, orphaned=orphaned)
        while True:
            _cycle(loop, saved)
            target.reporter.emit(Note("waiting for the next save; Ctrl-C ends"))
            saved = saves.wait()
    except Interrupted:
        return Developed(environment.name, loop.releases, loop.failed, loop.writes)


def _cycle(loop: _Loop, saved: frozenset[Path]) -> None:
    """One release, if anything that counts has changed. Errors are told, not raised: the next save may mend them."""
    started = time.monotonic()
    reporter = loop.target.reporter
    try:
        project = loop.read_project()
        if _written(loop, project, saved, started):
            return
        files = project.live_code.files() if project.live_code else {}
        image = build(project, loop.workshop.images, loop.target.source, reporter, loop.workshop.store).image
        wanted = (image.ref, _chart_and_values(project, loop.target))
        if wanted == loop.released:
            return
        image = load(project, image, loop.workshop.store, reporter, plain_tag=False).image
        problems = _release(loop, project, image)
    except _Overtaken:
        reporter.emit(Note("saved again while pods were rolling"))
        return
    except ReleaserError as exc:
        loop.failed += 1
        reporter.emit(
            Note("\n".join([exc.message, *exc.detail.splitlines()[-10:], *[exc.hint] * bool(exc.hint)]), True)
        )
        return
    loop.released, loop.files, loop.written = wanted, files, set()
    if problems:
        loop.failed += 1
        reporter.emit(Note("\n".join([f"{problems[0].cause}: {problems[0].where}", *_last_words(problems[0])]), True))
    else:
        reporter.emit(Note(f"{image.ref} answers on every pod after {time.monotonic() - started:.1f} s"))


def _written(loop: _Loop, project: Project, saved: frozenset[Path], started: float) -> bool:
    """Whether the save was dealt with in the running pods: nothing but live files was saved since a release that runs
    well, and every pod answers with them. Raises InvalidInput for Python that can't be parsed."""
    live, target = project.live_code, loop.target
    if live is None or not saved or not all(map(live.has, saved)):
        return False
    if loop.released is None or loop.released[1] != _chart_and_values(project, target):
        return False
    now = live.files()
    differ = {name for name in {*now, *loop.files} if now.get(name) != loop.files.get(name)} | loop.written
    if not differ:
        return True
    files = {name: now.get(name) for name in sorted(differ)}
    for name, content in files.items():
        _require_parsed(live.source / name, content)
    probe = target.environment.probe.path
    try:
        with step(target.reporter, "write code") as running, locked(target, "dev", wait=True):
            pods = loop.containers.write(target.namespace, target.release, live.target, files, probe)
            running.detail = f"{', '.join(files)} into {len(pods)} pods"
    except EnvironmentUnfit as exc:
        target.reporter.emit(Note(f"{exc.message} {exc.detail}".strip() + "; so a release is made", True))
        loop.released = None  # what the pods have now is not known
        return False
    loop.written |= differ
    loop.writes += 1
    target.reporter.emit(Note(f"the saved code answers on every pod after {time.monotonic() - started:.1f} s"))
    return True


def _require_parsed(path: Path, content: bytes | None) -> None:
    """Workers that can't load the code would end the service."""
    if content is None or path.suffix != ".py":
        return
    try:
        compile(content, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        line = getattr(exc, "lineno", None)
        raise InvalidInput(
            f"While reading {path}{f':{line}' if line else ''}: {type(exc).__name__}: {exc}",
            hint="mend it and save again",
        ) from exc


def _release(loop: _Loop, project: Project, image: Image) -> tuple[PodProblem, ...]:
    environment = project.environment(loop.target.environment.name)
    values = merge(load_mapping(environment.values_file).data, project.dev_values)
    started = time.monotonic()
    with deferred(), locked(loop.target, "dev", wait=True) as (target, _):
        with step(target.reporter, "upgrade") as running:
            number = target.helm.upgrade(
                target.release,
                target.namespace,
                project.chart,
                with_image(values, image),
                labels(target.source, image),
            )
            running.detail = f"revision {number} in {target.namespace}"
        loop.releases += 1
        took = round(time.monotonic() - started, 1)
        entry = LedgerEntry("dev", took, image.id, image=image.ref if image.digest else "")
        record(target, number, Verdict.UNKNOWN, entry)
    return follow(replace(loop.target, still_ours=lambda: _go_on(loop.saves)), image)


def _go_on(saves: Saves) -> None:
    if saves.pending():
        raise _Overtaken


def _last_words(problem: PodProblem) -> list[str]:
    return [line for line in (problem.log or problem.message).splitlines() if line.strip()][-10:]


def _chart_and_values(project: Project, target: Target) -> str:
    """A hash of what else than the image makes a release."""
    digest = hashlib.sha256(repr(project.dev_values).encode())
    values_file = project.environment(target.environment.name).values_file
    for path in [values_file, *sorted(each for each in project.chart.rglob("*") if each.is_file())]:
        digest.update(f"{path}\0".encode())
        digest.update(_content(path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # gone since it was listed
        return b""
