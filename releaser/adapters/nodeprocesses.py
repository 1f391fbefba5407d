"""Processes of containers, from the machine on which they run, and that machine's container runtime: for experiments.

The machines are a Minikube profile's nodes with containerd; of other clusters nobody says how a command gets into them.
"""

from __future__ import annotations

from collections.abc import Sequence

from releaser.adapters.machines import Machine, machines
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit
from releaser.models import PodState

_RUNTIME = "containerd"
_SECONDS = 60.0

# $1: the pod's UID. $2: the container's name. Prints the process id of its process 1, as the node counts.
_FIRST = """
id=$(crictl ps --quiet --state running --label "io.kubernetes.pod.uid=$1" --name "^$2\\$" | head -n 1)
[ "$id" ] || exit 3
first=$(cat "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$id/init.pid") || exit 3
"""
# All processes that see the same processes as it does are the container's.
_FELLOWS = """
space=$(readlink "/proc/$first/ns/pid")
for each in /proc/[0-9]*; do
  [ "$(readlink "$each/ns/pid" 2>/dev/null)" = "$space" ] || continue
  {what}
done
"""
_KILL = f"{_FIRST}kill -KILL $first"
# Twice: a process may be made while the first round goes on.
_FREEZE = (
    _FIRST
    + 2 * _FELLOWS.format(what="kill -STOP ${each#/proc/} 2>/dev/null && stopped=$((stopped + 1))")
    + ("echo $((stopped / 2))")
)
# $@: UIDs of pods. Only processes that stand still (T) are told, so that the count is true.
_THAW = """
for uid; do
  for id in $(crictl ps --quiet --state running --label "io.kubernetes.pod.uid=$uid"); do
    first=$(cat "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$id/init.pid") || continue
    {fellows}
  done
done
echo $((told + 0))
""".format(
    fellows=_FELLOWS.format(
        what='grep -q "^State:.T" "$each/status" 2>/dev/null && kill -CONT ${each#/proc/} && told=$((told + 1))'
    )
)
_RESTART = f"""
systemctl restart {_RUNTIME} || exit
for try in $(seq 300); do
  crictl version >/dev/null 2>&1 && exit 0
  sleep 0.1
done
exit 1
"""


class NodeProcesses:
    """Satisfies the experiments' Machines, in the nodes of the Minikube profile that has the context's name."""

    def __init__(self, process: Process, context: str) -> None:
        self._process = process
        self._context = context

    def unreachable(self) -> str:
        nodes = machines(self._context)
        if not nodes:
            return f"the nodes of {self._context} can't be reached from here: they aren't Minikube's"
        others = sorted({node.runtime for node in nodes if node.runtime != _RUNTIME})
        return f"nodes with {', '.join(others)} aren't known well enough, only with {_RUNTIME}" if others else ""

    def kill_first_process(self, pod: PodState, container: str) -> None:
        self._in(pod.node, _KILL, pod.uid, container, doing=f"killing process 1 of {container} in {pod.name}")

    def freeze(self, pod: PodState, container: str) -> int:
        doing = f"stopping the processes of {container} in {pod.name}"
        return int(self._in(pod.node, _FREEZE, pod.uid, container, doing=doing))

    def thaw(self, pods: Sequence[PodState]) -> int:
        told = 0
        for node in sorted({pod.node for pod in pods if pod.node}):
            uids = [pod.uid for pod in pods if pod.node == node]
            told += int(self._in(node, _THAW, *uids, doing=f"letting stopped processes of {node} go on"))
        return told

    def restart_runtime(self, node: str) -> None:
        self._in(node, _RESTART, doing=f"restarting {_RUNTIME} in {node}")

    def _in(self, node: str, script: str, *arguments: str, doing: str) -> str:
        return self._process.run(
            self._machine(node, doing).command("sh", "-c", script, "sh", *arguments),
            doing=doing,
            deadline_seconds=_SECONDS,
            hint="exit status 3: the node knows no such running container",
        ).stdout

    def _machine(self, node: str, doing: str) -> Machine:
        for machine in machines(self._context):
            if machine.name == node:
                return machine
        raise EnvironmentUnfit(f"While {doing}: {node} is no machine of the Minikube profile {self._context}")
