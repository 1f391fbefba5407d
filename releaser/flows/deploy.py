"""`releaser deploy ENV`: lint, build, load, upgrade, follow, test, record; on failure back to the last good one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NoReturn

from releaser.errors import Refused, ReleaseFailed, ReleaseNotRestored, ReleaserError
from releaser.flows.build import build, load
from releaser.flows.guard import Consent, require_consent
from releaser.flows.lint import lint
from releaser.flows.ports import Images, Node
from releaser.flows.release import (
    Target,
    good_before,
    history,
    prove,
    require_no_pending,
    return_to,
    revision,
    telling_log,
)
from releaser.ledger import labels
from releaser.lint.helm import Charts
from releaser.located import load_mapping
from releaser.models import Cause, Deployed, Note, PodProblem, Revision, Source, Values
from releaser.settings import Project
from releaser.steps import step
from releaser.values import merge, with_image


@dataclass(frozen=True)
class Workshop:
    """Where the image comes from and goes to."""

    charts: Charts
    images: Images
    node: Node
    source: Source


def deploy(project: Project, target: Target, workshop: Workshop, consent: Consent) -> Deployed:
    """Raises before anything is touched: Refused, InvalidInput, EnvironmentUnfit. Afterwards: ReleaseFailed when the
    previous state is back, ReleaseNotRestored when it is not."""
    started = time.monotonic()
    environment = target.environment
    require_consent(environment, f"deploy {environment.name}", consent)
    lint(project, [environment], workshop.charts, target.reporter)
    values: Values = load_mapping(environment.values_file).data
    before = _preflight(target, project, values)
    image = build(project, workshop.images, workshop.source, target.reporter).image
    load(project, image, workshop.node, target.reporter)

    number = _upgrade(project, target, with_image(values, image), labels(workshop.source, image), before)
    problem = prove(target, number)
    after = revision(target, number)
    if problem:
        _take_back(target, after, before, problem)
    url = target.cluster.service_url(target.namespace, target.release)
    return Deployed(environment.name, before[0] if before else None, after, image, url, time.monotonic() - started)


def _preflight(target: Target, project: Project, values: Values) -> tuple[Revision, ...]:
    """Look before touching: the cluster answers, nobody holds the release, the NodePort is free."""
    with step(target.reporter, "check cluster") as running:
        running.detail = f"{target.cluster.context}, Kubernetes {target.cluster.version().lstrip('v')}"
        before = history(target.release, target.namespace, target.helm, target.cluster)
        require_no_pending(target, before)
        _require_free_node_port(target, merge(load_mapping(project.chart / "values.yaml").data, values))
    return before


def _require_free_node_port(target: Target, values: Values) -> None:
    service: dict[str, Any] = values.get("service") or {}
    port = service.get("nodePort")
    if service.get("type") != "NodePort" or not isinstance(port, int):
        return
    holder = target.cluster.node_port_holder(port)
    own = (target.namespace, target.cluster.service_name(target.namespace, target.release))
    if holder is not None and holder != own:
        raise Refused(
            f"NodePort {port} is taken by service {holder[1]} in namespace {holder[0]}",
            hint=f"remove that one, or set another service.nodePort in {target.environment.values_file.name}",
        )


def _upgrade(
    project: Project, target: Target, values: Values, labels: dict[str, str], before: tuple[Revision, ...]
) -> int:
    """The new revision's number. When Helm fails half way, what it left is taken back."""
    with step(target.reporter, "upgrade" if before else "install") as running:
        try:
            number = target.helm.upgrade(target.release, target.namespace, project.chart, values, labels)
        except ReleaserError as exc:
            newest = history(target.release, target.namespace, target.helm, target.cluster)[:1]
            if newest == before[:1]:  # refused before anything was recorded
                raise
            cause = Cause.HOOK_FAILED if "hook" in exc.detail else Cause.REFUSED
            problem = PodProblem(cause, f"helm {running.name}", exc.detail or exc.message)
            _take_back(target, newest[0], before, problem)
        running.detail = f"{target.release} in {target.namespace}, revision {number}"
    return number


def _take_back(target: Target, failed: Revision, before: tuple[Revision, ...], problem: PodProblem) -> NoReturn:
    """Evidence first, then back to the newest good revision; a first install is removed."""
    name = target.environment.name
    what = (
        f"revision {failed.number} of {target.release} in {target.namespace} failed: {problem.cause}, {problem.where}"
    )
    detail = "\n".join([problem.message, *telling_log(target, problem).splitlines()[-6:]])
    target.reporter.emit(Note(f"{what}; going back", warning=True))
    try:
        done = _restored(target, failed) if before else _removed(target)
    except ReleaserError as exc:
        raise ReleaseNotRestored(
            f"{what}; going back failed: {exc.message}",
            detail=detail,
            hint=f"releaser history {name}; then releaser rollback {name} REV",
        ) from exc
    raise ReleaseFailed(f"{what}; {done}", detail=detail, hint="mend it and deploy again")


def _restored(target: Target, failed: Revision) -> str:
    good = good_before(target, failed)
    after = return_to(target, good)
    return f"revision {good.number} is back as revision {after.number}"


def _removed(target: Target) -> str:
    with step(target.reporter, "remove first install"):
        target.helm.uninstall(target.release, target.namespace)
    return "the first install was removed"
