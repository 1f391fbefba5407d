"""What `releaser verify` found, as one HTML file that needs nothing else: for a screen, a phone, or paper."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from releaser import __version__
from releaser.errors import InvalidInput
from releaser.plots import drawn
from releaser.verification import Conclusion, Measurement, Outcome, Verified

_STYLE = Path(__file__).with_suffix(".css")
_CLASSES = {Outcome.HOLDS: "good", Outcome.BROKEN: "bad", Outcome.NOT_RUN: "bad", Outcome.SKIPPED: "idle"}


def require_writable(path: Path) -> None:
    """Before anything is measured for it. Raises InvalidInput."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"
        raise InvalidInput(f"While preparing the report {path}: {why}", hint="name a file in a directory that exists")


def save_report(verified: Verified, path: Path) -> None:
    """Raises InvalidInput when the file can't be written."""
    try:
        path.write_text(page(verified), encoding="utf-8")
    except OSError as exc:
        raise InvalidInput(f"While writing {path}: {exc.strerror or exc}") from exc


def page(verified: Verified) -> str:
    title = f"{verified.release} in {verified.environment}: does it hold?"
    sections = "\n".join(_section(each) for each in verified.conclusions)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<header>\n<h1>{escape(title)}</h1>\n{_summary(verified)}\n</header>\n"
        f"{_overview(verified)}\n{sections}\n<footer>releaser {escape(__version__)} verify "
        f"{escape(verified.environment)}, {verified.began:%Y-%m-%d %H:%M:%S} UTC</footer>\n</body>\n</html>\n"
    )


def _summary(verified: Verified) -> str:
    word, kind = ("Every promise holds", "good") if verified.holds else ("Not every promise holds", "bad")
    facts = {
        "Release": f"{verified.release} in {verified.namespace}, context {verified.context}",
        "Kubernetes": verified.kubernetes,
        "Revision": f"{verified.before.number}, {verified.before.image or 'image unknown'}"
        + (f"; the same content is revision {verified.after.number} now" if verified.after != verified.before else ""),
        "When": f"{verified.began:%Y-%m-%d %H:%M:%S} UTC, {verified.elapsed_seconds / 60:.1f} minutes",
        "Requests": f"{verified.sent} sent, {verified.lost} lost"
        + (f", {verified.budget} allowed" if verified.budget is not None else ""),
        "Ended early": verified.ended_early,
        "Not as it was": "; ".join(verified.left),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    return f'<p class="verdict {kind}">{word}</p>\n<dl class="facts">{rows}</dl>'


def _overview(verified: Verified) -> str:
    rows = "".join(
        f'<tr><td><a href="#{escape(each.promise.name)}">{escape(each.promise.name)}</a></td>'
        f"<td>{_badge(each.outcome)}</td><td>{escape(each.reason or _lost(each))}</td></tr>"
        for each in verified.conclusions
    )
    return f'<table class="overview"><tbody>{rows}</tbody></table>'


def _lost(conclusion: Conclusion) -> str:
    receipt = conclusion.receipt
    return f"{receipt.failed} of {receipt.sent} requests lost" if receipt else ""


def _section(conclusion: Conclusion) -> str:
    promise = conclusion.promise
    picture = drawn(conclusion.timeline, f"{promise.name}: requests and pods over time")
    return "\n".join(
        part
        for part in (
            f'<section id="{escape(promise.name)}">',
            f"<h2>{escape(promise.name)} {_badge(conclusion.outcome)}</h2>",
            f'<p class="hypothesis">{escape(promise.hypothesis)}</p>',
            f'<p class="criterion"><b>Holds when</b> {escape(promise.criterion)}</p>',
            f'<p class="reason">{escape(conclusion.reason)}</p>' if conclusion.reason else "",
            _figures(conclusion.measurements) if conclusion.measurements else "",
            f"<figure>{picture}{_legend(conclusion) if picture else ''}</figure>" if picture else "",
            "</section>",
        )
        if part
    )


def _figures(measurements: Iterable[Measurement]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td>"
        f'<td class="value{"" if each.holds else " bad"}">{escape(each.shown)}</td>'
        f"<td>{escape(each.bounds)}</td><td>{escape(each.note)}</td></tr>"
        for each in measurements
    )
    head = "<tr><th>measured</th><th>value</th><th>bound</th><th></th></tr>"
    return f'<div class="wide"><table class="figures"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _legend(conclusion: Conclusion) -> str:
    timeline = conclusion.timeline
    keys = [("sent", "requests sent"), ("lost", "requests lost")] if timeline.requests else []
    keys += [("ready", "pods ready"), ("total", "pods")] if timeline.pods else []
    shown = "".join(f'<span class="key {kind}">{name}</span>' for kind, name in keys)
    moments = "".join(
        f"<li><span>{moment.at_seconds:.1f} s</span> {escape(moment.text)}</li>" for moment in timeline.moments
    )
    return f"<figcaption>{shown}{f'<ol>{moments}</ol>' if moments else ''}</figcaption>"


def _badge(outcome: Outcome) -> str:
    return f'<span class="badge {_CLASSES[outcome]}">{outcome}</span>'
