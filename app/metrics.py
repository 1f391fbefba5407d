"""Prometheus metrics of the requests, right under several workers.

With a metrics directory every worker writes memory-mapped files there and /metrics merges them, so that any worker
answers for all. A worker's files carry the number of its slot rather than its pid: a worker that replaces another goes
on with the same files, so counters survive and the directory stays small however often workers are replaced.
Every label has few possible values: routes are templates, and unknown routes and methods share one value each.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

from flask import Blueprint, Flask, Response, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.registry import Collector

from app.settings import Settings

# Series that no query of ours asks for, and that workers' files haven't got.
disable_created_metrics()  # type: ignore[no-untyped-call]

METRICS_PATH = "/metrics"
STARTED_KEY = "flask_hello.started"
LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def empty_directory(directory: Path) -> None:
    """Make `directory`, without the metrics of an earlier run. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()


def free_slot(taken: Iterable[int]) -> int:
    """The lowest number that no living worker holds."""
    slot, in_use = 1, set(taken)
    while slot in in_use:
        slot += 1
    return slot


def occupy_slot(slot: int) -> None:
    """Name this worker's files by `slot`; before the first metric is made."""
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def vacate_slot(slot: int, directory: Path) -> None:
    """Forget what only a living worker can have: requests in progress, and what it runs."""
    multiprocess.mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]


class StartTime(Collector):
    """process_start_time_seconds of one process, by the kernel's count; it changes when the container starts again."""

    def __init__(self, pid: int) -> None:
        self._process = ProcessCollector(registry=None, pid=lambda: pid)

    def collect(self) -> Iterable[Metric]:
        # CPU, memory and files of one process would be taken for those of all workers.
        return [metric for metric in self._process.collect() if metric.name == "process_start_time_seconds"]


class Metrics:
    def __init__(self, settings: Settings) -> None:
        self._directory = settings.metrics_directory
        # The pod's process is gunicorn's master: a replaced worker is no restart.
        self._start_time = StartTime(os.getppid() if self._directory else os.getpid())
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "http_request_duration_seconds",
            "Time from the request's arrival in the application to its response.",
            ["method", "route"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "http_requests_in_progress",
            "Requests being served now.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        build_info = Gauge(
            "flask_hello_build_info",
            "Always 1; what runs: version, image (revision), Python, environment, pod template.",
            ["version", "revision", "python_version", "environment", "pod_template_hash"],
            # A worker that was replaced may have told another version: with it goes what it told.
            multiprocess_mode="livemax",
            registry=self._registry,
        )
        build_info.labels(
            settings.version,
            settings.revision,
            platform.python_version(),
            settings.environment,
            settings.pod.template_hash,
        ).set(1)

    def exposition(self) -> bytes:
        """All metrics of all workers, in Prometheus' text format."""
        merged = CollectorRegistry()
        merged.register(self._start_time)
        if self._directory is None:
            merged.register(self._registry)
        else:
            multiprocess.MultiProcessCollector(merged, str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(merged)

    def install(self, app: Flask) -> None:
        """Count every request of `app` but the scrapes, and answer the scrapes."""

        @app.before_request
        def begin() -> None:
            if request.path != METRICS_PATH:
                request.environ[STARTED_KEY] = time.perf_counter()
                self._in_progress.inc()

        @app.after_request
        def count(response: Response) -> Response:
            if STARTED_KEY in request.environ:
                method = request.method if request.method in METHODS else "other"
                route = request.url_rule.rule if request.url_rule else "unmatched"
                self._requests.labels(method, route, str(response.status_code)).inc()
                self._latency.labels(method, route).observe(time.perf_counter() - request.environ[STARTED_KEY])
            return response

        @app.teardown_request
        def end(_error: BaseException | None) -> None:
            if STARTED_KEY in request.environ:
                self._in_progress.dec()

        scrape = Blueprint("metrics", __name__)

        @scrape.get(METRICS_PATH)
        def expose() -> Response:
            return Response(self.exposition(), content_type=CONTENT_TYPE_LATEST)

        app.register_blueprint(scrape)
