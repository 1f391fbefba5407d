"""JSON or HTML, as the client's Accept header prefers; JSON when it does not say."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from flask import Flask, Response, jsonify, make_response, render_template, request

STYLE = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
# Pages are self-contained: nothing may load but this one style, recognised by its hash.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def represent(template: str, content: dict[str, object]) -> Response:
    """`content` as JSON object, or as the page `template` fed with the same keys."""
    accept = request.accept_mimetypes
    if accept["text/html"] > accept["application/json"]:
        response = make_response(render_template(template, style=STYLE, **content))
    else:
        response = jsonify(content)
    response.vary.add("Accept")
    return response


def install(app: Flask) -> None:
    @app.after_request
    def protect(response: Response) -> Response:
        # Every answer tells a state of this very moment and of one client.
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response
