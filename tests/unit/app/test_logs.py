from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timedelta

from app import create_app
from app.logs import JsonFormatter, request_fields
from app.settings import Settings

FORMATTER = JsonFormatter("pod-1")


def record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("app.part", logging.WARNING, "file.py", 1, message, args, None)
    vars(made).update(attributes)
    return made


def test_a_record_is_one_line_of_json_with_time_in_utc() -> None:
    line = FORMATTER.format(record("%d things\nhappened\r\u2028", 2))
    assert len(line.splitlines()) == 1
    parsed = json.loads(line)
    assert datetime.fromisoformat(parsed.pop("time")).utcoffset() == timedelta(0)
    assert parsed == {
        "level": "warning",
        "logger": "app.part",
        "message": "2 things\nhappened\r\u2028",
        "pod": "pod-1",
    }


def test_an_exception_brings_its_traceback_on_the_same_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = FORMATTER.format(record("failed", exc_info=sys.exc_info()))
    assert len(line.splitlines()) == 1
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_a_record_made_within_a_request_names_it() -> None:
    app = create_app(Settings())

    @app.get("/work")
    def work() -> str:
        return FORMATTER.format(record("working"))

    answer = app.test_client().get("/work?token=secret", headers={"X-Request-Id": "id-1"}).text
    parsed = json.loads(answer)
    assert (parsed["request_id"], parsed["method"], parsed["path"]) == ("id-1", "GET", "/work")
    assert "secret" not in answer


def test_a_logged_path_is_bounded_and_never_fails_to_decode() -> None:
    assert request_fields({"REQUEST_METHOD": "GET", "PATH_INFO": "/gr\u00c3\u00bc\u00ff"})["path"] == "/grü\ufffd"
    assert len(str(request_fields({"PATH_INFO": "/" * 9_999})["path"])) == 512
