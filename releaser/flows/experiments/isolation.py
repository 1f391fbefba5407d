"""Do the NetworkPolicies keep out whom they should, and let in whom they should?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from releaser.flows.experiments.hands import Hands
from releaser.flows.experiments.trial import Experiment, NoSteadyState, Skipped, Trial
from releaser.policies import Peer, Policy, Port, admits, isolating, lets_out, named_peers
from releaser.verification import Measurement, Promise, exactly

# A pod and what concerns it may take this long to be known to the network everywhere.
_KNOWN_SECONDS = 15.0
# What is to be blocked is tried this long: an allowance would be known by then.
_BLOCKED_SECONDS = 5.0
_ENDING_SECONDS = 20.0
# Namespaces that every cluster has; the release is in one of them at most.
_ELSEWHERE = ("default", "kube-public")

_HOME = "releaser/namespace"

# Each target is tried until it answers, or the time is over. A refused connection is no answer.
_TRY = """
import json, socket, time
end, left, reached = time.monotonic() + {seconds}, {targets!r}, []
while left:
    for host, port in list(left):
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            continue
        left.remove((host, port))
        reached.append([host, port])
    if time.monotonic() >= end:
        break
    time.sleep(0.3)
print(json.dumps({{"reached": reached}}))
"""
_API = """
import os
print(os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
"""
_LOOK_UP = """
import socket
try:
    print(int(bool(socket.getaddrinfo("kubernetes.default.svc", 443))))
except OSError:
    print(0)
"""

Target = tuple[str, int]


@dataclass(frozen=True)
class _Client:
    """A pod that tries to come in."""

    name: str
    namespace: str
    labels: Mapping[str, str]


def network_policy(trial: Trial) -> list[Measurement]:
    pod = trial.a_pod()
    policies = trial.hands.policies.network_policies(trial.namespace)
    labels = trial.hands.policies.pod_labels(trial.namespace, pod.name)
    if not isolating(policies, labels, "Ingress") and not isolating(policies, labels, "Egress"):
        raise Skipped("no NetworkPolicy selects the release's pods")
    return [*_ways_in(trial, policies, labels), *_ways_out(trial, policies, labels, pod.name)]


def sweep_elsewhere(hands: Hands, namespace: str, release: str) -> int:
    """Remove the pods that a killed run left outside the release's namespace; how many."""
    return hands.errands.sweep(_elsewhere(namespace), release, {_HOME: namespace})


def _elsewhere(namespace: str) -> str:
    return next(each for each in _ELSEWHERE if each != namespace)


# -- in ----------------------------------------------------------------------------------------------------------------


def _ways_in(trial: Trial, policies: tuple[Policy, ...], labels: Mapping[str, str]) -> list[Measurement]:
    workload, network = trial.workload, trial.hands.network
    targets: list[Target] = [
        (address, workload.port) for address in network.pod_addresses(trial.namespace, trial.release).values()
    ]
    service = trial.home.cluster.service_name(trial.namespace, trial.release)
    if address := network.service_address(trial.namespace, service) if service else "":
        targets.append((address, workload.service_port))
    found = []
    for client in _clients(trial, policies, labels):
        peer = Peer(client.namespace, trial.hands.policies.namespace_labels(client.namespace), client.labels)
        allowed = admits(policies, trial.namespace, labels, peer, Port(workload.port, workload.port_name))
        trial.mark(f"{client.name}: {'allowed' if allowed else 'blocked'} says the policy")
        reached = _reached_from(trial, client, targets, _KNOWN_SECONDS if allowed else _BLOCKED_SECONDS)
        found.append(exactly(f"in from {client.name}", len(reached), len(targets) if allowed else 0, note=_of(targets)))
    return found


def _clients(trial: Trial, policies: tuple[Policy, ...], labels: Mapping[str, str]) -> list[_Client]:
    """A pod of another namespace, one of the same, and one like each that the policy names by its labels."""
    elsewhere = _elsewhere(trial.namespace)
    named = [each for each in named_peers(policies, labels) if not _would_serve(each, labels)]
    return [
        _Client(f"namespace {elsewhere}", elsewhere, {}),
        _Client("the same namespace", trial.namespace, {}),
        *(_Client(f"a named peer ({_short(each)})", trial.namespace, each) for each in named),
    ]


def _would_serve(peer: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """A pod with these labels might be taken for one that serves, and get requests."""
    return all(labels.get(key) == value for key, value in peer.items())


def _reached_from(trial: Trial, client: _Client, targets: list[Target], seconds: float) -> list[Target]:
    ran = trial.hands.errands.run(
        client.namespace,
        trial.release,
        trial.workload.image,
        _TRY.format(seconds=seconds, targets=targets),
        labels={**client.labels, _HOME: trial.namespace},
    )
    return _reached(ran.output, f"a pod of {client.namespace}")


# -- out ---------------------------------------------------------------------------------------------------------------


def _ways_out(trial: Trial, policies: tuple[Policy, ...], labels: Mapping[str, str], pod: str) -> list[Measurement]:
    """To the API server, which every pod can reach that isn't kept from it; and to the cluster's DNS."""
    elsewhere = _elsewhere(trial.namespace)
    host, port = _run(trial, pod, _API).split()
    api: Target = (host, int(port))
    control = _reached_from(trial, _Client("", elsewhere, {}), [api], _KNOWN_SECONDS)
    if not control:
        raise NoSteadyState(f"the API server ({host}:{port}) can't be reached from namespace {elsewhere} either")
    allowed = lets_out(policies, trial.namespace, labels, Peer(address=host), Port(api[1]))
    trial.mark(f"out to the API server: {'allowed' if allowed else 'blocked'} says the policy")
    script = _TRY.format(seconds=0 if not allowed else _KNOWN_SECONDS, targets=[api])
    reached = _reached(_run(trial, pod, script), pod)
    return [
        exactly("out to the API server", len(reached), int(allowed), note=f"{host}:{port}"),
        *_to_dns(trial, policies, labels, pod),
    ]


def _to_dns(trial: Trial, policies: tuple[Policy, ...], labels: Mapping[str, str], pod: str) -> list[Measurement]:
    """Where the policy means to allow it: without it no name leads anywhere."""
    kube_dns = Peer("kube-system", trial.hands.policies.namespace_labels("kube-system"), {"k8s-app": "kube-dns"})
    if not lets_out(policies, trial.namespace, labels, kube_dns, Port(53, protocol="UDP")):
        return []
    return [exactly("names found", int(_run(trial, pod, _LOOK_UP)), 1, note=f"in {pod}")]


def _run(trial: Trial, pod: str, script: str) -> str:
    ran = trial.hands.insides.run(
        trial.namespace,
        pod,
        trial.workload.container,
        ["python", "-I", "-c", script],
        deadline_seconds=_KNOWN_SECONDS + _ENDING_SECONDS,
    )
    if ran.exit_status != 0:
        raise Skipped(f"no Python runs in {pod}: {ran.output.strip()[-80:]}")
    return ran.output


def _reached(output: str, where: str) -> list[Any]:
    for line in reversed(output.splitlines()):
        try:
            return list(json.loads(line)["reached"])
        except (ValueError, KeyError, TypeError):
            continue
    raise NoSteadyState(f"{where} could not be tried from: {output.strip()[-80:]}")


def _of(targets: list[Target]) -> str:
    return f"of {len(targets)}: its pods and its Service"


def _short(labels: Mapping[str, str]) -> str:
    key, value = sorted(labels.items())[0]
    return f"{key.rpartition('/')[2]}={value}"


NETWORK_POLICY = Experiment(
    Promise(
        "network-policy",
        "Who may reach the pods, and what they may reach, is what the NetworkPolicies say.",
        "Pods of another namespace, of the same one, and with the labels that the policy names reach every pod and the "
        "Service exactly if the policy allows it; a serving pod reaches the API server exactly if it may.",
        about_seconds=45,
    ),
    network_policy,
)
