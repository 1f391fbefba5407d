"""The Flask service that the chart runs: it greets, says what it is, and can be told to fail on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings

__version__ = "1.0.0"


def create_app(settings: Settings) -> Flask:
    """The WSGI application for these settings; two calls give two independent applications."""
    # Imported on the call: app.check and app.settings stay on the standard library and start fast.
    from app.factory import build

    return build(settings)
