"""Files written into running containers, from the node on which they run: a pod's own view of its root file system may
be read-only, the node's isn't. The first process is told by SIGHUP and starts its workers anew, as gunicorn does.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Mapping
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from releaser.adapters.cluster import Cluster
from releaser.adapters.machines import Machine, machines
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from releaser.models import PodState

_SECONDS = 60.0
_REQUEST_SECONDS = 10
_ANSWER_SECONDS = 20.0
_RUNTIME = "containerd"

# $1: directory in the containers. $2: seconds that old workers may take to end. Then UIDs of pods. Standard input: a
# tar of what is new; its member .gone names, one a line, what isn't there any more. One line is printed for each
# container that has the directory: the pod's UID and what became of it.
_WRITE = r"""
directory=$1; seconds=$2; shift 2
files=$(mktemp -d) || exit
trap 'rm -rf "$files"' EXIT
tar -x -C "$files" || exit
gone=$(cat "$files/.gone"); rm "$files/.gone"
told=""
for uid; do
  for id in $(crictl ps --quiet --state running --label "io.kubernetes.pod.uid=$uid"); do
    bundle=/run/containerd/io.containerd.runtime.v2.task/k8s.io/$id
    there=$bundle/rootfs$directory
    # a link could lead out of the container
    [ -d "$there" ] && [ "$(readlink -f "$there")" = "$there" ] || continue
    pid=$(cat "$bundle/init.pid")
    old=$(pgrep -P "$pid" | tr '\n' ' ')
    cp -r --no-dereference --remove-destination "$files/." "$there/" || exit
    printf '%s\n' "$gone" | while IFS= read -r name; do [ -z "$name" ] || rm -rf "${there:?}/$name"; done
    # Python may take what it compiled before without a look at the file
    find "$there" -name __pycache__ -prune -exec rm -rf {} +
    kill -HUP "$pid" || exit
    told="$told$uid:$pid:$(echo $old | tr ' ' ','),
"
  done
done
end=$(($(date +%s) + seconds))
printf %s "$told" | while IFS=: read -r uid pid old; do
  became=restarted
  for worker in $(echo "$old" | tr ',' ' '); do
    while [ -d "/proc/$worker" ]; do
      [ "$(date +%s)" -lt "$end" ] || { became=stuck; break; }
      sleep 0.05
    done
  done
  [ "$old" = , ] && became=alone
  [ -d "/proc/$pid" ] || became=ended
  echo "$uid $became"
done
"""
_WHY_NOT = {
    "stuck": "its old workers don't end",
    "alone": "its first process has no workers that it could start anew",
    "ended": "its first process ended",
}


class NodeContainers:
    """Satisfies flows' Containers, in the nodes of the Minikube profile that has the context's name."""

    def __init__(self, process: Process, cluster: Cluster) -> None:
        self._process = process
        self._cluster = cluster

    def write(
        self, namespace: str, release: str, directory: str, files: Mapping[str, bytes | None], path: str
    ) -> tuple[str, ...]:
        """Write the files (None: remove), named relative to the `directory` in the container, into every running pod of
        the release, and wait until each answers at `path` with new workers. The pods' names are returned; they are
        marked as edited before anything is written.

        Raises EnvironmentUnfit when that can't be done, or a pod doesn't come back.
        """
        doing = f"writing code into the pods of {release}"
        nodes = machines(self._cluster.context)
        if not nodes or any(node.runtime != _RUNTIME for node in nodes):
            raise EnvironmentUnfit(f"While {doing}: that is for Minikube's nodes with {_RUNTIME} only")
        pods = {pod.uid: pod for pod in self._cluster.pods(namespace, release) if not pod.terminating}
        for pod in pods.values():
            self._cluster.mark_edited(namespace, pod.name)
        became: dict[str, str] = {}
        for node in nodes:
            became |= self._write_in(node, directory, list(pods), _archive(files), doing)
        for uid, pod in pods.items():
            if became.get(uid) != "restarted":
                why = _WHY_NOT.get(became.get(uid, ""), f"no container of it has {directory}")
                raise EnvironmentUnfit(f"While {doing}: pod {pod.name} can't have it: {why}")
            self._await_answer(namespace, pod, path, doing)
        return tuple(pod.name for pod in pods.values())

    def _write_in(self, node: Machine, directory: str, uids: list[str], archive: bytes, doing: str) -> dict[str, str]:
        finished = self._process.run(
            node.command("sh", "-c", _WRITE, "sh", directory, f"{_ANSWER_SECONDS:.0f}", *uids),
            doing=doing,
            deadline_seconds=_SECONDS,
            input=archive,
        )
        return dict(line.split() for line in finished.stdout.splitlines() if line)

    def _await_answer(self, namespace: str, pod: PodState, path: str, doing: str) -> None:
        """Old workers are gone: what answers now is new. A new one that can't start ends the first process."""
        core = client.CoreV1Api(self._cluster.api)
        end = time.monotonic() + _ANSWER_SECONDS
        said = ""
        while time.monotonic() < end:
            found = core.read_namespaced_pod(pod.name, namespace, _request_timeout=_REQUEST_SECONDS)
            if sum(each.restart_count for each in found.status.container_statuses) > pod.restarts:
                said = "its container started anew"
                break
            try:
                core.connect_get_namespaced_pod_proxy_with_path(
                    f"{pod.name}:{_port(found)}", namespace, path.lstrip("/"), _request_timeout=_REQUEST_SECONDS
                )
                return
            except ApiException as exc:
                said = _message(exc)
            time.sleep(0.1)
        raise EnvironmentUnfit(f"While {doing}: pod {pod.name} does not answer at {path}", detail=said)


def _archive(files: Mapping[str, bytes | None]) -> bytes:
    gone = "\n".join(name for name, content in files.items() if content is None)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in [(".gone", gone.encode()), *files.items()]:
            if content is not None:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _port(pod: client.V1Pod) -> int:
    """The first that a container of it names."""
    ports = [port.container_port for container in pod.spec.containers for port in container.ports or []]
    if not ports:
        raise EnvironmentUnfit(f"While asking pod {pod.metadata.name}: no container of it names a port")
    return int(ports[0])


def _message(exc: ApiException) -> str:
    try:
        document: dict[str, Any] = json.loads(exc.body or "{}")
    except ValueError:
        document = {}
    return str(document.get("message") or exc.reason)
