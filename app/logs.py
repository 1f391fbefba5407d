"""Logs: one JSON object a line on stdout, alike for the service, the access log and gunicorn itself.

Keys: time (ISO 8601, UTC), level, logger, message, pod; within a request also request_id, method, path; in the access
log also status and duration_seconds; with an exception also exception (the traceback).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import has_request_context, request
from gunicorn.glogging import Logger

from app.health import LIVE_PATH, READY_PATH
from app.metrics import METRICS_PATH
from app.request_id import ENVIRON_KEY
from app.settings import load_settings

PATH_MAX_LENGTH = 512
# Asked every few seconds for as long as a pod lives; worth a line only when they fail, or when debugging.
QUIET_PATHS = frozenset({LIVE_PATH, READY_PATH, METRICS_PATH})


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; line ends and control characters within it are escaped."""

    def __init__(self, pod: str) -> None:
        super().__init__()
        self._pod = pod

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context():
            line |= request_fields(request.environ)
        line |= getattr(record, "fields", {})
        line["pod"] = self._pod
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class GunicornLogger(Logger):
    """gunicorn's logger_class: its records, and all others, go through one handler on the root logger."""

    def setup(self, cfg: Any) -> None:
        """gunicorn calls this once in the master, before it forks, and again on reload."""
        settings = load_settings()
        self.cfg = cfg
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter(settings.pod.name))
        logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
        logging.captureWarnings(True)
        for logger in (self.error_log, self.access_log):
            logger.propagate = True

    def access(self, resp: Any, req: Any, environ: MutableMapping[str, Any], request_time: timedelta) -> None:
        """One line for a finished request; gunicorn's own is text in Apache's format."""
        status = int(str(resp.status).split(maxsplit=1)[0])
        fields = request_fields(environ) | {"status": status, "duration_seconds": request_time.total_seconds()}
        level = _access_level(status, environ.get("PATH_INFO", ""))
        message = f"{fields['method']} {fields['path']} {status}"
        self.access_log.log(level, "%s", message, extra={"fields": fields})


def request_fields(environ: Mapping[str, Any]) -> dict[str, object]:
    """request_id, method and path of a WSGI environment. No query string: it may hold what must not be logged."""
    # PEP 3333: the path's bytes, decoded as latin-1.
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    fields: dict[str, object] = {"method": environ.get("REQUEST_METHOD", ""), "path": path[:PATH_MAX_LENGTH]}
    # A request that gunicorn refused as malformed never reached the application and has no id.
    return {"request_id": environ[ENVIRON_KEY], **fields} if ENVIRON_KEY in environ else fields


def _access_level(status: int, path: str) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if status < 400 and path in QUIET_PATHS else logging.INFO
