from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from releaser.ledger import HelmRevision, entry_text, labels, newest_good, revisions, verdict_label
from releaser.models import Image, LedgerEntry, Receipt, Source, Verdict

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def entry(number: int, status: str = "superseded", rollback_of: int = 0) -> HelmRevision:
    return HelmRevision(number, status, WHEN, "", rollback_of)


def test_what_is_written_is_read_back() -> None:
    source = Source("ann", "laptop", "c0ffee", dirty=True)
    written = labels(source, Image("registry.example/team/web", "1.0-abc")) | verdict_label(4, Verdict.GOOD)
    [revision] = revisions((entry(4),), {4: written}, {})
    assert revision.source == source
    assert revision.image == "registry.example/team/web:1.0-abc"
    assert revision.verdict is Verdict.GOOD


def test_labels_are_valid_whatever_the_names() -> None:
    written = labels(Source("ann b@c", "-host." + "x" * 80, "", False), Image("web", "t"))
    for value in written.values():
        assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value), value


def test_a_verdict_counts_only_for_the_revision_that_it_names() -> None:
    copied = verdict_label(2, Verdict.GOOD)
    newest, _ = revisions((entry(2), entry(3, rollback_of=2)), {2: copied, 3: copied}, {})
    assert (newest.number, newest.verdict) == (3, Verdict.UNKNOWN)


def test_a_nonsense_verdict_is_unknown() -> None:
    [revision] = revisions((entry(1),), {1: {"releaser/verdict": "excellent.1"}}, {})
    assert revision.verdict is Verdict.UNKNOWN


def test_content_follows_a_chain_of_rollbacks_even_into_pruned_history() -> None:
    known = revisions((entry(7, rollback_of=2), entry(8), entry(9, rollback_of=7)), {}, {})
    assert {r.number: r.content for r in known} == {7: 2, 8: 8, 9: 2}


def test_the_newest_good_revision_is_earlier_good_and_different() -> None:
    good = {n: verdict_label(n, Verdict.GOOD) for n in (1, 2, 4)}
    known = revisions((entry(1), entry(2), entry(3), entry(4, "deployed", rollback_of=2)), good, {})
    found = newest_good(known, known[0])
    assert found is not None and found.number == 1


def test_there_may_be_no_good_revision() -> None:
    known = revisions((entry(1), entry(2, "deployed")), {2: verdict_label(2, Verdict.GOOD)}, {})
    assert newest_good(known, known[0]) is None


def entry_of(text: str) -> LedgerEntry:
    [revision] = revisions((entry(1),), {}, {1: text})
    return revision.entry


RECEIPT = Receipt(9, 1, 0.25, 0.004, 0.02, 20.0, (("1.0", 8),), (("web-1", 8),), (("reset", 1),), "it ended")


@pytest.mark.parametrize("receipt", [RECEIPT, None])
def test_an_entry_is_read_back_as_it_was_written(receipt: Receipt | None) -> None:
    written = LedgerEntry("promote", 12.5, "sha256:one", "p1", "crash loop", "incidents/web-r1", "dev r7", receipt)
    assert entry_of(entry_text(written)) == written


def test_an_entry_of_a_releaser_that_knew_less_is_read_with_what_it_has() -> None:
    assert entry_of('{"verb": "deploy"}') == LedgerEntry("deploy")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        '"text"',
        '{"verb": "deploy", "unheard of": 1}',
        '{"receipt": {"sent": 1}}',
        '{"receipt": [1]}',
        entry_text(LedgerEntry("deploy", receipt=replace(RECEIPT, pods=(("web-1", 8),)))).replace('["web-1",8]', "8"),
    ],
)
def test_an_entry_that_can_not_be_read_counts_as_empty(text: str) -> None:
    assert entry_of(text) == LedgerEntry()
