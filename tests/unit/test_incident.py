from __future__ import annotations

import json

from releaser.incident import last_traceback, manifest_diff, telling_line, value_changes

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
