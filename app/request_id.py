"""One id for each request: the client's own if it is sane, else a new one; in the response, in logs, on error pages."""

from __future__ import annotations

import re
import uuid

from flask import Flask, Response, request

HEADER = "X-Request-Id"
ENVIRON_KEY = "flask_hello.request_id"
# Bounded and of a plain alphabet: the id is copied into headers, logs and pages.
SANE = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}", re.ASCII)


def install(app: Flask) -> None:
    @app.before_request
    def take_or_make() -> None:
        given = request.headers.get(HEADER, "")
        # In the WSGI environment, because gunicorn's access log reads it there when Flask's context is gone.
        request.environ[ENVIRON_KEY] = given if SANE.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def echo(response: Response) -> Response:
        response.headers[HEADER] = current()
        return response


def current() -> str:
    """The id of the request being served."""
    return str(request.environ[ENVIRON_KEY])
