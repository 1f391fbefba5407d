"""History, results and steps as people read them within 80 columns, and as programs read them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from releaser.console import Output, Printer
from releaser.errors import ReleaseFailed, ReleaseNotRestored, ReleaserError
from releaser.flows.deploy import deploy
from releaser.flows.promote import promote
from releaser.flows.rollback import rollback
from releaser.flows.target import Target
from releaser.models import (
    Built,
    Cause,
    ContainerState,
    Deployed,
    Destroyed,
    Down,
    History,
    Image,
    LedgerEntry,
    Loaded,
    Opened,
    PodState,
    Receipt,
    ReleaseStatus,
    Revision,
    RolledBack,
    Sent,
    Source,
    Up,
    Verdict,
)
from releaser.settings import load_project
from releaser.traffic import PodTraffic, Traffic
from tests.unit.conftest import YES, Bench

WIDTH = 80
TAG = "1.0.0-3f9c1b2a7d4e"
IMAGE = Image("flask-hello", TAG, "sha256:3f9c1b2a7d4e")
SOURCE = Source("maximilian", "build-host-7", "3f9c1b2a7d4e5f60718293a4b5c6d7e8f9012345", True)
WHEN = datetime(2026, 7, 30, 13, 31, 5, tzinfo=UTC)
RECEIPT = Receipt(
    sent=12345,
    failed=12,
    longest_gap_seconds=2.34,
    p50_seconds=0.0041,
    p99_seconds=0.1234,
    rate_per_second=20.0,
    versions=(("1.0.1", 12000), ("1.0.0", 333)),
    pods=(("flask-hello-7c9d8f6b5d-x2v4k", 12333),),
    errors=(("reset", 10), ("status 503", 2)),
)
INCIDENT = "/home/maximilian/flask-hello/incidents/flask-hello-r117"
INSIDE = "http://flask-hello.flask-hello-prod.svc:80"


def revision(
    number: int, verdict: Verdict, entry: LedgerEntry, status: str = "superseded", content: int = 0
) -> Revision:
    image = IMAGE.ref
    return Revision(number, status, verdict, WHEN, SOURCE, image, "Upgrade complete", content or number, entry)


BACK = revision(118, Verdict.GOOD, LedgerEntry("return", 12.34, IMAGE.id, receipt=RECEIPT), "deployed", 115)
FAILED = revision(117, Verdict.FAILED, LedgerEntry("deploy", 83.0, cause=Cause.FORBIDDEN, incident=INCIDENT))
PENDING = revision(116, Verdict.UNKNOWN, LedgerEntry(), "pending-upgrade")
PROMOTED = revision(115, Verdict.GOOD, LedgerEntry("promote", 8.5, IMAGE.id, promoted_from="dev r42", receipt=RECEIPT))
PLAIN = replace(revision(1, Verdict.UNKNOWN, LedgerEntry()), source=Source("", "", "", False), image="")
HISTORY = History("prod", "flask-hello", "flask-hello-prod", (BACK, FAILED, PENDING, PROMOTED, PLAIN))


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown(result: object, output: Output = Output.TEXT, stdout: StringIO | None = None) -> list[str]:
    stdout = stdout or StringIO()
    Printer(output, stdout=stdout, stderr=StringIO()).result(result)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", stdout.getvalue()).splitlines()]


# -- history -----------------------------------------------------------------------------------------------------------

ROWS = [
    ("118", "07-30 13:31", "maximilian", "3f9c1b2a7+", TAG, "12.3 s", "good (= 115, 12/12345 lost)"),
    ("117", "07-30 13:31", "maximilian", "3f9c1b2a7+", TAG, "1 m 23 s", "failed (forbidden by admission)"),
    ("116", "07-30 13:31", "maximilian", "3f9c1b2a7+", TAG, "-", "unknown (pending-upgrade)"),
    ("115", "07-30 13:31", "maximilian", "3f9c1b2a7+", TAG, "8.5 s", "good (from dev r42, 12/12345 lost)"),
    ("1", "07-30 13:31", "-", "-", "-", "-", "unknown"),
]
HEADINGS = ("REV", "WHEN (UTC)", "WHO", "COMMIT", "IMAGE", "TOOK", "VERDICT")


def test_in_a_pipe_each_revision_is_one_line_with_all_that_is_known_of_it() -> None:
    lines = shown(HISTORY)
    assert [tuple(re.split(r" {2,}", line)) for line in lines] == [HEADINGS, *ROWS]


def test_on_a_terminal_of_80_columns_the_table_fits_and_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    heading, *lines = shown(HISTORY, stdout=Terminal())
    assert max(map(len, [heading, *lines])) <= WIDTH
    starts = [heading.index(name) for name in HEADINGS]
    cells = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], WIDTH], strict=True)] for line in lines
    ]
    rows: list[list[str]] = []
    for row in cells:
        if row[0]:
            rows.append(row)
        else:  # a folded one goes on
            rows[-1] = [begun + more for begun, more in zip(rows[-1], row, strict=True)]
    assert [without_spaces(row) for row in rows] == [without_spaces(row) for row in ROWS]


def without_spaces(row: Sequence[str]) -> list[str]:
    """Folding drops the spaces that it breaks lines at."""
    return [cell.replace(" ", "") for cell in row]


def test_a_release_without_a_history_says_so() -> None:
    assert shown(replace(HISTORY, revisions=())) == ["flask-hello was never released in flask-hello-prod"]


def test_in_json_a_revision_has_its_entry_receipt_and_incident_whole() -> None:
    document = json.loads("\n".join(shown(replace(HISTORY, revisions=(BACK, FAILED)), Output.JSON)))
    back, failed = document["revisions"]
    assert (document["environment"], document["release"], document["namespace"]) == HISTORY_NAMES
    assert back == {
        "number": 118,
        "status": "deployed",
        "verdict": "good",
        "updated": "2026-07-30T13:31:05+00:00",
        "source": {
            "user": "maximilian",
            "host": "build-host-7",
            "commit": "3f9c1b2a7d4e5f60718293a4b5c6d7e8f9012345",
            "dirty": True,
            "commit_time": 0,
        },
        "image": f"flask-hello:{TAG}",
        "description": "Upgrade complete",
        "content": 115,
        "entry": {
            "verb": "return",
            "duration_seconds": 12.34,
            "image_id": "sha256:3f9c1b2a7d4e",
            "image": "",
            "plan": "",
            "cause": "",
            "incident": "",
            "promoted_from": "",
            "receipt": {
                "sent": 12345,
                "failed": 12,
                "longest_gap_seconds": 2.34,
                "p50_seconds": 0.0041,
                "p99_seconds": 0.1234,
                "rate_per_second": 20.0,
                "versions": [["1.0.1", 12000], ["1.0.0", 333]],
                "pods": [["flask-hello-7c9d8f6b5d-x2v4k", 12333]],
                "errors": [["reset", 10], ["status 503", 2]],
                "trouble": "",
            },
        },
    }
    assert (failed["entry"]["cause"], failed["entry"]["incident"]) == ("forbidden by admission", INCIDENT)
    assert failed["entry"]["receipt"] is None


HISTORY_NAMES = ("prod", "flask-hello", "flask-hello-prod")


# -- results -----------------------------------------------------------------------------------------------------------


def test_a_deploys_result_says_what_its_clients_saw() -> None:
    assert shown(Deployed("prod", FAILED, BACK, IMAGE, "http://192.168.49.2:31190", 83.2)) == [
        "prod: revision 117 -> 118, proven good in 1 m 23 s",
        f"image flask-hello:{TAG}",
        "12345 requests, 12 lost, longest gap 2.3 s, p50 4 ms, p99 123 ms",
        "http://192.168.49.2:31190",
    ]


def test_a_first_deploy_has_no_clients_to_speak_of() -> None:
    first = replace(FAILED, number=1)
    assert shown(Deployed("prod", None, first, IMAGE, INSIDE, 8.0)) == [
        "prod: revision 1, the first, proven good in 8.0 s",
        f"image flask-hello:{TAG}",
        INSIDE,
        "(inside the cluster; from here: releaser open prod)",
    ]


def test_where_nobody_answered_a_receipt_has_no_latencies() -> None:
    receipt = replace(RECEIPT, failed=12345, p50_seconds=0.0, p99_seconds=0.0)
    assert receipt.line == "12345 requests, 12345 lost, longest gap 2.3 s"
    assert replace(RECEIPT, p50_seconds=0.0004).line.endswith("p50 <1 ms, p99 123 ms")
    widest = replace(RECEIPT, sent=3_600_000, failed=3_600_000, longest_gap_seconds=3599.94)
    assert len(widest.line) <= 76


POD = PodState(
    "flask-hello-7c9d8f6b5d-x2v4k",
    "Running",
    True,
    False,
    False,
    (ContainerState("web", False, False, 12, "CrashLoopBackOff"),),
    node="releaser",
)


LONG = "asking Prometheus at http://prometheus.monitoring.example.com:9090: nothing answers there; no pod is ready"
WIDE = Traffic(
    "Prometheus at http://prometheus.monitoring.internal.example.com:9090/prometheus",
    300,
    12345.67,
    0.0123,
    0.0345,
    (PodTraffic(POD.name, 12345.6, 0.99999, 29.99), PodTraffic(POD.name, 0.0, None, None)),
    LONG,
)


@pytest.mark.parametrize(
    "result",
    [
        Built(IMAGE, False, 3.0),
        Loaded(IMAGE, "Minikube releaser", Sent("from Docker's store", 180_580_093, 12, 14), 3.0),
        Deployed("prod", FAILED, BACK, IMAGE, INSIDE, 83.2),
        RolledBack("prod", FAILED, PROMOTED, BACK, INSIDE, 83.2),
        ReleaseStatus("prod", "flask-hello", "flask-hello-prod", "releaser", PENDING, (POD,), INSIDE),
        ReleaseStatus("prod", "flask-hello", "flask-hello-prod", "releaser", None, (), ""),
        ReleaseStatus("prod", "flask-hello", "flask-hello-prod", "releaser", PENDING, (POD,), INSIDE, WIDE),
        ReleaseStatus("prod", "flask-hello", "flask-hello-prod", "releaser", PENDING, (), "-", Traffic(note=LONG)),
        Destroyed("prod", "flask-hello", "flask-hello-prod", False),
        Opened("prod", "http://127.0.0.1:41234"),
        Up("releaser", "releaser", "192.168.49.2", 2, "v1.35.4", False, 123.4),
        Down("releaser", True, True),
    ],
    ids=lambda result: type(result).__name__,
)
def test_no_result_is_wider_than_80_columns(result: object) -> None:
    lines = shown(result)
    assert [line for line in lines if len(line) > WIDTH] == []
    assert all(lines)


def test_a_status_says_which_revision_who_released_it_and_how_its_pods_are() -> None:
    status = ReleaseStatus("prod", "flask-hello", "flask-hello-prod", "releaser", PENDING, (POD,), INSIDE)
    assert shown(status) == [
        "flask-hello in flask-hello-prod (context releaser)",
        "revision 116  pending-upgrade, unknown",
        "released 2026-07-30 13:31:05 UTC by maximilian, commit 3f9c1b2a7+",
        f"image flask-hello:{TAG}",
        "POD                           NODE      STATE             RESTARTS",
        "flask-hello-7c9d8f6b5d-x2v4k  releaser  CrashLoopBackOff  12",
        INSIDE,
        "(inside the cluster; from here: releaser open prod)",
    ]


def test_a_status_says_what_is_answered_by_whom_and_where_that_is_known_from() -> None:
    one, other = PodTraffic("web-a", 8.0, 0.0, 0.0345), PodTraffic("web-b", 4.3, 0.034, 1.25)

    def requests(traffic: Traffic) -> list[str]:
        status = ReleaseStatus("prod", "web", "web-prod", "releaser", PENDING, (), "http://10.0.0.1:31181", traffic)
        lines = shown(status)
        return lines[lines.index("http://10.0.0.1:31181") + 1 :]

    assert requests(Traffic("2 pods", 1.0, 12.3, 0.012, 0.4, (one, other))) == [
        "12.3 requests/s, 1.2 % errors, p95 400 ms",
        "  of the last 1 s, by 2 pods",
        "POD    REQUESTS/S  ERRORS  P95",
        "web-a  8.0         0 %     34.5 ms",
        "web-b  4.3         3.4 %   1.25 s",
    ]
    assert requests(Traffic("1 pod", 1.0, 0.0, pods=(one,), note="web-b: no answer within 2.0 s")) == [
        "0.0 requests/s, - errors, p95 -",
        "  of the last 1 s, by 1 pod",
        "  web-b: no answer within 2.0 s",
    ]
    assert requests(Traffic(note="reading the pods' metrics: no pod is ready")) == [
        "requests not known: reading the pods' metrics: no pod is ready"
    ]


def test_a_rollback_says_which_revision_is_back() -> None:
    assert shown(RolledBack("prod", FAILED, PROMOTED, BACK, "http://10.0.0.1:31181", 12.2)) == [
        "prod: revision 117 -> 118, which is revision 115 again, proven good in 12.2 s",
        f"image flask-hello:{TAG}",
        "http://10.0.0.1:31181",
    ]


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [(ReleaseFailed, 6), (ReleaseNotRestored, 7)])
def test_in_json_a_failed_release_carries_its_cause_incident_and_exit_code(
    kind: type[ReleaseFailed | ReleaseNotRestored], code: int
) -> None:
    assert in_json(kind("it failed", detail="why", hint="mend it", cause=Cause.CRASH_LOOP, incident=INCIDENT)) == {
        "error": kind.__name__,
        "message": "it failed",
        "detail": "why",
        "hint": "mend it",
        "cause": "crash loop",
        "incident": INCIDENT,
        "exit_code": code,
    }


def test_in_json_a_failure_without_a_known_cause_says_null() -> None:
    document = in_json(ReleaseNotRestored("it failed"))
    assert (document["cause"], document["incident"], document["exit_code"]) == (None, "", 7)


def in_json(error: ReleaserError) -> dict[str, Any]:
    stderr = StringIO()
    Printer(Output.JSON, stdout=StringIO(), stderr=stderr).error(error)
    document: dict[str, Any] = json.loads(stderr.getvalue())
    return document


# -- steps -------------------------------------------------------------------------------------------------------------


def test_no_step_of_a_releases_life_is_wider_than_80_columns(bench: Bench) -> None:
    (bench.root / "releaser.yaml").write_text("release: flask-hello\n")
    project, stderr = load_project(bench.root), StringIO()
    printer = Printer(Output.TEXT, stdout=StringIO(), stderr=stderr)

    def target(environment: str) -> Target:
        return replace(bench.target(environment), release="flask-hello", reporter=printer)

    for source in ("3f9c1b2a7d4e", "3f9c1b2a7d4e", "4f9c1b2a7d4e"):
        bench.images.source = source
        deploy(project, target("dev"), bench.workshop, YES)
    promote(project, target("dev"), bench.node, target("prod"), bench.workshop, YES)
    rollback(target("dev"), None, YES)
    bench.values("dev", "crash: true\n")
    with pytest.raises(ReleaseFailed):
        deploy(project, target("dev"), bench.workshop, YES)

    steps = [line for line in stderr.getvalue().splitlines() if line.startswith(("ok ", "FAIL "))]
    assert len(steps) > 40 and [line for line in steps if len(line) > WIDTH] == []
