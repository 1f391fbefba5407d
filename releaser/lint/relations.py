"""Rules of policy that look at several objects, or at several fields of one. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from releaser.lint.pods import WORKLOADS, Pods, listed, mapping, pods, selects, words
from releaser.lint.subject import Variant
from releaser.manifests import Document
from releaser.objects import labelled

Broken = tuple[str, Document, str, str]
"""Rule, object, address, message; an empty one is the rule's own."""


def relations(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for check in _CHECKS:
        yield from check(known, variant)


def _of_kind(known: Sequence[Document], *kinds: str) -> Iterator[Document]:
    return (each for each in known if each.object.kind in kinds)


def _made(known: Sequence[Document], kinds: frozenset[str] | None = None) -> list[Pods]:
    return [made for each in known if (made := pods(each)) and (kinds is None or made.kind in kinds)]


def _probes(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for made in _made(known):
        for address, container in made.containers():
            ports = {port.get(key) for port in listed(container.get("ports")) for key in ("name", "containerPort")}
            for key in ("livenessProbe", "readinessProbe", "startupProbe"):
                for action in ("httpGet", "tcpSocket"):
                    port = mapping(container, key, action).get("port")
                    # a number needn't be declared
                    if isinstance(port, str) and port not in ports:
                        text = f"{key} asks port {port}, which the container hasn't got"
                        yield "policy/probe-port", made.document, f"{address}.{key}.{action}.port", text
            for name in _asked_elsewhere(container):
                yield "policy/probe-host", made.document, f"{address}.{name}.host", f"{name} asks another host"
            live, ready = container.get("livenessProbe"), container.get("readinessProbe")
            asks = ("httpGet", "tcpSocket", "exec", "grpc")
            if live and ready and all(mapping(live).get(each) == mapping(ready).get(each) for each in asks):
                yield "policy/probes-differ", made.document, f"{address}.livenessProbe", ""


def _asked_elsewhere(container: Mapping[str, Any]) -> Iterator[str]:
    """Probes and lifecycle hooks that name a host; none is the pod's own."""
    asking = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop")
    for name in (f"{each}.{action}" for each in asking for action in ("httpGet", "tcpSocket")):
        if mapping(container, *name.split(".")).get("host"):
            yield name


def _variables(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for made in _made(known):
        for address, container in made.containers():
            names = [str(each.get("name")) for each in listed(container.get("env"))]
            for name in sorted({each for each in names if names.count(each) > 1}):
                yield "policy/duplicate-env", made.document, f"{address}.env", f"{name} stands twice in env"


def _scaling(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    scalers = list(_of_kind(known, "HorizontalPodAutoscaler"))
    by_name = {(each.object.kind, each.object.name): each for each in known}
    scaled: dict[tuple[str, str], Document] = {}
    for each in scalers:
        spec = mapping(each.object.body, "spec")
        target = mapping(spec, "scaleTargetRef")
        name = (str(target.get("kind")), str(target.get("name")))
        scaled[name] = each
        if name not in by_name:
            text = f"its target {name[0].lower()}/{name[1]} isn't there"
            yield "policy/hpa-target", each, "spec.scaleTargetRef.name", text
        elif mapping(by_name[name].object.body, "spec").get("replicas") is not None:
            yield "policy/hpa-replicas", by_name[name], "spec.replicas", ""
        low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
        if low == high:
            yield "policy/hpa-room", each, "spec.maxReplicas", f"minReplicas and maxReplicas are both {high}"
    for each in _of_kind(known, "Deployment", "StatefulSet"):
        scaler = scaled.get((each.object.kind, each.object.name))
        count = _least(each, scaler)
        if count < 2:
            where = (scaler, "spec.minReplicas") if scaler else (each, "spec.replicas")
            yield "policy/two-replicas", *where, f"there {'are' if count == 0 else 'is'} {count} of its pods"


def _least(workload: Document, scaler: Document | None) -> int:
    spec, key = (scaler, "minReplicas") if scaler else (workload, "replicas")
    count = mapping(spec.object.body, "spec").get(key, 1)
    return count if isinstance(count, int) else 1


def _budgets(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    budgets = list(_of_kind(known, "PodDisruptionBudget"))
    workloads = _made(known, frozenset({"Deployment", "StatefulSet"}))
    scalers = {
        str(mapping(each.object.body, "spec", "scaleTargetRef").get("name")): each
        for each in _of_kind(known, "HorizontalPodAutoscaler")
    }

    def least(made: Pods) -> int:
        return _least(made.document, scalers.get(made.document.object.name))

    for each in budgets:
        spec = mapping(each.object.body, "spec")
        chosen = [made for made in workloads if selects(mapping(spec, "selector"), made.labels)]
        if not chosen and workloads:
            yield "policy/budget-target", each, "spec.selector", ""
        unavailable, available = spec.get("maxUnavailable"), spec.get("minAvailable")
        fewest = min(map(least, chosen), default=0)
        if unavailable is None and available is None:
            text = "it has neither maxUnavailable nor minAvailable, so it allows no disruption at all"
            yield "policy/budget-blocks", each, "spec.maxUnavailable", text
        elif unavailable in (0, "0%") or available == "100%" or (chosen and _share(available, fewest) >= fewest > 0):
            key = "maxUnavailable" if unavailable is not None else "minAvailable"
            text = f"{key} {spec[key]} of {fewest} pods allows no disruption at all"
            yield "policy/budget-blocks", each, f"spec.{key}", text
    for made in workloads:
        covered = any(selects(mapping(each.object.body, "spec", "selector"), made.labels) for each in budgets)
        if least(made) > 1 and not covered:
            yield "policy/disruption-budget", made.document, "metadata.name", ""


def _share(available: Any, pods: int) -> int:
    """How many of the pods must stay: a number, or a share of them, which Kubernetes rounds up."""
    if isinstance(available, str) and available.removesuffix("%").isdigit():
        return -(-int(available.removesuffix("%")) * pods // 100)
    return available if isinstance(available, int) else 0


def _spread(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for made in _made(known, frozenset({"Deployment", "StatefulSet"})):
        apart = made.spec.get("topologySpreadConstraints") or mapping(made.spec, "affinity", "podAntiAffinity")
        if not apart and _least(made.document, None) > 1:
            yield "policy/spread", made.document, made.address, ""


def _selectors(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for made in _made(known, WORKLOADS):
        if not selects(mapping(made.document.object.body, "spec", "selector"), made.labels):
            yield "policy/selector", made.document, "spec.selector", ""


def _services(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    workloads = _made(known, WORKLOADS | {"Pod"})
    for each in _of_kind(known, "Service"):
        spec = mapping(each.object.body, "spec")
        selector = mapping(spec, "selector")
        if not selector or spec.get("type") == "ExternalName":
            continue
        chosen = [made for made in workloads if selects({"matchLabels": selector}, made.labels)]
        if not chosen:
            yield "policy/service-target", each, "spec.selector", ""
            continue
        ports = {port for made in chosen for port in made.ports()}
        items = listed(spec.get("ports"))
        for index, port in enumerate(items):
            wanted = port.get("targetPort", port.get("port"))
            named_only = isinstance(wanted, str)
            if wanted not in ports and (named_only or ports):
                address = f"{labelled('spec.ports', items, index)}.{'targetPort' if 'targetPort' in port else 'port'}"
                yield "policy/service-port", each, address, f"none of the pods' containers has the port {wanted}"


def _ingresses(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    services = {each.object.name: each for each in _of_kind(known, "Service")}
    for each in _of_kind(known, "Ingress"):
        for address, backend in _backends(mapping(each.object.body, "spec")):
            service = mapping(backend, "service")
            name, port = str(service.get("name", "")), mapping(service, "port")
            if not name:
                continue
            if name not in services:
                yield "policy/ingress-target", each, f"{address}.service.name", f"there is no Service {name}"
                continue
            ports = listed(mapping(services[name].object.body, "spec").get("ports"))
            if port and not any(
                port.get("number") == p.get("port") or port.get("name") == p.get("name") for p in ports
            ):
                text = f"the Service {name} has no port {port.get('name') or port.get('number')}"
                yield "policy/ingress-target", each, f"{address}.service.port", text


def _backends(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "spec.defaultBackend", spec.get("defaultBackend")
    hosts = listed(spec.get("rules"))
    for index, host in enumerate(hosts):
        paths = listed(mapping(host, "http").get("paths"))
        for at, path in enumerate(paths):
            address = labelled(f"{labelled('spec.rules', hosts, index)}.http.paths", paths, at)
            yield f"{address}.backend", path.get("backend")


def _network_policies(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    policies = list(_of_kind(known, "NetworkPolicy"))
    everybody = _made(known)
    for each in policies:
        selector = mapping(each.object.body, "spec", "podSelector")
        if everybody and not any(selects(selector, made.labels) for made in everybody):
            yield "policy/network-policy-target", each, "spec.podSelector", ""
    for made in _made(known, WORKLOADS):
        if not any(selects(mapping(each.object.body, "spec", "podSelector"), made.labels) for each in policies):
            yield "policy/network-policy", made.document, "metadata.name", ""


def _monitors(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for each in _of_kind(known, "ServiceMonitor"):
        selector = mapping(each.object.body, "spec", "selector")
        services = [
            service
            for service in _of_kind(known, "Service")
            if selects(selector, mapping(service.object.body, "metadata", "labels"))
        ]
        if not services:
            yield "policy/monitor-target", each, "spec.selector", ""
            continue
        names = {port.get("name") for one in services for port in listed(mapping(one.object.body, "spec").get("ports"))}
        for index, endpoint in enumerate(listed(mapping(each.object.body, "spec").get("endpoints"))):
            if endpoint.get("port") and endpoint["port"] not in names:
                text = f"none of its Services has a port {endpoint['port']}"
                yield "policy/monitor-target", each, f"spec.endpoints[{index}].port", text


_READING = frozenset({"get", "list", "watch", "*"})
# a program is started in a pod by POST or, over a WebSocket, by GET
_INTO, _INSIDE = frozenset({"get", "create", "*"}), frozenset({"pods/exec", "pods/attach"})


def _roles(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for each in _of_kind(known, "Role", "ClusterRole"):
        for index, allowed in enumerate(listed(each.object.body.get("rules"))):
            verbs, resources = (words(allowed.get(key)) for key in ("verbs", "resources"))
            address = f"rules[{index}]"
            if "*" in verbs or "*" in resources:
                where = "verbs" if "*" in verbs else "resources"
                yield "policy/rbac-wildcard", each, f"{address}.{where}", f"it allows all {where}"
            if "secrets" in resources and verbs & _READING and not allowed.get("resourceNames"):
                yield "policy/rbac-secrets", each, f"{address}.resources", ""
            if (verbs & {"create", "*"} and "pods" in resources) or (verbs & _INTO and resources & _INSIDE):
                yield "policy/rbac-pods", each, f"{address}.resources", ""
    for each in _of_kind(known, "RoleBinding", "ClusterRoleBinding"):
        if mapping(each.object.body, "roleRef").get("name") == "cluster-admin":
            yield "policy/rbac-cluster-admin", each, "roleRef.name", ""


_MOUNTED = "automountServiceAccountToken"


def _accounts(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    accounts = {each.object.name: each.object.body for each in _of_kind(known, "ServiceAccount")}
    bindings = _of_kind(known, "RoleBinding", "ClusterRoleBinding")
    with_role = {subject.get("name") for each in bindings for subject in listed(each.object.body.get("subjects"))}
    for made in _made(known):
        name = made.spec.get("serviceAccountName") or "default"
        holders = (made.spec, accounts.get(name, {}))
        mounted = next((each[_MOUNTED] for each in holders if each.get(_MOUNTED) is not None), True)
        if mounted and name not in with_role:
            yield "policy/no-token", made.document, f"{made.address}.{_MOUNTED}", ""
        if name != "default" and name not in accounts:
            text = f"its ServiceAccount {name} isn't in the chart"
            yield "policy/account-missing", made.document, f"{made.address}.serviceAccountName", text


def _jobs(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for each in _of_kind(known, "Job"):
        annotations = mapping(each.object.body, "metadata", "annotations")
        deleted = "helm.sh/hook" in annotations and "hook-succeeded" in str(annotations.get(_DELETED))
        if mapping(each.object.body, "spec").get("ttlSecondsAfterFinished") is None and not deleted:
            yield "policy/job-ttl", each, "spec.ttlSecondsAfterFinished", ""


_DELETED = "helm.sh/hook-delete-policy"
_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance")


def _metadata(known: Sequence[Document], variant: Variant) -> Iterator[Broken]:
    for each in known:
        metadata = mapping(each.object.body, "metadata")
        lacking = [label for label in _LABELS if label not in mapping(metadata, "labels")]
        if lacking:
            yield "policy/standard-labels", each, "metadata.name", f"it has no label {' nor '.join(lacking)}"
        namespace = metadata.get("namespace")
        if namespace and namespace not in (variant.namespace, "kube-system"):
            yield "policy/fixed-namespace", each, "metadata.namespace", f"it names the namespace {namespace}"


_CHECKS: tuple[Callable[[Sequence[Document], Variant], Iterator[Broken]], ...] = (
    _probes,
    _variables,
    _scaling,
    _budgets,
    _spread,
    _selectors,
    _services,
    _ingresses,
    _network_policies,
    _monitors,
    _roles,
    _accounts,
    _jobs,
    _metadata,
)
