"""Is the service found under its name, and does that lead to its pods?"""

from __future__ import annotations

import json
from typing import Any

from releaser.flows.experiments.trial import Experiment, Skipped, Trial
from releaser.verification import Measurement, Promise, exactly

_TRIES = 20
_LOOK_UP = """
import json, socket, sys, time
found, failed, began = set(), 0, time.monotonic()
for _ in range({tries}):
    for name in {names!r}:
        try:
            found |= {{each[4][0] for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}}
        except OSError:
            failed += 1
print(json.dumps({{"found": sorted(found), "failed": failed, "seconds": time.monotonic() - began}}))
"""


def dns(trial: Trial) -> list[Measurement]:
    namespace, network = trial.namespace, trial.hands.network
    service = trial.home.cluster.service_name(namespace, trial.release)
    if not service:
        raise Skipped("the release has no Service, so it has no name")
    names = [service, f"{service}.{namespace}", f"{service}.{namespace}.svc"]
    trial.mark(f"{', '.join(names)} looked up {_TRIES} times in a pod")
    ran = trial.hands.errands.run(
        namespace, trial.release, trial.workload.image, _LOOK_UP.format(tries=_TRIES, names=names)
    )
    said = _document(ran.output) if ran.exit_status == 0 else {}
    address = network.service_address(namespace, service)
    pods = network.pod_addresses(namespace, trial.release)
    # a headless Service's name leads to the pods themselves
    wanted = {address} if address else set(pods.values())
    endpoints = network.ready_endpoints(namespace, service)
    asked = _TRIES * len(names)
    failed = int(said.get("failed", asked))
    return [
        Measurement("look-ups", asked, at_least=1),
        Measurement("look-ups that failed", failed, at_most=0, note="" if said else ran.output.strip()[-120:]),
        Measurement(
            "wrong addresses", len(set(said.get("found", ())) ^ wanted), at_most=0, note=f"of {address or 'pods'}"
        ),
        Measurement("mean look-up", said["seconds"] / asked if said else None, "s"),
        exactly("endpoints", len(endpoints), len(pods)),
        Measurement("endpoints that are no ready pod", len(endpoints - set(pods.values())), at_most=0),
    ]


def _document(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


DNS = Experiment(
    Promise(
        "dns",
        "Pods of the cluster find the service by its name, and its endpoints are the pods that are ready.",
        f"Each form of the name, looked up {_TRIES} times in a new pod, leads to the Service's address every time; the "
        "ready endpoints are the addresses of the ready pods.",
        about_seconds=10,
    ),
    dns,
)
