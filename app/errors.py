"""Errors as JSON or HTML with the request id; nothing of an exception's text reaches the client."""

from __future__ import annotations

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from app import request_id
from app.representation import represent


def install(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def answer(error: HTTPException) -> WerkzeugResponse:
        # Flask hands over an unexpected exception as InternalServerError, after it has logged the traceback.
        response = error.get_response()  # keeps headers that belong to the status, such as Allow
        shown = represent(
            "error.html",
            {
                "status": response.status_code,
                "error": error.name,
                "message": error.description or "",
                "request_id": request_id.current(),
            },
        )
        response.data = shown.data
        response.content_type = shown.content_type
        response.vary.add("Accept")
        return response
