"""What the service is for: the greeting and the version. Only these routes are subject to faults of requests."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request, session

from app import faults
from app.representation import represent
from app.settings import Settings


def blueprint(settings: Settings) -> Blueprint:
    pages = Blueprint("pages", __name__)

    @pages.before_request
    def disturb() -> None:
        faults.disturb_request(settings.faults)

    @pages.get("/")
    def greet() -> Response:
        return represent(
            "greeting.html",
            {
                "message": settings.greeting,
                "version": settings.version,
                "environment": settings.environment,
                "pod": settings.pod.name,
                "namespace": settings.pod.namespace,
                "node": settings.pod.node,
                "visits": _count_visit(),
            },
        )

    @pages.get("/version")
    def version() -> Response:
        return jsonify(version=settings.version, environment=settings.environment, pod=settings.pod.name)

    return pages


def _count_visit() -> int:
    """This client's visits, kept in its signed cookie: any pod can count on, none has to remember."""
    visits = int(session.get("visits", 0))
    if request.method == "GET":
        visits += 1
        session["visits"] = visits
    return visits
