"""Every rule about rendered objects is broken once: a good set of objects is changed in one place."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from releaser.flows.lint import Scope, lint
from releaser.lint import rules
from releaser.models import Finding
from tests.conftest import ROOT
from tests.fakes import FakeCharts
from tests.unit.conftest import Bench

Objects = dict[str, dict[str, Any]]
LABELS = {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web"}
GOOD = """
account: {apiVersion: v1, kind: ServiceAccount, metadata: {name: web}, automountServiceAccountToken: false}
config: {apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {GREETING: hello}}
service:
  apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec:
    selector: {app.kubernetes.io/name: web}
    ports: [{name: http, port: 80, targetPort: http}]
deployment:
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    replicas: 2
    selector: {matchLabels: {app.kubernetes.io/name: web}}
    template:
      metadata: {labels: {app.kubernetes.io/name: web}}
      spec:
        serviceAccountName: web
        automountServiceAccountToken: false
        securityContext:
          {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
        topologySpreadConstraints:
          - maxSkew: 1
            topologyKey: kubernetes.io/hostname
            whenUnsatisfiable: ScheduleAnyway
            labelSelector: {matchLabels: {app.kubernetes.io/name: web}}
        containers:
          - name: web
            image: web:1
            ports: [{name: http, containerPort: 8080}]
            livenessProbe: {httpGet: {path: /livez, port: http}}
            readinessProbe: {httpGet: {path: /readyz, port: http}}
            resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 128Mi, ephemeral-storage: 64Mi}}
            securityContext:
              allowPrivilegeEscalation: false
              readOnlyRootFilesystem: true
              capabilities: {drop: [ALL]}
budget:
  apiVersion: policy/v1
  kind: PodDisruptionBudget
  metadata: {name: web}
  spec:
    maxUnavailable: 1
    unhealthyPodEvictionPolicy: AlwaysAllow
    selector: {matchLabels: {app.kubernetes.io/name: web}}
policy:
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web}
  spec: {podSelector: {matchLabels: {app.kubernetes.io/name: web}}, policyTypes: [Ingress]}
ingress:
  apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata: {name: web}
  spec:
    tls: [{hosts: [web.example], secretName: web-tls}]
    defaultBackend: {service: {name: web, port: {name: http}}}
"""
SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 4,
    },
}


def good() -> Objects:
    objects: Objects = yaml.safe_load(GOOD)
    for each in objects.values():
        each["metadata"]["labels"] = dict(LABELS)
    return objects


def role(**allowed: Any) -> dict[str, Any]:
    rule = {"apiGroups": [""], "verbs": ["get"], "resources": ["configmaps"], **allowed}
    metadata = {"name": "web", "labels": dict(LABELS)}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}


def monitor(labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "web", "labels": dict(LABELS)},
        "spec": {"selector": {"matchLabels": labels}, "endpoints": [{"port": "http"}]},
    }


def scaler(**spec: Any) -> dict[str, Any]:
    return {**SCALER, "metadata": {"name": "web", "labels": dict(LABELS)}, "spec": {**SCALER["spec"], **spec}}  # type: ignore[dict-item]


def job(policy: str = "") -> dict[str, Any]:
    """A Job; with the policy by which Helm deletes it, a hook."""
    template = deepcopy(good()["deployment"]["spec"]["template"])
    template["metadata"] = {}
    template["spec"]["restartPolicy"] = "Never"
    for key in ("livenessProbe", "readinessProbe"):
        template["spec"]["containers"][0].pop(key)
    metadata: dict[str, Any] = {"name": "once", "labels": dict(LABELS)}
    if policy:
        metadata["annotations"] = {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": policy}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}


@dataclass(frozen=True)
class Change:
    rule: str
    do: Callable[[Objects], Any]


def pod(o: Objects) -> Any:
    return o["deployment"]["spec"]["template"]["spec"]


def web(o: Objects) -> Any:
    return pod(o)["containers"][0]


def secured(o: Objects) -> Any:
    return web(o)["securityContext"]


BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "web", "labels": dict(LABELS)},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": "web"}],
}
CHANGES = [
    Change("policy/no-privileged", lambda o: secured(o).update(privileged=True)),
    Change("policy/no-privilege-escalation", lambda o: secured(o).pop("allowPrivilegeEscalation")),
    Change("policy/non-root", lambda o: pod(o)["securityContext"].pop("runAsNonRoot")),
    Change("policy/non-root", lambda o: secured(o).update(runAsNonRoot=False)),  # against the pod's
    Change("policy/high-user-id", lambda o: pod(o)["securityContext"].update(runAsUser=1000)),
    Change("policy/high-group-id", lambda o: pod(o)["securityContext"].pop("runAsGroup")),
    Change("policy/drop-capabilities", lambda o: secured(o).update(capabilities={"drop": ["NET_RAW"]})),
    Change("policy/no-added-capabilities", lambda o: secured(o)["capabilities"].update(add=["SYS_ADMIN"])),
    Change("policy/seccomp", lambda o: pod(o)["securityContext"].update(seccompProfile={"type": "Unconfined"})),
    Change(
        "policy/no-host-process",
        lambda o: pod(o)["securityContext"].update(windowsOptions={"hostProcess": True}),
    ),
    Change("policy/proc-mount", lambda o: secured(o).update(procMount="Unmasked")),
    Change("policy/read-only-root", lambda o: secured(o).pop("readOnlyRootFilesystem")),
    Change("policy/no-host-network", lambda o: pod(o).update(hostNetwork=True)),
    Change("policy/no-host-pid", lambda o: pod(o).update(hostPID=True)),
    Change("policy/no-host-ipc", lambda o: pod(o).update(hostIPC=True)),
    Change("policy/no-host-port", lambda o: web(o)["ports"][0].update(hostPort=8080)),
    Change("policy/no-host-path", lambda o: pod(o).update(volumes=[{"name": "v", "hostPath": {"path": "/etc"}}])),
    Change(
        "policy/volume-type",
        lambda o: pod(o).update(volumes=[{"name": "v", "nfs": {"server": "files.example", "path": "/"}}]),
    ),
    Change(
        "policy/no-sysctls",
        lambda o: pod(o)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    ),
    Change("policy/no-ssh", lambda o: web(o)["ports"].append({"name": "ssh", "containerPort": 22})),
    Change("policy/no-privileged-port", lambda o: web(o)["ports"][0].update(containerPort=80)),
    Change("policy/no-token", lambda o: [each.pop("automountServiceAccountToken") for each in (pod(o), o["account"])]),
    Change("policy/no-token", lambda o: pod(o).update(automountServiceAccountToken=True)),
    Change("policy/service-account-field", lambda o: pod(o).update(serviceAccount="web")),
    Change("policy/cpu-request", lambda o: web(o)["resources"]["requests"].pop("cpu")),
    Change("policy/memory-request", lambda o: web(o)["resources"]["requests"].pop("memory")),
    Change("policy/memory-limit", lambda o: web(o)["resources"]["limits"].pop("memory")),
    Change("policy/ephemeral-storage-limit", lambda o: web(o)["resources"]["limits"].pop("ephemeral-storage")),
    Change("policy/liveness-probe", lambda o: web(o).pop("livenessProbe")),
    Change("policy/readiness-probe", lambda o: web(o).pop("readinessProbe")),
    Change("policy/probes-differ", lambda o: web(o).update(readinessProbe=web(o)["livenessProbe"])),
    Change("policy/probe-port", lambda o: web(o)["livenessProbe"]["httpGet"].update(port="web")),
    Change("policy/probe-host", lambda o: web(o)["livenessProbe"]["httpGet"].update(host="metadata.example")),
    Change(
        "policy/probe-host",
        lambda o: web(o).update(lifecycle={"preStop": {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}}),
    ),
    Change("policy/duplicate-env", lambda o: web(o).update(env=[{"name": "A", "value": v} for v in "12"])),
    Change("policy/rolling-update", lambda o: o["deployment"]["spec"].update(strategy={"type": "Recreate"})),
    Change("policy/two-replicas", lambda o: o["deployment"]["spec"].update(replicas=1)),
    Change(
        "policy/two-replicas", lambda o: (o["deployment"]["spec"].pop("replicas"), o.update(hpa=scaler(minReplicas=1)))
    ),
    Change("policy/hpa-replicas", lambda o: o.update(hpa=scaler())),
    Change("policy/hpa-target", lambda o: o.update(hpa=scaler(scaleTargetRef={"kind": "Deployment", "name": "other"}))),
    Change("policy/hpa-room", lambda o: (o["deployment"]["spec"].pop("replicas"), o.update(hpa=scaler(maxReplicas=2)))),
    Change("policy/disruption-budget", lambda o: o.pop("budget")),
    Change("policy/budget-blocks", lambda o: o["budget"]["spec"].update(maxUnavailable=0)),
    Change(
        "policy/budget-blocks",
        lambda o: (o["budget"]["spec"].pop("maxUnavailable"), o["budget"]["spec"].update(minAvailable=2)),
    ),
    Change(
        "policy/budget-blocks",
        lambda o: (o["budget"]["spec"].pop("maxUnavailable"), o["budget"]["spec"].update(minAvailable="51%")),
    ),
    Change("policy/budget-blocks", lambda o: o["budget"]["spec"].pop("maxUnavailable")),
    Change("policy/budget-target", lambda o: o["budget"]["spec"].update(selector={"matchLabels": {"a": "b"}})),
    Change("policy/budget-unhealthy", lambda o: o["budget"]["spec"].pop("unhealthyPodEvictionPolicy")),
    Change("policy/spread", lambda o: pod(o).pop("topologySpreadConstraints")),
    Change("policy/selector", lambda o: o["deployment"]["spec"].update(selector={"matchLabels": {"a": "b"}})),
    Change("policy/service-target", lambda o: o["service"]["spec"].update(selector={"a": "b"})),
    Change("policy/service-port", lambda o: o["service"]["spec"]["ports"][0].update(targetPort=9090)),
    Change("policy/service-type", lambda o: o["service"]["spec"].update(type="NodePort")),
    Change("policy/ingress-target", lambda o: o["ingress"]["spec"]["defaultBackend"]["service"].update(name="x")),
    Change(
        "policy/ingress-target",
        lambda o: o["ingress"]["spec"]["defaultBackend"]["service"].update(port={"number": 81}),
    ),
    Change("policy/ingress-tls", lambda o: o["ingress"]["spec"].pop("tls")),
    Change("policy/network-policy", lambda o: o.pop("policy")),
    Change(
        "policy/network-policy-target", lambda o: o["policy"]["spec"].update(podSelector={"matchLabels": {"a": "b"}})
    ),
    Change("policy/monitor-target", lambda o: o.update(monitor=monitor({"a": "b"}))),
    Change("policy/rbac-wildcard", lambda o: o.update(role=role(verbs=["*"]))),
    Change("policy/rbac-secrets", lambda o: o.update(role=role(resources=["secrets"]))),
    Change("policy/rbac-pods", lambda o: o.update(role=role(resources=["pods/exec"], verbs=["create"]))),
    Change("policy/rbac-pods", lambda o: o.update(role=role(resources=["pods/attach"], verbs=["get"]))),
    Change("policy/rbac-pods", lambda o: o.update(role=role(resources=["pods"], verbs=["create"]))),
    Change("policy/rbac-cluster-admin", lambda o: o.update(binding=BINDING)),
    Change("policy/account-missing", lambda o: pod(o).update(serviceAccountName="other")),
    Change("policy/job-ttl", lambda o: o.update(job=job())),
    Change("policy/job-ttl", lambda o: o.update(job=job(policy="before-hook-creation"))),
    Change("policy/standard-labels", lambda o: o["config"]["metadata"].pop("labels")),
    Change("policy/fixed-namespace", lambda o: o["config"]["metadata"].update(namespace="elsewhere")),
    Change("secret/in-configmap", lambda o: o["config"].update(data={"DB_PASSWORD": "hunter22"})),
    Change("secret/in-configmap", lambda o: web(o).update(env=[{"name": "API_TOKEN", "value": "s3cr3t-s3cr3t"}])),
    Change("secret/in-configmap", lambda o: o["config"].update(data={"url": "postgres://web:hunter22@db/web"})),
    Change("image/no-tag", lambda o: web(o).update(image="registry.example:5000/other")),
    Change("image/floating-tag", lambda o: web(o).update(image="other:latest")),
    Change("image/no-digest", lambda o: web(o).update(image="other:1.2.3")),
    Change("kubernetes/schema", lambda o: o["service"]["spec"].update(port=80)),
    Change("kubernetes/no-object", lambda o: o.update(odd={"apiVersion": "v1", "metadata": {"name": "odd"}})),
    Change("kubernetes/unknown-kind", lambda o: o["config"].update(kind="Configmap")),
    Change("kubernetes/duplicate-object", lambda o: o.update(second=o["config"])),
    Change("kubernetes/label", lambda o: o["config"]["metadata"]["labels"].update(tier="x" * 64)),
    Change("kubernetes/name", lambda o: o["config"]["metadata"].update(name="Web")),
    Change("api/removed", lambda o: o["budget"].update(apiVersion="policy/v1beta1")),
]


def found(bench: Bench, objects: Objects) -> list[Finding]:
    manifest = "\n".join(f"---\n# Source: web/templates/all.yaml\n{yaml.safe_dump(each)}" for each in objects.values())
    bench.charts = FakeCharts(manifest=manifest)
    project = bench.project
    linted = lint(project, project.environments, bench.charts, bench.reporter, Scope(thorough=False))
    return [each for each in linted.findings if each.rule != "values/no-schema-file"]


def test_good_objects_break_no_rule(bench: Bench) -> None:
    assert found(bench, good()) == []


@pytest.mark.parametrize("change", CHANGES, ids=[f"{n}-{each.rule}" for n, each in enumerate(CHANGES)])
def test_a_broken_rule_is_found_and_no_other(bench: Bench, change: Change) -> None:
    objects = good()
    change.do(objects)
    rules_found = {each.rule for each in found(bench, objects)}
    assert change.rule in rules_found
    assert rules_found <= {change.rule, *BESIDES.get(change.rule, ())}


def test_a_pod_whose_account_has_a_role_needs_its_token(bench: Bench) -> None:
    objects = good()
    pod(objects).update(automountServiceAccountToken=True)
    objects["binding"] = {**BINDING, "roleRef": {**BINDING["roleRef"], "kind": "Role", "name": "reader"}}
    assert found(bench, objects) == []


def test_a_job_that_helm_deletes_does_not_pile_up(bench: Bench) -> None:
    objects = good()
    objects["job"] = job(policy="before-hook-creation,hook-succeeded")
    assert found(bench, objects) == []


def test_a_role_that_allows_two_things_is_told_of_both(bench: Bench) -> None:
    objects = good()
    objects["role"] = role(resources=["secrets", "pods/exec"], verbs=["get"])
    assert {each.rule for each in found(bench, objects)} == {"policy/rbac-secrets", "policy/rbac-pods"}


# What can't be broken alone.
BESIDES = {
    "policy/no-ssh": {"policy/no-privileged-port"},
    "policy/two-replicas": {"policy/budget-blocks", "policy/disruption-budget"},
    "policy/budget-target": {"policy/disruption-budget"},
    "policy/network-policy-target": {"policy/network-policy"},
    "policy/no-added-capabilities": set(),
    "image/no-tag": set(),
    "policy/service-account-field": set(),
}


def test_every_rule_about_objects_is_among_them() -> None:
    layers = ("policy", "secret", "image", "kubernetes", "api")
    elsewhere = {"secret/in-values", "kubernetes/duplicate-key", "api/deprecated"}
    known = {each for each in rules.rules() if each.startswith(tuple(f"{layer}/" for layer in layers))}
    assert known - elsewhere == {each.rule for each in CHANGES}


def test_what_is_for_protected_environments_is_left_alone_elsewhere(bench: Bench) -> None:
    (bench.root / "values-prod.yaml").unlink()
    (bench.root / "releaser.yaml").write_text("release: web\nenvironments:\n  dev: {context: fake}\n")
    objects = good()
    objects["deployment"]["spec"]["replicas"] = 1
    objects.pop("policy")
    assert found(bench, objects) == []


def test_the_page_of_rules_is_made_from_the_table() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == rules.page(), "python -m releaser.lint.rules"


CHECKS = {
    "kube-linter": """
        run-as-non-root privileged-container privilege-escalation-container drop-net-raw-capability unsafe-sysctls
        unsafe-proc-mount no-read-only-root-fs host-ipc host-network host-pid docker-sock sensitive-host-mounts
        writable-host-mount ssh-port privileged-ports default-service-account non-existent-service-account
        deprecated-service-account-field access-to-secrets access-to-create-pods cluster-admin-role-binding
        wildcard-in-rules env-var-secret read-secret-from-env-var env-value-from duplicate-env-var latest-tag
        unset-cpu-requirements unset-memory-requirements no-liveness-probe no-readiness-probe liveness-port
        readiness-port startup-port minimum-three-replicas no-rolling-update-strategy hpa-minimum-three-replicas
        dangling-horizontalpodautoscaler pdb-max-unavailable pdb-min-available pdb-unhealthy-pod-eviction-policy
        no-anti-affinity no-node-affinity dangling-service dangling-ingress invalid-target-ports exposed-services
        non-isolated-pod dangling-networkpolicy dangling-networkpolicypeer-podselector mismatching-selector
        no-extensions-v1beta schema-validation required-label-owner required-annotation-email
        job-ttl-seconds-after-finished restart-policy use-namespace priority-class-name dnsconfig-options sorted-keys
        dangling-servicemonitor""",
    "kube-score": """
        container-security-context-user-group-id container-security-context-privileged container-seccomp-profile
        container-security-context-readonlyrootfilesystem environment-variable-key-duplication container-image-tag
        container-image-pull-policy container-resources container-ephemeral-storage-request-and-limit
        container-*-requests-equal-limits pod-probes pod-probes-identical deployment-replicas deployment-strategy
        horizontalpodautoscaler-has-target horizontalpodautoscaler-replicas
        deployment-targeted-by-hpa-does-not-have-replicas-configured deployment-has-poddisruptionbudget
        poddisruptionbudget-has-policy deployment-has-host-podantiaffinity pod-topology-spread-constraints
        service-targets-pod service-type ingress-targets-service pod-networkpolicy networkpolicy-targets-pod
        label-values stable-version deployment-pod-selector-labels-match-template-metadata-labels""",
    "polaris": """
        runAsRootAllowed runAsPrivileged privilegeEscalationAllowed dangerousCapabilities insecureCapabilities
        linuxHardening procMount notReadOnlyRootFilesystem hostIPCSet hostPIDSet hostNetworkSet hostPortSet hostPathSet
        hostProcess automountServiceAccountToken PodExecAttach ClusterAdmin sensitiveContainerEnvVar
        sensitiveConfigmapContent tagNotSpecified pullPolicyNotAlways cpuRequestsMissing memoryRequestsMissing
        cpuLimitsMissing memoryLimitsMissing livenessProbeMissing readinessProbeMissing deploymentMissingReplicas
        hpaMaxAvailability hpaMinAvailability missingPodDisruptionBudget pdbDisruptionsIsZero
        pdbMinAvailableGreaterThanHPAMinReplicas topologySpreadConstraint tlsSettingsMissing missingNetworkPolicy
        metadataAndInstanceMismatched priorityClassNotSet""",
}


@pytest.mark.parametrize("tool", CHECKS)
def test_every_check_of_the_others_has_a_rule_or_a_reason_to_be_left_out(tool: str) -> None:
    """Their checks are those of stackrox/kube-linter@35de568, zegl/kube-score@06dedc9, FairwindsOps/polaris@c0e23a2."""
    stood_for = {
        check for each in rules.rules().values() for check in re.split(r",\s*", each.sources.get(tool, "")) if check
    }
    left_out = {word.strip(",;") for each in rules.left_out() for word in each["check"].split()}
    wanted = set(CHECKS[tool].split())
    assert wanted - stood_for - left_out == set()
    assert stood_for - wanted == set()


def test_every_rule_says_why_and_what_to_do() -> None:
    assert [each.id for each in rules.rules().values() if not (each.says and each.why and each.fix)] == []
