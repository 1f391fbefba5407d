"""Takes down what is to be seen of a failed revision, before anything is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from releaser.errors import ReleaserError
from releaser.flows.target import Target
from releaser.incident import (
    Changes,
    ContainerLog,
    Incident,
    last_traceback,
    manifest_diff,
    telling_line,
    value_changes,
)
from releaser.masks import Mask, secrets_in_objects, secrets_in_values
from releaser.models import ContainerState, Image, Note, PodProblem, PodState, Receipt, Revision, Values
from releaser.objects import Mark, leaves
from releaser.steps import step

_LOG_LINES = 500


@dataclass(frozen=True)
class Kept:
    """An incident and where it is kept; no path when it could not be written."""

    incident: Incident
    path: Path | None


def take_down(
    target: Target,
    failed: Revision,
    image: Image,
    problems: tuple[PodProblem, ...],
    good: Revision | None,
    since: datetime,
    receipt: Receipt | None,
) -> Kept:
    """Never stands in the way of a rollback: what can't be had is left out, with a note that says so."""
    with step(target.reporter, "keep evidence") as running:
        incident = _gather(target, failed, image, problems, good, since, receipt)
        kept = Kept(incident, None)
        with _welcome(target, "keeping the incident"):
            kept = Kept(incident, target.incidents.save(incident))
            running.detail = str(kept.path)
    return kept


def conclude(target: Target, kept: Kept, done: str) -> None:
    """Add to a kept incident what was done about it."""
    if kept.path is not None:
        with _welcome(target, "writing down what was done"):
            target.incidents.save(replace(kept.incident, done=done), kept.path)


def _gather(
    target: Target,
    failed: Revision,
    image: Image,
    problems: tuple[PodProblem, ...],
    good: Revision | None,
    since: datetime,
    receipt: Receipt | None,
) -> Incident:
    pods: tuple[PodState, ...] = ()
    logs: list[ContainerLog] = []
    incident = Incident(
        environment=target.environment.name,
        release=target.release,
        namespace=target.namespace,
        context=target.cluster.context,
        revision=failed,
        image=image,
        at=datetime.now(UTC),
        problem=problems[0],
        problems=problems,
        telling_line="",
        traceback="",
        changes=None,
        pods=(),
        events=(),
        logs=(),
        receipt=receipt,
    )
    # until the secrets are known, anything may be one
    mask: Callable[[str], str] = _hidden
    with _welcome(target, "comparing with the last good revision"):
        mask, changes = _compared(target, failed, good)
        incident = replace(incident, changes=changes)
    with _welcome(target, "reading pods and events"):
        pods = target.cluster.witnesses(target.namespace, target.release, since)
        events = target.cluster.events(target.namespace, since)
        incident = replace(
            incident,
            pods=tuple(_masked(each, mask) for each in pods),
            events=tuple(replace(each, message=mask(each.message)) for each in events),
        )
    for pod in pods:
        with _welcome(target, f"reading the logs of {pod.name}"):
            logs += _logs(target, pod, mask)
    text = _text_of(problems[0], logs)
    masked = tuple(replace(each, message=mask(each.message), log=mask(each.log)) for each in problems)
    return replace(
        incident,
        revision=replace(failed, description=mask(failed.description)),
        problem=masked[0],
        problems=masked,
        logs=tuple(logs),
        telling_line=mask(telling_line(text)),
        traceback=last_traceback(mask(text)),
    )


def _hidden(text: str) -> str:
    return Mark.HIDDEN.value if text else ""


def _masked(pod: PodState, mask: Callable[[str], str]) -> PodState:
    """What the kubelet says may quote what it was told to start."""

    def quiet(containers: tuple[ContainerState, ...]) -> tuple[ContainerState, ...]:
        return tuple(replace(each, waiting_message=mask(each.waiting_message)) for each in containers)

    return replace(pod, containers=quiet(pod.containers), init_containers=quiet(pod.init_containers))


def _compared(target: Target, failed: Revision, good: Revision | None) -> tuple[Mask, Changes | None]:
    """How to hide the secrets of both revisions, and what differs between them."""
    after = _Recorded.of(target, failed.number)
    if good is None:
        return Mask(after.secrets), None
    before = _Recorded.of(target, good.number)
    mask = Mask(before.secrets, new=after.secrets - before.secrets)
    changes = Changes(
        good=good,
        image_before=good.image,
        image_after=failed.image,
        values=value_changes(before.leaves(mask), after.leaves(mask)),
        manifest=manifest_diff(
            mask(before.manifest), mask(after.manifest), (f"revision {good.number}", f"revision {failed.number}")
        ),
    )
    return mask, changes


@dataclass(frozen=True)
class _Recorded:
    """Values and manifest of a revision, as Helm keeps them."""

    values: Values
    manifest: str

    @classmethod
    def of(cls, target: Target, number: int) -> _Recorded:
        return cls(
            target.helm.values(target.release, target.namespace, number),
            target.helm.manifest(target.release, target.namespace, number),
        )

    @property
    def secrets(self) -> frozenset[str]:
        objects: list[Mapping[str, Any]] = [each for each in yaml.safe_load_all(self.manifest) if each]
        return secrets_in_values(self.values) | secrets_in_objects(objects)

    def leaves(self, mask: Mask) -> dict[str, str]:
        return {address: mask(str(leaf)) for address, leaf in leaves(self.values).items()}


def _logs(target: Target, pod: PodState, mask: Callable[[str], str]) -> Iterator[ContainerLog]:
    for container in (*pod.init_containers, *pod.containers):
        for previous in (True, False) if container.restarts else (False,):
            text = target.cluster.log(target.namespace, pod.name, container.name, previous=previous, lines=_LOG_LINES)
            if text:
                yield ContainerLog(pod.name, container.name, previous, mask(text))


def _text_of(problem: PodProblem, logs: list[ContainerLog]) -> str:
    """What the failed container wrote: its previous run, if that ended in a traceback or there is no other."""
    if problem.log:
        return problem.log
    own = [log.text for log in logs if (log.pod, log.container) == (problem.pod, problem.container)]
    return next((text for text in own if last_traceback(text)), own[0] if own else "")


@contextmanager
def _welcome(target: Target, doing: str) -> Iterator[None]:
    """Evidence is welcome, but a rollback doesn't wait for it."""
    try:
        yield
    except (ReleaserError, OSError) as exc:
        target.reporter.emit(Note(f"while {doing}: {exc}", warning=True))
