"""`releaser lint`: every layer runs, with every environment, all findings at once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from releaser.errors import EnvironmentUnfit, LintFailed
from releaser.lint import (
    chart_yaml,
    fixes,
    helm,
    images,
    kubernetes,
    policy,
    readable,
    secrets,
    style,
    unread,
    values,
    version,
    waivers,
)
from releaser.lint.kubernetes import Schemas
from releaser.lint.places import Places
from releaser.lint.subject import Charts, Repository, Subject
from releaser.models import Finding, Fixed, Linted, Reporter
from releaser.settings import Environment, Project
from releaser.steps import step


@dataclass(frozen=True)
class Scope:
    """How far lint looks. `thorough` adds what can't keep a release from succeeding: the values in ci/, versions
    against git's base (a commit's name, or empty for the usual one), and values that nothing reads."""

    thorough: bool = True
    repository: Repository | None = None
    base: str = ""
    today: date | None = None


def lint(
    project: Project, environments: Sequence[Environment], charts: Charts, reporter: Reporter, scope: Scope = Scope()
) -> Linted:
    started = time.monotonic()
    schemas = Schemas(project.lint.kubernetes)
    with step(reporter, "lint") as running:
        subject = Subject(
            project, environments, charts, schemas.version, scope.repository, scope.base, ci=scope.thorough
        )
        try:
            subject.start()
            told = list(_told(subject, _layers(subject, schemas, thorough=scope.thorough), running.progress))
            unchecked = _unchecked(subject, schemas)
        finally:
            subject.close()
        today = scope.today or datetime.now(UTC).date()
        # before they are merged: a waiver may be for one of the objects only
        found, waived = waivers.apply(told, project.lint.waivers, today, whole=scope.thorough)
        linted = Linted(
            findings=tuple(sorted(_merged(found))),
            environments=tuple(environment.name for environment in environments),
            elapsed_seconds=time.monotonic() - started,
            chart=subject.shown(project.chart),
            waived=tuple(sorted(_merged(waived))),
            unchecked=unchecked,
            directory=scope.repository.within(project.root) if scope.repository else "",
        )
        running.detail = f"{len(linted.errors)} errors, {len(linted.findings) - len(linted.errors)} others"
        running.failed = bool(linted.errors)
    return linted


def fix(project: Project, environments: Sequence[Environment], charts: Charts) -> tuple[Fixed, ...]:
    """Mend what can be mended safely, in place; what was changed."""
    subject = Subject(project, environments, charts, "")
    subject.close()
    changed = []
    for path, before in style.styled(subject):
        after = fixes.mended(before, path)
        if after != before:
            _rewrite(path.resolve(), after)
            changed.append(Fixed(subject.shown(path), fixes.diff(before, after, subject.shown(path))))
    return tuple(changed)


def _rewrite(path: Path, text: str) -> None:
    """Whole or not at all. Raises EnvironmentUnfit."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(text.encode("utf-8"))
        part.chmod(path.stat().st_mode)
        part.rename(path)
    except OSError as exc:
        raise EnvironmentUnfit(f"While mending {path}: {exc.strerror}", hint="may you write to its directory?") from exc
    finally:
        part.unlink(missing_ok=True)


def require_clean(linted: Linted) -> None:
    """Raises LintFailed, which carries all findings, when one of them is an error."""
    if linted.errors:
        raise LintFailed(f"lint found {len(linted.errors)} errors", linted.findings, hint="mend the lines named above")


Layer = Callable[[Subject], Iterator[Finding]]


def _layers(subject: Subject, schemas: Schemas, *, thorough: bool) -> list[tuple[str, Layer]]:
    """In the order in which they can begin while Helm still renders."""
    places = Places(subject)
    layers: list[tuple[str, Layer]] = [
        ("files", readable.findings),
        ("style", style.findings),
        ("Chart.yaml", chart_yaml.findings),
        ("values", values.findings),
        ("helm", helm.findings),
        ("Kubernetes schemas", lambda it: kubernetes.findings(it, schemas, places)),
        ("policy", lambda it: policy.findings(it, places)),
        ("secrets", lambda it: secrets.findings(it, places)),
        ("images", lambda it: images.findings(it, places)),
    ]
    if not thorough:
        return layers
    tried = subject.aside(lambda: list(unread.findings(subject)))
    return [*layers, ("version", version.findings), ("unread values", lambda _: iter(tried.result()))]


def _told(subject: Subject, layers: Sequence[tuple[str, Layer]], progress: Callable[[str], None]) -> Iterator[Finding]:
    for name, layer in layers:
        progress(name)
        yield from layer(subject)


def _merged(told: Sequence[Finding]) -> Iterator[Finding]:
    """Each finding once. One that several objects or values show is told once for all that show it."""
    kept: dict[Finding, list[str]] = defaultdict(list)
    for finding in told:
        bare = replace(finding, object="", message=finding.message.removeprefix(f"{finding.object}: "))
        if finding.object not in kept[bare]:
            kept[bare].append(finding.object)
    for bare, objects in kept.items():
        named = [each for each in objects if each]
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        message = f"{named[0]}{more}: {bare.message}" if named else bare.message
        yield replace(bare, message=message, object=named[0] if named else "")


def _unchecked(subject: Subject, schemas: Schemas) -> tuple[str, ...]:
    """Kinds of rendered objects that Kubernetes itself doesn't have."""
    kinds = {
        (each.object.api_version, each.object.kind)
        for variant in subject.variants
        for each in subject.documents(variant)
    }
    return tuple(
        sorted(
            f"{kind} ({api})" for api, kind in kinds if not schemas.validator(api, kind) and not schemas.built_in(api)
        )
    )
