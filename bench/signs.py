"""When a cluster first showed a sign that no waiting mends: watched beside what is measured, by rules of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kubernetes import client, watch
from urllib3.exceptions import HTTPError

from tests.cluster.site import Site

_REASONS = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
}
_WATCH_SECONDS = 600


@dataclass
class Sign:
    """`at`: monotonic seconds; None while there was none. Crash, image and configuration failures show one."""

    at: float | None = None
    what: str = ""


@contextmanager
def looking(site: Site) -> Iterator[Sign]:
    """Look at the namespace's pods as long as the context lasts."""
    sign, pods = Sign(), watch.Watch()

    def look() -> None:
        changes = pods.stream(site.core.list_namespaced_pod, site.namespace, timeout_seconds=_WATCH_SECONDS)
        with suppress(HTTPError):  # what stopping it from another thread looks like
            for change in changes:
                if what := _sure(change["object"]):
                    sign.at, sign.what = time.monotonic(), what
                    return

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield sign
    finally:
        pods.stop()


def _sure(pod: client.V1Pod) -> str:
    """kubelet's own word that it gives up for now, a container's second restart, or its death for memory."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting
        if waiting and waiting.reason in _REASONS:
            return str(waiting.reason)
        for ended in (status.state.terminated, status.last_state.terminated):
            if not status.ready and ended and (ended.reason == "OOMKilled" or status.restart_count > 1):
                return str(ended.reason)
    return ""
