"""Probes. /livez says that the process answers and depends on nothing; /readyz says whether it should get traffic."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, make_response

from app.settings import Settings

LIVE_PATH = "/livez"
READY_PATH = "/readyz"


def blueprint(settings: Settings) -> Blueprint:
    health = Blueprint("health", __name__)

    @health.get(LIVE_PATH)
    def live() -> Response:
        return jsonify(status="alive")

    @health.get(READY_PATH)
    def ready() -> Response:
        if settings.faults.never_ready:
            return make_response(jsonify(status="not ready", reason="FAULT_NEVER_READY is on"), 503)
        return jsonify(status="ready")

    return health
