"""Do the limits on memory and CPU hold, and only for whom they are meant?"""

from __future__ import annotations

import json
import math

from releaser.flows.experiments.kills import elsewhere
from releaser.flows.experiments.trial import Experiment, Skipped, Trial
from releaser.models import PodState, Snapshot
from releaser.verification import Measurement, Promise, exactly, lost

_EAT_SECONDS = 60.0
_BURN_SECONDS = 4.0
_BEYOND = 1.5
_PIECE_BYTES = 2**23
# A quota is given out by periods of 0.1 s; the first and the last one of a measurement are cut.
_TOLERANCE = 1.1
_NEAR = 0.9
# Beyond its limit the kernel kills it: 128 + SIGKILL.
_KILLED = 137

_EAT = f"""
eaten = []
while sum(map(len, eaten)) < {{bytes}}:
    eaten.append(b"\\x01" * {_PIECE_BYTES})
print("ate", sum(map(len, eaten)))
"""

# Both generations of cgroups tell what a container has used: microseconds in one, nanoseconds in the other.
_BURN = """
import json, os, time
def read(*paths):
    for path in paths:
        try:
            return open("/sys/fs/cgroup/" + path).read()
        except OSError:
            pass
    return ""
def look():
    stat = dict(line.split()[:2] for line in read("cpu.stat", "cpu,cpuacct/cpu.stat", "cpu/cpu.stat").splitlines())
    if "usage_usec" in stat:
        used = int(stat["usage_usec"]) / 1e6
    else:
        used = int(read("cpu,cpuacct/cpuacct.usage", "cpuacct/cpuacct.usage") or -1) / 1e9
    return time.monotonic(), used, int(stat.get("nr_throttled", 0)), int(stat.get("nr_periods", 0))
began = look()
children = []
for _ in range({processes}):
    child = os.fork()
    if not child:
        end = time.monotonic() + {seconds}
        while time.monotonic() < end:
            pass
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
ended = look()
print(json.dumps([after - before for before, after in zip(began, ended)]))
"""


def resource_limits(trial: Trial) -> list[Measurement]:
    workload = trial.workload
    if workload.memory_limit_bytes is None and workload.cpu_limit is None:
        raise Skipped("the pods have neither a limit on memory nor one on CPU")
    before = trial.pods()
    victim = trial.a_pod()
    with trial.requests() as sent:
        found = _burn(trial, victim) if workload.cpu_limit is not None else []
        if workload.memory_limit_bytes is not None:
            found += _eat(trial, victim, workload.memory_limit_bytes)
    return [*found, elsewhere(trial, before, victim), *lost(sent.receipt, at_most=None)]


def _burn(trial: Trial, victim: PodState) -> list[Measurement]:
    limit = trial.workload.cpu_limit
    assert limit is not None
    trial.mark(f"more CPU wanted in {victim.name} than its limit of {limit:g}")
    script = _BURN.format(processes=math.ceil(limit) + 1, seconds=_BURN_SECONDS)
    output = _python(trial, victim, script)[1]
    seconds, used, throttled, periods = _figures(output)
    if seconds <= 0 or used <= 0:
        return [Measurement("CPU used", None, "CPUs", at_most=limit * _TOLERANCE, note=output.strip()[-120:])]
    rate = used / seconds
    # on a busy machine it may get less than its limit: then there is nothing to throttle
    least = 1 if rate >= limit * _NEAR else None
    return [
        Measurement("CPU used", rate, "CPUs", at_most=limit * _TOLERANCE, note=f"limit {limit:g}"),
        Measurement("periods throttled", throttled, at_least=least, note=f"of {periods:.0f}"),
    ]


def _eat(trial: Trial, victim: PodState, limit: float) -> list[Measurement]:
    trial.mark(f"more memory taken in {victim.name} than its limit of {limit / 2**20:.0f} MiB")
    began = trial.now()
    status, output = _python(trial, victim, _EAT.format(bytes=int(limit * _BEYOND)))
    deadline = trial.workload.start_seconds + 15
    ready = trial.since(began, trial.await_pods(lambda snapshot: _settled(snapshot, victim), deadline))
    trial.mark("the pod is ready" if ready is not None else "the pod isn't ready")
    return [
        exactly("end of the process beyond the limit", status, _KILLED, note=output.strip()[-80:]),
        Measurement("pod ready after that", ready, "s", at_most=deadline),
    ]


def _settled(snapshot: Snapshot, victim: PodState) -> bool:
    return any(pod.uid == victim.uid and pod.ready for pod in snapshot.pods)


def _python(trial: Trial, pod: PodState, script: str) -> tuple[int, str]:
    ran = trial.hands.insides.run(
        trial.namespace, pod.name, trial.workload.container, ["python", "-c", script], _EAT_SECONDS
    )
    return ran.exit_status, ran.output


def _figures(output: str) -> tuple[float, float, float, float]:
    try:
        seconds, used, throttled, periods = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return 0.0, 0.0, 0.0, 0.0
    return seconds, used, throttled, periods


RESOURCE_LIMITS = Experiment(
    Promise(
        "resource-limits",
        "A process that takes more than the container's limits is held back or killed, and its neighbours are left "
        "alone.",
        f"Of CPU it gets at most {_TOLERANCE:g} times the limit, and is throttled when it gets near; beyond the limit "
        "of memory it is killed (exit code 137), the pod is ready within what its startup probe allows, and no other "
        "pod restarts.",
        about_seconds=25,
    ),
    resource_limits,
)
