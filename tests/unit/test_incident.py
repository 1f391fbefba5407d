from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from releaser.incident import Changes, ValueChange, last_traceback, manifest_diff, telling_line, value_changes
from releaser.models import Revision, Source, Verdict

TRACEBACK = """\
Traceback (most recent call last):
  File "app/wsgi.py", line 3, in <module>
    app = create()
          ^^^^^^^^
app.faults.InjectedFault: told to crash"""


def test_the_last_traceback_of_a_log_is_found_whole() -> None:
    log = f"starting\n{TRACEBACK.replace('told', 'first told')}\nagain\n{TRACEBACK}\nbye"
    assert last_traceback(log) == TRACEBACK


def test_a_traceback_inside_a_json_line_is_found_too() -> None:
    log = json.dumps({"level": "error", "exception": TRACEBACK}) + "\n" + json.dumps({"level": "info"})
    assert last_traceback(log) == TRACEBACK


def test_records_of_the_other_stream_do_not_tear_a_traceback_apart() -> None:
    head, rest = TRACEBACK.split("\n", 1)
    log = f"{head}\n{json.dumps({'level': 'warning', 'message': 'still here'})}\n{rest}\n"
    assert last_traceback(log) == TRACEBACK
    assert telling_line(log) == "app.faults.InjectedFault: told to crash"


def test_the_exception_is_the_telling_line() -> None:
    assert telling_line(f"{TRACEBACK}\nworker exits") == "app.faults.InjectedFault: told to crash"


def test_without_a_traceback_the_last_line_of_trouble_tells_most() -> None:
    assert telling_line("ok\nERROR: no port\nshutting down\n") == "ERROR: no port"
    assert telling_line("one\ntwo\n") == "two"
    assert telling_line("") == ""


def test_a_record_tells_its_level_and_message() -> None:
    records = [{"level": "error", "message": "no port", "pod": "a"}, {"severity": "info", "msg": "going"}]
    log = "\n".join(map(json.dumps, records))
    assert telling_line(log) == "error: no port"
    assert telling_line(json.dumps(records[1])) == "info: going"
    assert telling_line('{"a": 1}') == '{"a": 1}'


def test_values_are_compared_leaf_by_leaf() -> None:
    changes = value_changes({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    assert [change.line for change in changes] == ["b: 2 -> 3", "c: (not set) -> 4"]


def test_manifests_are_compared_as_a_unified_diff() -> None:
    assert manifest_diff("a\nb", "a\nc", ("revision 1", "revision 2")).splitlines() == [
        "--- revision 1",
        "+++ revision 2",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]


NAMES = ["service.type", "service.nodePort", "autoscaling.maxReplicas", "faults.crashAtStart", "logLevel"]


@pytest.mark.parametrize(
    ("names", "image", "manifest", "line"),
    [
        ([], "", "", "nothing"),
        ([], "", "a diff", "the chart"),
        (["a", "b"], "", "a diff", "a, b"),
        (NAMES, "", "a diff", "service.type, service.nodePort and 3 more"),
        (["image.tag"], "1.0.0-4f9c1b2a7d4e", "a diff", "image 1.0.0-4f9c1b2a7d4e"),
        (["image.tag", "a"], "1.0.0-4f9c1b2a7d4e", "a diff", "a; image 1.0.0-4f9c1b2a7d4e"),
        (["image.pullPolicy"], "", "a diff", "image.pullPolicy"),
        (["x" * 70, "b"], "1", "a diff", f"{'x' * 70} and 1 more; image 1"),
    ],
)
def test_what_changed_is_one_line_that_fits_the_screen(names: list[str], image: str, manifest: str, line: str) -> None:
    good = Revision(
        2, "superseded", Verdict.GOOD, datetime(2026, 1, 1, tzinfo=UTC), Source("", "", "", False), "", "", 2
    )
    values = tuple(ValueChange(name, "1", "2") for name in names)
    changes = Changes(good, "flask-hello:old", f"flask-hello:{image or 'old'}", values, manifest)
    assert changes.line == f"changed since revision 2: {line}"
    assert len(changes.line) <= 78 or "xxx" in line
