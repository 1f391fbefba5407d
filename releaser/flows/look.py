"""The commands that only look: status, history, logs, open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from releaser.errors import Refused, ReleaserError, UsageError
from releaser.flows.release import history
from releaser.flows.target import Target
from releaser.flows.traffic import TrafficSource, traffic
from releaser.models import History, Opened, PodState, ReleaseStatus


class Forwarder(Protocol):
    """Makes a Service inside the cluster answer on a local port."""

    def forward(self, namespace: str, service: str) -> AbstractContextManager[str]:
        """The local URL; forwarding ends with the context."""
        ...


def status(target: Target, sources: Sequence[TrafficSource]) -> ReleaseStatus:
    revisions = history(target.release, target.namespace, target.helm, target.cluster)
    installed = bool(revisions)
    pods = target.cluster.pods(target.namespace, target.release) if installed else ()
    service = target.cluster.service_name(target.namespace, target.release) if installed else ""
    serving = [pod.name for pod in pods if pod.ready and not pod.terminating]
    return ReleaseStatus(
        environment=target.environment.name,
        release=target.release,
        namespace=target.namespace,
        context=target.cluster.context,
        revision=revisions[0] if installed else None,
        pods=pods,
        url=target.cluster.service_url(target.namespace, target.release) if installed else "",
        traffic=traffic(sources, target.namespace, service, serving) if installed else None,
    )


def show_history(target: Target) -> History:
    revisions = history(target.release, target.namespace, target.helm, target.cluster)
    return History(target.environment.name, target.release, target.namespace, revisions)


def logs(
    target: Target, say: Callable[[str], None], *, pod: str | None, lines: int, previous: bool, follow: bool
) -> None:
    """The log of every pod of the release, each line behind its pod's name when there are several."""
    pods = _pods(target, pod)
    sources = [(each.name, container.name) for each in pods for container in each.containers]
    width = max(len(name) for name, _ in sources)

    def tell(name: str, line: str) -> None:
        say(f"{name:<{width}}  {line}" if len(sources) > 1 else line)

    if not follow:
        for name, container in sources:
            for line in target.cluster.log(
                target.namespace, name, container, previous=previous, lines=lines
            ).splitlines():
                tell(name, line)
        return

    def follow_one(name: str, container: str) -> None:
        for line in target.cluster.follow_log(target.namespace, name, container, lines):
            tell(name, line)

    threads = [threading.Thread(target=follow_one, args=source, daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def open_service(target: Target, forwarder: Forwarder, show: Callable[[Opened], None]) -> None:
    """Show where the service answers. A Service without a NodePort is forwarded until `show` returns."""
    url = target.cluster.service_url(target.namespace, target.release)
    if not url:
        raise _not_installed(target)
    if ".svc:" not in url:
        show(Opened(target.environment.name, url))
        return
    service = target.cluster.service_name(target.namespace, target.release)
    with forwarder.forward(target.namespace, service) as local:
        show(Opened(target.environment.name, local))


def _pods(target: Target, name: str | None) -> tuple[PodState, ...]:
    pods = target.cluster.pods(target.namespace, target.release)
    if not pods:
        raise _not_installed(target)
    if name is None:
        return pods
    chosen = tuple(pod for pod in pods if pod.name == name or pod.name.endswith(f"-{name}"))
    if not chosen:
        raise UsageError(f'no pod of {target.release} is named "{name}"', hint=", ".join(pod.name for pod in pods))
    return chosen


def _not_installed(target: Target) -> ReleaserError:
    return Refused(
        f"{target.release} is not installed in {target.namespace}, or has no pods",
        hint=f"releaser deploy {target.environment.name}",
    )
