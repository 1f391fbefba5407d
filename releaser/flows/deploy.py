"""`releaser deploy ENV`: lint, build, load, lock, upgrade, follow, test, record; on failure evidence, then back to the
last good revision."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from releaser.errors import (
    EnvironmentUnfit,
    InvalidInput,
    NothingToRollBackTo,
    Refused,
    ReleaseFailed,
    ReleaseNotRestored,
    ReleaserError,
)
from releaser.flows.build import build, load
from releaser.flows.evidence import Kept, conclude, take_down
from releaser.flows.guard import Consent, require_consent
from releaser.flows.lint import Scope, lint, require_clean
from releaser.flows.plan import plan
from releaser.flows.ports import Probing
from releaser.flows.release import (
    locked,
    lost_requests,
    prove,
    record,
    remove,
    return_to,
    revision,
    revisions_of,
    settle,
)
from releaser.flows.target import Target, Workshop
from releaser.interrupts import Interrupted, deferred, interruptible
from releaser.ledger import labels, newest_good
from releaser.located import load_mapping
from releaser.models import (
    Cause,
    Deployed,
    Image,
    LedgerEntry,
    Note,
    PodProblem,
    Revision,
    Values,
    Verdict,
)
from releaser.plans import Plan, require_unchanged
from releaser.rollout import cause_of_refusal
from releaser.settings import Project
from releaser.steps import step
from releaser.values import merge, with_image

# Clocks differ a little: evidence may be so much older than the deploy seems to be.
_CLOCK_SKEW = timedelta(seconds=30)


@dataclass(frozen=True)
class Order:
    """How a deploy is wanted: exactly what a plan says, waiting for another's lock, an image from elsewhere."""

    plan: Plan | None = None
    wait: bool = True
    image: Image | None = None
    promoted_from: str = ""

    @property
    def verb(self) -> str:
        return "promote" if self.promoted_from else "deploy"


def deploy(project: Project, target: Target, workshop: Workshop, consent: Consent, order: Order = Order()) -> Deployed:
    """Raises before anything is touched: Refused, InvalidInput, EnvironmentUnfit. Afterwards: ReleaseFailed when the
    previous state is back, ReleaseNotRestored when it is not."""
    started = time.monotonic()
    environment = target.environment
    require_consent(environment, f"deploy {environment.name}", consent)
    require_clean(lint(project, [environment], workshop.charts, target.reporter, Scope(thorough=False)))
    values: Values = load_mapping(environment.values_file).data
    _preflight(target, project, values)
    image = order.image or build(project, workshop.images, target.source, target.reporter, workshop.store).image
    image = load(project, image, workshop.store, target.reporter).image
    with locked(target, order.verb, wait=order.wait) as (target, orphaned):
        before = settle(target, orphaned=orphaned)
        if workshop.store.image_ids(image.ref) != (image.id,):  # pruned while this one waited for the lock
            load(project, image, workshop.store, target.reporter)
        workshop.store.prepare(target.namespace, target.release)
        values = with_image(values, image, workshop.store.pull_secrets(target.release))
        if order.plan is not None:
            require_unchanged(order.plan, plan(project, target, workshop, target.live, bind_image=True))
        after = _Attempt(project, target, values, image, before, order).run()
    url = target.cluster.service_url(target.namespace, target.release)
    return Deployed(environment.name, before[0] if before else None, after, image, url, time.monotonic() - started)


def _preflight(target: Target, project: Project, values: Values) -> None:
    """Look before touching: the cluster answers, the NodePort is free."""
    with step(target.reporter, "check cluster") as running:
        running.detail = f"{target.cluster.context}, Kubernetes {target.cluster.version().lstrip('v')}"
        _require_free_node_port(target, merge(load_mapping(project.chart / "values.yaml").data, values))


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


class _Attempt:
    """One upgrade from its first write to its end, which is the new revision proven good or the old state back."""

    def __init__(
        self, project: Project, target: Target, values: Values, image: Image, before: tuple[Revision, ...], order: Order
    ) -> None:
        self._project, self._target, self._values, self._image = project, target, values, image
        self._before, self._order = before, order
        self._started, self._began = time.monotonic(), datetime.now(UTC) - _CLOCK_SKEW
        self._probing: Probing | None = None

    def run(self) -> Revision:
        """The new revision, recorded as good. Only the way there can be interrupted, the way back can't."""
        with deferred(self._say_heard):
            try:
                with ExitStack() as probes:
                    with interruptible():
                        self._probing = self._probe(probes)
                        number, problems = self._advance()
                    self._end(number, problems)
                # the prober has told its last figures only now
                self._say_unprobed()
                self._end(number, lost_requests(self._target, self._probing))
                self._record(number, Verdict.GOOD)
            except Interrupted:
                self._undo()
                raise
            return revision(self._target, number)

    def _advance(self) -> tuple[int, tuple[PodProblem, ...]]:
        """The new revision's number and what failed it."""
        number, problems = self._upgrade()
        return number, problems or prove(self._target, self._image, self._probing)

    def _upgrade(self) -> tuple[int, tuple[PodProblem, ...]]:
        target = self._target
        target.still_ours()
        with step(target.reporter, "upgrade" if self._before else "install") as running:
            try:
                number = target.helm.upgrade(
                    target.release,
                    target.namespace,
                    self._project.chart,
                    self._values,
                    labels(target.source, self._image),
                )
            except ReleaserError as exc:
                newest = revisions_of(target)[:1]
                if not newest or newest == self._before[:1]:  # refused before anything was recorded
                    raise
                cause = cause_of_refusal(exc.detail)
                if cause is Cause.REFUSED and not isinstance(exc, InvalidInput):  # helm killed, no answers any more
                    cause = Cause.BROKEN_OFF
                running.detail, running.failed = str(cause), True
                return newest[0].number, (PodProblem(cause, f"helm {running.name}", exc.detail or exc.message),)
            running.detail = f"revision {number} in {target.namespace}"
        return number, ()

    def _probe(self, probes: ExitStack) -> Probing | None:
        """Requests through the service from now on; none where nothing answers yet."""
        target, wanted = self._target, self._target.environment.probe
        service = target.cluster.service_name(target.namespace, target.release)
        if not (self._before and service and wanted.rate_per_second):
            return None
        try:
            return probes.enter_context(
                target.prober.probe(target.namespace, service, self._image.ref, wanted.rate_per_second, wanted.path)
            )
        except EnvironmentUnfit as exc:
            target.reporter.emit(Note(f"no requests are sent during this deploy: {exc.message}", warning=True))
            return None

    def _record(self, number: int, verdict: Verdict, cause: str = "", kept: Kept | None = None) -> None:
        entry = LedgerEntry(
            verb=self._order.verb,
            duration_seconds=round(time.monotonic() - self._started, 1),
            image_id=self._image.id,
            image=self._image.ref if self._image.digest else "",
            plan=self._order.plan.hash if self._order.plan else "",
            cause=cause,
            incident=str(kept.path) if kept and kept.path else "",
            promoted_from=self._order.promoted_from,
            receipt=self._probing.receipt if self._probing else None,
        )
        record(self._target, number, verdict, entry)

    def _say_unprobed(self) -> None:
        trouble = self._probing.receipt.trouble if self._probing else ""
        if trouble:
            self._target.reporter.emit(Note(f"requests were not counted all the time: {trouble}", warning=True))

    def _say_heard(self) -> None:
        self._target.reporter.emit(Note("interrupted: leaving things as they should be first", warning=True))

    # -- the ways back -------------------------------------------------------------------------------------------------

    def _end(self, number: int, problems: tuple[PodProblem, ...]) -> None:
        """Nothing, or the way back: evidence first, then the newest good revision; a first install is removed. Raises
        ReleaseFailed or ReleaseNotRestored."""
        if problems:
            target = self._target
            failed = revision(target, number)
            good = newest_good(revisions_of(target), failed)
            receipt = self._probing.receipt if self._probing else None
            kept = take_down(target, failed, self._image, problems, good, self._began, receipt)
            target.reporter.emit(Note(f"revision {number} failed: {problems[0].cause}; going back", warning=True))
            try:
                self._record(number, Verdict.FAILED, problems[0].cause, kept)
                done = self._go_back(good)
            except ReleaserError as exc:
                done = f"going back failed: {exc.message}"
                conclude(target, kept, done)
                hint = exc.hint or f"releaser history {target.environment.name}"
                raise _failure(ReleaseNotRestored, target, kept, [done, *exc.detail.splitlines()[:4]], hint) from exc
            conclude(target, kept, done)
            raise _failure(ReleaseFailed, target, kept, [done], "mend it and deploy again")

    def _go_back(self, good: Revision | None) -> str:
        if good is not None:
            after = return_to(self._target, good, LedgerEntry(verb="return"))
            return f"revision {good.number} is back as revision {after.number}"
        # What a dead releaser left unjudged never was good: it is part of a first install that failed.
        foreign = [each.number for each in self._before if each.verdict is Verdict.UNKNOWN and not each.source.user]
        if foreign:
            raise NothingToRollBackTo(
                f"no earlier revision was proven good; revision {foreign[0]} was never judged",
                hint=f"releaser rollback {self._target.environment.name} {foreign[0]} returns to it all the same",
            )
        remove(self._target)
        return "the first install was removed"

    def _undo(self) -> None:
        """After an interrupt: the new revision stays if it is proven, else the old state comes back."""
        target = self._target
        newest = next(iter(revisions_of(target)), None)
        if newest is None or newest in self._before:
            return
        if newest.verdict is Verdict.UNKNOWN:
            target.reporter.emit(Note(f"interrupted: going back from revision {newest.number}", warning=True))
            self._record(newest.number, Verdict.FAILED, "interrupted")
            done = self._go_back(newest_good(revisions_of(target), newest))
            target.reporter.emit(Note(f"interrupted: {done}"))


def _failure(
    kind: type[ReleaseFailed | ReleaseNotRestored], target: Target, kept: Kept, done: list[str], hint: str
) -> ReleaseFailed | ReleaseNotRestored:
    """The verdict in ten lines: cause, the telling line, what changed, what was done, where the report is."""
    incident = kept.incident
    problem = incident.problem
    lines = [
        _first_line(problem.message),
        incident.telling_line if incident.telling_line not in problem.message else "",
        incident.changes.line if incident.changes else "",
        *done,
        f"requests: {incident.receipt.line}" if incident.receipt else "",
        f"report: {kept.path / 'report.md'}" if kept.path else "",
        f"what to do: {problem.cause.link}",
    ]
    return kind(
        f"{target.environment.name}: revision {incident.revision.number} failed: {problem.cause}, {problem.where}",
        detail="\n".join(line for line in lines if line),
        hint=hint,
        cause=problem.cause,
        incident=str(kept.path or ""),
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
