"""Results as people read them: each result of a flow -> the lines and tables that console prints."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from releaser import models, origin, plans, verification
from releaser.objects import Mark
from releaser.traffic import Traffic

if TYPE_CHECKING:
    from rich.console import RenderableType


def rendered(result: object) -> list[RenderableType]:
    return _RENDERERS[type(result)](result)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} m {int(seconds) % 60:02d} s"


_SEVERITY_STYLES = {
    models.Severity.ERROR: "bold red",
    models.Severity.WARNING: "yellow",
    models.Severity.INFO: "cyan",
}


def shown_findings(findings: Sequence[models.Finding]) -> list[RenderableType]:
    """By file, at 80 columns, each below its place; what to do stands below the last in a row of one rule."""
    from rich.text import Text

    lines: list[RenderableType] = []
    for index, finding in enumerate(findings):
        after = findings[index + 1] if index + 1 < len(findings) else None
        if index and findings[index - 1].file != finding.file:
            lines.append("")
        apart = "  " if len(f"{finding.place}  {finding.severity}  {finding.rule}") <= _WIDTH else "\n    "
        severity = (finding.severity.value, _SEVERITY_STYLES[finding.severity])
        lines.append(Text.assemble((finding.place, "bold"), apart, severity, "  ", (finding.rule, "dim")))
        lines += _wrapped(finding.message, "    ")
        if finding.fix and (after is None or (after.file, after.rule) != (finding.file, finding.rule)):
            lines += [Text(line, style="green") for line in _wrapped(f"-> {finding.fix}", "    ")]
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _built(built: models.Built) -> list[RenderableType]:
    return [f"{built.image.ref}  {'built' if built.rebuilt else 'unchanged'}"]


def _loaded(loaded: models.Loaded) -> list[RenderableType]:
    if loaded.sent is None:
        return [f"{loaded.image.ref}  already in {loaded.target}"]
    return [
        f"{loaded.image.ref}  sent to {loaded.target}",
        f"{loaded.sent} ({duration(loaded.elapsed_seconds)})",
    ]


def _linted(linted: models.Linted) -> list[RenderableType]:
    counts = [
        _count(sum(each.severity is severity for each in linted.findings), severity.value)
        for severity in models.Severity
    ]
    lines: list[RenderableType] = [line for each in linted.fixed for line in each.diff.splitlines()]
    lines += [f"mended {_count(len(linted.fixed), 'file')}", ""] if linted.fixed else []
    lines += shown_findings(linted.findings)
    lines += [""] if linted.findings else []
    looked = f"{linted.chart} with " + ", ".join(linted.environments) if linted.environments else linted.chart
    lines += _wrapped(f"lint: {', '.join(counts)} in {looked} ({duration(linted.elapsed_seconds)})", "")
    if linted.waived:
        lines.append(f"{_count(len(linted.waived), 'finding')} waived")
    if linted.unchecked:
        lines += _wrapped(f"without a schema here, so not checked against one: {', '.join(linted.unchecked)}", "")
    return lines


def _contrast(contrast: models.Contrast) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for name in dict.fromkeys(each.object for each in contrast.fields):
        lines.append(_fit(name, _WIDTH))
        lines += [
            line
            for each in contrast.fields
            if each.object == name
            for line in _pair(each.address, contrast.one, each.one, contrast.other, each.other)
        ]
    lines += [f"only {contrast.one}: {ref}" for ref in contrast.only_one]
    lines += [f"only {contrast.other}: {ref}" for ref in contrast.only_other]
    return lines or [f"{contrast.one} and {contrast.other} render the same"]


def _pair(address: str, one: str, mine: object, other: str, its: object) -> list[str]:
    width = max(len(one), len(other))
    values = ((one, mine), (other, its))
    told = [f"    {name:<{width}}  {_fit(_shown(value), _WIDTH - 6 - width)}" for name, value in values]
    return [f"  {_fit(address, _WIDTH - 2)}", *told]


def _packaged(packaged: models.Packaged) -> list[RenderableType]:
    return [f"{packaged.archive}  {packaged.digest}"]


def _pushed(pushed: models.Pushed) -> list[RenderableType]:
    return [f"{'sent to' if pushed.sent else 'already at'} {pushed.reference}  {pushed.digest}"]


def _deployed(deployed: models.Deployed) -> list[RenderableType]:
    before = (
        f"revision {deployed.before.number} -> {deployed.after.number}"
        if deployed.before
        else f"revision {deployed.after.number}, the first"
    )
    receipt = deployed.after.entry.receipt
    return [
        f"{deployed.environment}: {before}, proven good in {duration(deployed.elapsed_seconds)}",
        f"image {deployed.image.ref}",
        *([receipt.line] if receipt else []),
        *_url(deployed.url, deployed.environment),
    ]


def _rolled_back(rolled: models.RolledBack) -> list[RenderableType]:
    return [
        f"{rolled.environment}: revision {rolled.before.number} -> {rolled.after.number}, "
        f"which is revision {rolled.target.number} again, proven good in {duration(rolled.elapsed_seconds)}",
        f"image {rolled.target.image or 'unknown'}",
        *_url(rolled.url, rolled.environment),
    ]


def _history(history: models.History) -> list[RenderableType]:
    if not history.revisions:
        return [f"{history.release} was never released in {history.namespace}"]
    table = _table("REV", "WHEN (UTC)", "WHO", "COMMIT", "IMAGE", "TOOK", "VERDICT")
    for revision in history.revisions:
        entry = revision.entry
        table.add_row(
            str(revision.number),
            f"{revision.updated:%m-%d %H:%M}",
            revision.source.user or "-",
            revision.source.revision,
            revision.image.rpartition(":")[2] or "-",
            duration(entry.duration_seconds) if entry.duration_seconds else "-",
            _verdict(revision),
        )
    return [table]


def _verdict(revision: models.Revision) -> str:
    """The verdict, with what else matters: cause, lost requests, where it came from, a status that isn't an end."""
    entry = revision.entry
    if entry.verb == "verify" and entry.cause:
        return entry.cause  # an experiment's own revision, on which there was nothing to judge
    more = [
        entry.cause,
        f"= {revision.content}" if revision.content != revision.number else "",
        f"from {entry.promoted_from}" if entry.promoted_from else "",
        f"{entry.receipt.failed}/{entry.receipt.sent} lost" if entry.receipt else "",
        revision.status if revision.pending else "",
    ]
    said = ", ".join(part for part in more if part)
    return f"{revision.verdict} ({said})" if said else str(revision.verdict)


def _status(status: models.ReleaseStatus) -> list[RenderableType]:
    where = f"{status.release} in {status.namespace} (context {status.context})"
    revision = status.revision
    if revision is None:
        return [f"{where}: not installed"]
    lines: list[RenderableType] = [
        f"{where}",
        f"revision {revision.number}  {revision.status}, {revision.verdict}",
        f"released {revision.updated:%Y-%m-%d %H:%M:%S} UTC by {revision.source.user or '-'}, "
        f"commit {revision.source.revision}",
        f"image {revision.image or '-'}",
    ]
    table = _table("POD", "NODE", "STATE", "RESTARTS")
    for pod in status.pods:
        table.add_row(pod.name, pod.node, f"{pod.progress}, edited" if pod.edited else pod.progress, str(pod.restarts))
    return [*lines, table, *_url(status.url, status.environment), *(_traffic(status.traffic) if status.traffic else [])]


def _traffic(traffic: Traffic) -> list[RenderableType]:
    """All requests in a line, where it is known from, and how the pods share them."""
    if not traffic.source:
        return [_fit(f"requests not known: {traffic.note}", _WIDTH)]
    summed = _answered(traffic.requests_per_second, traffic.error_ratio, traffic.p95_seconds)
    lines: list[RenderableType] = [
        f"{summed[0]} requests/s, {summed[1]} errors, p95 {summed[2]}",
        _fit(f"  of the last {traffic.window_seconds:g} s, by {traffic.source}", _WIDTH),
        *([_fit(f"  {traffic.note}", _WIDTH)] if traffic.note else []),
    ]
    if len(traffic.pods) < 2:
        return lines
    table = _table("POD", "REQUESTS/S", "ERRORS", "P95")
    for pod in traffic.pods:
        table.add_row(pod.name, *_answered(pod.requests_per_second, pod.error_ratio, pod.p95_seconds))
    return [*lines, table]


def _answered(requests_per_second: float, error_ratio: float | None, p95_seconds: float | None) -> tuple[str, str, str]:
    errors = "-" if error_ratio is None else f"{100 * error_ratio:.3g} %"
    latency = (
        "-" if p95_seconds is None else f"{1000 * p95_seconds:.3g} ms" if p95_seconds < 1 else f"{p95_seconds:.3g} s"
    )
    return f"{requests_per_second:.1f}", errors, latency


def _url(url: str, environment: str) -> list[str]:
    inside = ".svc:" in url
    return [url, *([f"(inside the cluster; from here: releaser open {environment})"] if inside else [])]


def _developed(developed: models.Developed) -> list[RenderableType]:
    did = f"{developed.environment}: {developed.releases} released, {developed.failed} failed"
    did += f", {developed.written} written into the pods" if developed.written else ""
    stays = f"it stays as it is, not proven: releaser deploy {developed.environment} proves it"
    return [did, stays] if developed.releases else [did]


def _pruned(pruned: models.Pruned) -> list[RenderableType]:
    lines = [f"{'would go' if pruned.dry_run else 'removed'}  {ref}" for ref in sorted(pruned.removed)]
    hint = ["releaser prune --yes removes them"] if pruned.dry_run and lines else []
    return [*lines, *hint] or ["nothing to remove"]


def _destroyed(destroyed: models.Destroyed) -> list[RenderableType]:
    did = "removed" if destroyed.existed else "was not installed"
    return [f"{destroyed.release} in {destroyed.namespace}: {did}"]


def _opened(opened: models.Opened) -> list[RenderableType]:
    return [opened.url]


def _diagnosis(diagnosis: models.Diagnosis) -> list[RenderableType]:
    table = _table("", "NEED", "WANTED", "FOUND", "FIX")
    for need in diagnosis.needs:
        table.add_row("ok" if need.ok else "--", need.name, need.wanted, need.found or "-", "" if need.ok else need.fix)
    return [table]


def _up(up: models.Up) -> list[RenderableType]:
    did = "was running" if up.already else f"up after {duration(up.elapsed_seconds)}"
    return [
        f"Minikube {did}{f', {up.nodes} nodes' if up.nodes > 1 else ''}",
        f"profile {up.profile}, context {up.context}, node {up.node_ip}, Kubernetes {up.kubernetes}",
    ]


def _down(down: models.Down) -> list[RenderableType]:
    did = "did not exist" if not down.existed else "deleted" if down.deleted else "stopped"
    return [f"Minikube profile {down.profile}: {did}"]


# -- live objects ------------------------------------------------------------------------------------------------------

_WIDTH = 80
_SIGNS = {
    plans.Action.CREATE: "+",
    plans.Action.CHANGE: "~",
    plans.Action.DELETE: "-",
    plans.Action.UNCHANGED: "=",
}


def _drift(drift: plans.Drift) -> list[RenderableType]:
    where = f"{drift.release} in {drift.namespace}"
    if not drift.fields:
        return [f"{where}: as revision {drift.revision} has it"]
    one = len(drift.fields) == 1
    did = "differs" if one else "differ"
    if drift.fixed:
        did = f"differed, and {'is' if one else 'are'} again as the release has {'it' if one else 'them'}"
    lines = [f"{where}, revision {drift.revision}: {_count(len(drift.fields), 'field')} {did}"]
    lines += _by_object(drift.fields)
    return [*lines, *([] if drift.fixed else [f"next:  releaser drift {drift.environment} --fix"])]


def _by_object(fields: tuple[plans.DriftedField, ...]) -> list[str]:
    lines: list[str] = []
    for name in dict.fromkeys(field.object for field in fields):
        lines.append(_fit(name, _WIDTH))
        for field in (each for each in fields if each.object == name):
            lines += _drifted(field)
    return lines


def _drifted(field: plans.DriftedField) -> list[str]:
    who = field.managers[0] if field.managers else None
    when = f", {who.time:%Y-%m-%d %H:%M:%S} UTC" if who and who.time else ""
    by = f"  by {who.manager}{when}" if who else ""
    if not field.address:
        return ["  the whole object is missing" if field.live is Mark.ABSENT else "  belongs to no revision"]
    room = (_WIDTH - len("    wanted , live ")) // 2
    values = f"wanted {_fit(_shown(field.wanted), room)}, live {_fit(_shown(field.live), room)}"
    lines = [f"  {_fit(field.address, _WIDTH - 2)}", f"    {values}"]
    if len(lines[-1]) + len(by) > _WIDTH:
        return [*lines, f"  {by}"] if by else lines
    return [*lines[:-1], lines[-1] + by]


def _why(why: origin.Why) -> list[RenderableType]:
    lines = [
        f"{why.release} in {why.namespace}, revision {why.revision}",
        _fit(why.object, _WIDTH),
        f"  {_fit(why.address, _WIDTH - 2)}",
        *_part("live", [_fit(_shown(why.live), _BESIDE), *_whose(why)]),
    ]
    decided = [line for each in why.values for line in _deciding(each)]
    lines += _part("values", [*decided, *([f"and {why.more_values} more"] if why.more_values else [])])
    written = [line for each in why.written_by for line in (each.place, f"  {_fit(each.text, _BESIDE - 2)}")]
    lines += _part("template", [line for line in written if line.strip()])
    lines += _part("since", _since(why.since) if why.since else [])
    if why.undeployed:
        lines += _part(
            "not yet", ["the working tree, which is not deployed, says", _fit(_shown(why.working_tree), _BESIDE)]
        )
    return [*lines, *_part("note", [why.note] if why.note else [])]


_BESIDE = _WIDTH - 10


def _part(name: str, lines: list[str]) -> list[str]:
    """Lines behind a name."""
    return [f"{word:<10}{line}" for word, line in zip([name, *[""] * len(lines)], lines, strict=False)]


def _whose(why: origin.Why) -> list[str]:
    owner = why.owners[0] if why.owners else None
    when = f", {owner.time:%Y-%m-%d %H:%M:%S} UTC" if owner and owner.time else ""
    by = f"set by {owner.manager} ({owner.operation}){when}" if owner else "and nobody owns it any more"
    released = f"the release has {_fit(_shown(why.released), _BESIDE - 16)}"
    if why.released is Mark.ABSENT:
        released = "the release does not set it"
    match why.origin:
        case origin.Origin.RELEASE:
            return ["as the release has it"]
        case origin.Origin.MISSING:
            return ["the object is not there", released]
        case origin.Origin.SERVER:
            return [f"{released}: the API server's default"]
        case origin.Origin.FOREIGN:
            return [f"not from the release, {by}", released]


def _deciding(each: origin.DecidingValue) -> list[str]:
    place = each.place or "set by releaser: the image that was built"
    return [f"{_fit(f'{each.address}: {_shown(each.value)}', _BESIDE)}", f"  {each.effect}, {place}"]


def _since(since: origin.Since) -> list[str]:
    returned = f", which is revision {since.content} again" if since.content != since.revision else ""
    return [
        f"revision {since.revision}{returned}{' or earlier' if since.or_earlier else ''}",
        f"  {since.updated:%Y-%m-%d %H:%M:%S} UTC by {since.source.user or '-'}, commit {since.source.revision}",
    ]


def _plan(plan: plans.Plan) -> list[RenderableType]:
    base = f"revision {plan.base_revision}" if plan.base_revision else "nothing installed"
    lines = [f"{plan.release} in {plan.namespace} (context {plan.context}), {base}", f"image {plan.image}"]
    for change in plan.changes:
        if change.action is not plans.Action.UNCHANGED:
            lines += _change(change)
    if plan.by_hand:
        lines += ["", "changed by hand since the last release:", *_by_object(plan.by_hand), ""]
    return [*lines, _counts(plan)]


def _change(change: plans.ObjectChange) -> list[str]:
    sign = "!" if change.immutable else _SIGNS[change.action]
    more = "  restarts its pods" if change.restarts else ""
    lines = [f"{sign} {_fit(change.object, _WIDTH - 2 - len(more))}{more}"]
    lines += [f"  ! {_fit(address, _WIDTH - 20)} can't be changed" for address in change.immutable]
    return lines if change.action is plans.Action.CREATE else [*lines, *map(_planned, change.fields)]


def _planned(field: plans.PlannedField) -> str:
    if field.before is Mark.HIDDEN and field.after is Mark.CHANGED:
        values = field.after.value
    else:
        values = f"{_fit(_shown(field.before), 22)} -> {_fit(_shown(field.after), 22)}"
    return f"  {_fit(field.address, _WIDTH - 4 - len(values))}: {values}"


def _counts(plan: plans.Plan) -> str:
    counts = [
        f"{sum(each.action is action for each in plan.changes)} to {action}"
        for action in (plans.Action.CREATE, plans.Action.CHANGE, plans.Action.DELETE)
    ]
    same = sum(each.action is plans.Action.UNCHANGED for each in plan.changes)
    return f"plan: {', '.join(counts)}, {same} unchanged"


def _shown(value: object) -> str:
    if isinstance(value, Mark):
        return value.value
    return value.replace("\n", "\\n") if isinstance(value, str) and value else json.dumps(value)


def _fit(text: str, room: int) -> str:
    """At most `room` characters; what is too long loses its middle."""
    if len(text) <= room:
        return text
    tail = (room - 3) * 2 // 3
    return f"{text[: room - 3 - tail]}...{text[-tail:]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


_OUTCOME_STYLES = {
    verification.Outcome.HOLDS: "green",
    verification.Outcome.BROKEN: "bold red",
    verification.Outcome.SKIPPED: "cyan",
    verification.Outcome.NOT_RUN: "bold red",
}


def _verified(verified: verification.Verified) -> list[RenderableType]:
    from rich.text import Text

    lines: list[RenderableType] = []
    for each in verified.conclusions:
        told = verification.fit(verification.headline(each), _WIDTH - 34)
        outcome = Text(f"{each.outcome:<13}", style=_OUTCOME_STYLES[each.outcome])
        lines.append(Text.assemble(outcome, "  ", (f"{each.promise.name:<17}", "bold"), "  ", told))
    counts = ", ".join(
        f"{verified.count(each)} {word}" for each, word in _OUTCOME_WORDS.items() if verified.count(each)
    )
    lines.append(f"{verified.environment}: {counts} in {duration(verified.elapsed_seconds)}")
    budget = f" (budget {verified.budget})" if verified.budget is not None else ""
    lines.append(f"{verified.sent} requests, {verified.lost} lost{budget}")
    lines += [f"not as it was: {each}" for each in verified.left]
    return lines


_OUTCOME_WORDS = {
    verification.Outcome.HOLDS: "hold",
    verification.Outcome.BROKEN: "don't",
    verification.Outcome.NOT_RUN: "not run",
    verification.Outcome.SKIPPED: "skipped",
}


def _promises(listed: verification.Promises) -> list[RenderableType]:
    from rich.text import Text

    lines: list[RenderableType] = []
    for each in listed.promises:
        lines.append(Text.assemble((each.name, "bold"), f"  about {each.about_seconds:.0f} s"))
        lines += [*_wrapped(each.hypothesis, "    "), *_wrapped(f"Holds when: {each.criterion}", "    ")]
    return lines


_RENDERERS: dict[type, Callable[[Any], list[RenderableType]]] = {
    models.Built: _built,
    models.Loaded: _loaded,
    models.Linted: _linted,
    models.Contrast: _contrast,
    models.Packaged: _packaged,
    models.Pushed: _pushed,
    models.Deployed: _deployed,
    models.RolledBack: _rolled_back,
    models.History: _history,
    models.ReleaseStatus: _status,
    models.Developed: _developed,
    models.Pruned: _pruned,
    models.Destroyed: _destroyed,
    models.Opened: _opened,
    models.Diagnosis: _diagnosis,
    plans.Drift: _drift,
    plans.Plan: _plan,
    origin.Why: _why,
    verification.Verified: _verified,
    verification.Promises: _promises,
    models.Up: _up,
    models.Down: _down,
}
