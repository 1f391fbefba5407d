"""The report as a browser and a validator would look at it: well-formed, in need of nothing else, and complete."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from releaser.errors import InvalidInput
from releaser.models import Receipt, Revision, Source, Verdict
from releaser.plots import drawn
from releaser.render import rendered
from releaser.report import page, require_writable, save_report
from releaser.verification import (
    Conclusion,
    Measurement,
    Moment,
    Outcome,
    PodSample,
    Promise,
    RequestSample,
    Timeline,
    Verified,
    rates,
)

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script src="https://evil.example/x.js"></script> & "quotes"'
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIMELINE = Timeline(
    tuple(RequestSample(second / 2, 10 * second, max(0, second - 10)) for second in range(20)),
    (PodSample(0.1, 2, 2), PodSample(3.0, 1, 2), PodSample(6.0, 2, 2)),
    (Moment(2.5, "process 1 killed"), Moment(6.0, NASTY)),
)


def verified(*conclusions: Conclusion) -> Verified:
    revision = Revision(3, "deployed", Verdict.GOOD, WHEN, Source("ann", "laptop", "", False), "web:1", "", 3)
    receipt = [each.receipt for each in conclusions if each.receipt]
    return Verified(
        environment="dev",
        release="web",
        namespace="web-dev",
        context=NASTY,
        kubernetes="1.35.4",
        before=revision,
        after=revision,
        holds=all(each.outcome is Outcome.HOLDS for each in conclusions),
        sent=sum(each.sent for each in receipt),
        lost=sum(each.failed for each in receipt),
        conclusions=conclusions,
        began=WHEN,
        elapsed_seconds=75.0,
        budget=20,
        left=(),
    )


def conclusion(name: str, outcome: Outcome, *measurements: Measurement, reason: str = "") -> Conclusion:
    promise = Promise(name, f"hypothesis {NASTY}", f"criterion {NASTY}", 10)
    receipt = Receipt(190, 9, 0.3, 0.01, 0.09, 20.0)
    return Conclusion(promise, outcome, measurements, TIMELINE, receipt, WHEN, 12.0, reason)


BROKEN = conclusion(
    "process-kill",
    Outcome.BROKEN,
    Measurement("ready again", None, "s", at_most=60),
    Measurement("requests lost", 9, at_most=5, note=NASTY),
    reason=f"requests lost 9, at most 5 {NASTY}",
)
GOOD = conclusion("pod-delete", Outcome.HOLDS, Measurement("ready again", 4.25, "s", at_most=60))


def parsed(text: str) -> ElementTree.Element:
    """As XML, which is stricter than HTML: nothing is left open, nothing unescaped."""
    return ElementTree.fromstring(text.partition("\n")[2])


def test_it_is_well_formed_and_whatever_others_wrote_is_text_in_it() -> None:
    root = parsed(page(verified(BROKEN, GOOD)))
    assert root.find(".//script") is None
    assert sum(NASTY in "".join(element.itertext()) for element in root.iter("p")) == 5


def test_it_needs_no_network() -> None:
    text = page(verified(GOOD)).replace("https://evil.example/x.js", "")
    root = parsed(text)
    assert not [element for element in root.iter() if element.tag in ("link", "img", "iframe", "object", "script")]
    links = [element.attrib["href"] for element in root.iter() if "href" in element.attrib]
    assert links and all(link.startswith("#") for link in links)
    style = root.findtext("./head/style") or ""
    assert "@import" not in style and "url(" not in style
    assert "http" not in re.sub(r"<title>.*?</title>", "", style)


def test_every_figure_stands_with_its_bound_and_its_verdict() -> None:
    root = parsed(page(verified(BROKEN, GOOD)))
    rows = [[cell.text or "" for cell in row.iter("td")] for row in root.iter("tr")]
    assert ["ready again", "never", "at most 60.0 s", ""] in rows
    assert ["requests lost", "9", "at most 5", NASTY] in rows
    assert ["ready again", "4.2 s", "at most 60.0 s", ""] in rows
    shown = ["".join(element.itertext()) for element in root.iter("h2")]
    assert shown == ["process-kill does not hold", "pod-delete holds"]
    assert root.findtext(".//p[@class='verdict bad']") == "Not every promise holds"


def test_the_picture_shows_each_moment_the_lost_requests_and_the_pods() -> None:
    picture = ElementTree.fromstring(drawn(TIMELINE, "title"))
    classes = [element.attrib.get("class") for element in picture.iter()]
    assert classes.count("moment") == 2
    assert "lost" in classes and "ready" in classes and "total" in classes
    numbers = [float(x) for path in picture.iter("path") for x in re.findall(r"[-\d.]+", path.attrib["d"])]
    assert all(-1 <= number <= 720 for number in numbers)


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn(Timeline(), "title") == ""
    assert drawn(Timeline(moments=(Moment(1.0, "looked"),)), "title") == ""


def test_rates_are_of_what_was_counted_between() -> None:
    samples = (RequestSample(0.0, 0, 0), RequestSample(1.0, 20, 0), RequestSample(2.0, 40, 5))
    assert rates(samples, 0.8) == ((0.5, 20.0, 0.0), (1.5, 15.0, 5.0))


def test_another_prober_that_counts_anew_makes_no_negative_rate() -> None:
    samples = (RequestSample(0.0, 50, 0), RequestSample(1.0, 5, 0), RequestSample(2.0, 25, 0))
    assert rates(samples, 0.8) == ((1.5, 20.0, 0.0),)


def test_it_is_written_or_refused_before_anything_is_tried(tmp_path: Path) -> None:
    save_report(verified(GOOD), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(InvalidInput, match="no directory"):
        require_writable(tmp_path / "nowhere" / "report.html")
    with pytest.raises(InvalidInput, match="it is a directory"):
        require_writable(tmp_path)


def test_the_text_is_one_line_an_experiment_and_fits_80_columns() -> None:
    lines = [str(part) for part in rendered(verified(BROKEN, GOOD))]
    assert len(lines) == 4
    assert lines[0].startswith("does not hold  process-kill       requests lost 9, at most 5")
    assert lines[1] == "holds          pod-delete         9 of 190 lost, ready again 4.2 s"
    assert lines[2:] == ["dev: 1 hold, 1 don't in 1 m 15 s", "380 requests, 18 lost (budget 20)"]
    assert all(len(line) <= 80 for line in lines)
