"""Puts the parts of the service together."""

from __future__ import annotations

from flask import Flask

from app import errors, health, pages, representation, request_id
from app.metrics import Metrics
from app.settings import Settings

MAX_REQUEST_BODY_BYTES = 64 * 1024


def build(settings: Settings) -> Flask:
    # No static folder: pages are self-contained, and such a route would answer for any path below it.
    app = Flask("app", static_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="flask_hello",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=MAX_REQUEST_BODY_BYTES,
    )
    # Objects are answered in the order that the code gives.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    request_id.install(app)
    Metrics(settings).install(app)
    representation.install(app)
    errors.install(app)
    app.register_blueprint(pages.blueprint(settings))
    app.register_blueprint(health.blueprint(settings))
    return app
