"""gunicorn serving the application so that neither a rollout nor a replaced worker loses a request.

The chart holds the other half: a preStop sleep, and a grace period longer than that sleep plus graceful_timeout. From
SIGTERM on nobody accepts connections any more; one that still comes waits in the kernel's backlog until it is reset. So
by then Kubernetes must have stopped sending any, and the sleep gives it the time.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

# SIGHUP reads this file again in the same process, which must not give it the code that it had before.
for _name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
    del sys.modules[_name]

from app import faults, metrics
from app.logs import GunicornLogger
from app.settings import SettingsError, load_settings


def refuse_to_start(reason: object) -> SystemExit:
    sys.stderr.write(f"flask-hello cannot start: {reason}\n")
    return SystemExit(os.EX_CONFIG)


# Here, in the master and before it forks: a wrong setting is one line and one exit, not a loop of failing workers.
try:
    settings = load_settings()
except SettingsError as error:
    raise refuse_to_start(error) from None

wsgi_app = "app.wsgi:application"
# No proxy is trusted: the application makes no absolute URLs and asks for no client addresses.
forwarded_allow_ips = ""
bind = f"0.0.0.0:{settings.web.port}"

# Threads, so that a slow request doesn't keep a probe waiting; and gthread drains open connections on SIGTERM.
worker_class = "gthread"
workers = settings.web.workers
threads = settings.web.threads
graceful_timeout = settings.web.graceful_timeout_seconds
timeout = settings.web.timeout_seconds
keepalive = settings.web.keep_alive_seconds
# Workers are replaced now and then, never all at once, which bounds what a slow leak can do.
max_requests = 50_000
max_requests_jitter = 5_000

# Heartbeats go to memory: a stalled disk must not look like a stalled worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
# It would lie in HOME and let anything running as this user stop the server.
control_socket_disable = True

logger_class = GunicornLogger
loglevel = settings.log_level
accesslog = "-"


def on_starting(server: Any) -> None:
    """Before the listener opens; not on reload."""
    if settings.metrics_directory:
        try:
            metrics.empty_directory(settings.metrics_directory)
        except OSError as error:
            raise refuse_to_start(
                f"PROMETHEUS_MULTIPROC_DIR={str(settings.metrics_directory)!r} cannot be made and emptied: {error}. "
                "It has to lie on a writable volume, such as an emptyDir at /tmp."
            ) from error
    if settings.faults.switched_on():
        server.log.warning("Faults on purpose are on: %s", ", ".join(settings.faults.switched_on()))
    faults.crash_at_start(settings.faults)


def when_ready(server: Any) -> None:
    faults.arm_master(settings.faults, worker_pids=lambda: list(server.WORKERS))


def pre_fork(server: Any, worker: Any) -> None:
    worker.metrics_slot = metrics.free_slot(living.metrics_slot for living in server.WORKERS.values())


def post_fork(server: Any, worker: Any) -> None:
    worker.signals_at_birth = server.SIG_QUEUE
    if settings.metrics_directory:
        metrics.occupy_slot(worker.metrics_slot)


def post_worker_init(worker: Any) -> None:
    # Until a new worker has its own handlers, SIGTERM meets the one inherited from the master, which only queues it. As
    # the master doesn't repeat it, the worker would serve on, and the pod last for all of graceful_timeout.
    while not worker.signals_at_birth.empty():
        if worker.signals_at_birth.get() == signal.SIGTERM:
            worker.alive = False


def child_exit(server: Any, worker: Any) -> None:
    if settings.metrics_directory:
        metrics.vacate_slot(worker.metrics_slot, settings.metrics_directory)
