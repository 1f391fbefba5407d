"""Releases that are broken by real means, each with the cause that releaser has to name. Also for bench/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from textwrap import dedent

from kubernetes import client

from tests.cluster.site import Site

_DEPLOYMENT = "charts/flask-hello/templates/deployment.yaml"
_SERVICE = "charts/flask-hello/templates/service.yaml"
_TEST = "charts/flask-hello/templates/tests/check.yaml"
_IMAGE = 'image: {{ include "flask-hello.image" . | quote }}'
# It isn't complete before it fails.
_READY_FOR_LONG = {"minReadySeconds": 20, "progressDeadlineSeconds": 90}


class Meanwhile(Enum):
    """What users get while the broken release is judged."""

    OLD = "only the old revision answers, every request"
    EITHER = "the old or the new revision answers, every request"
    LOSSES = "requests fail: it is what is broken"


@dataclass(frozen=True)
class Broken:
    """A release that must fail. `make` breaks the site's project or namespace after a good release."""

    name: str
    cause: str
    make: Callable[[Site], None]
    meanwhile: Meanwhile = Meanwhile.OLD

    def __str__(self) -> str:
        return self.name


# -- image -------------------------------------------------------------------------------------------------------------


def image_of_no_registry(site: Site) -> None:
    site.edit(_DEPLOYMENT, _IMAGE, 'image: "registry.invalid/flask-hello:1"')


def image_never_loaded(site: Site) -> None:
    site.edit(_DEPLOYMENT, _IMAGE, 'image: "flask-hello:never-built"')
    site.values("dev", image={"pullPolicy": "Never"})


def image_with_a_wrong_name(site: Site) -> None:
    site.edit(_DEPLOYMENT, _IMAGE, 'image: "Flask Hello"')


def image_of_an_older_build(site: Site) -> None:
    """The chart names the image itself: releaser builds another one, but the old one runs, and runs well."""
    site.edit(_DEPLOYMENT, _IMAGE, f'image: "{site.history()[0]["image"]}"')
    site.write("app/newer.py", '"""Makes the image another one."""\n')


# -- the process -------------------------------------------------------------------------------------------------------


def crash_at_start(site: Site) -> None:
    site.values("dev", faults={"crashAtStart": True})


def crash_after_a_while(site: Site) -> None:
    """It gets ready, and requests; when it crashes, those are lost that it has in hand."""
    site.values("dev", faults={"crashAfterSeconds": 6}, rollout=_READY_FOR_LONG)


def memory_leak(site: Site) -> None:
    # never ready, here and below, so that it gets no requests that it could lose
    faults = {"memoryGrowthBytesPerSecond": 64 << 20, "neverReady": True}
    site.values("dev", faults=faults, rollout=_READY_FOR_LONG)


def readiness_never_comes(site: Site) -> None:
    site.values("dev", faults={"neverReady": True}, rollout={"progressDeadlineSeconds": 15})


def liveness_probe_asks_the_wrong_path(site: Site) -> None:
    probe = "livenessProbe:\n            httpGet:\n              path: "
    site.edit(_DEPLOYMENT, f"{probe}/livez", f"{probe}/nowhere")
    site.values(
        "dev",
        faults={"neverReady": True},
        probes={"liveness": {"periodSeconds": 1, "failureThreshold": 1}},
        rollout=_READY_FOR_LONG,
    )


# -- the scheduler -----------------------------------------------------------------------------------------------------


def more_cpu_than_any_node_has(site: Site) -> None:
    site.values("dev", resources={"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}})


def more_memory_than_any_node_has(site: Site) -> None:
    site.values("dev", resources={"requests": {"memory": "4Ti"}, "limits": {"memory": "4Ti"}})


def no_node_has_the_label(site: Site) -> None:
    site.values("dev", nodeSelector={"disk": "nowhere"})


# -- configuration -----------------------------------------------------------------------------------------------------


def secret_without_the_key(site: Site) -> None:
    metadata = client.V1ObjectMeta(name="own")
    site.core.create_namespaced_secret(site.namespace, client.V1Secret(metadata=metadata, string_data={"other": "x"}))
    site.values("dev", secret={"create": False, "existingSecret": "own"})


def secret_that_is_not_there(site: Site) -> None:
    site.values("dev", secret={"create": False, "existingSecret": "absent"})


def config_map_that_is_not_there(site: Site) -> None:
    reference = 'configMapRef:\n                name: {{ include "flask-hello.configName" . }}'
    site.edit(_DEPLOYMENT, reference, "configMapRef:\n                name: absent")


# -- admission ---------------------------------------------------------------------------------------------------------


def quota_without_room_for_a_surge(site: Site) -> None:
    """Two pods of 128 MiB run; the test's 32 MiB still fit, a third server does not."""
    quota = client.V1ResourceQuota(
        metadata=client.V1ObjectMeta(name="tight"), spec=client.V1ResourceQuotaSpec(hard={"requests.memory": "320Mi"})
    )
    site.core.create_namespaced_resource_quota(site.namespace, quota)


def container_that_may_escalate(site: Site) -> None:
    """The namespace enforces the restricted Pod Security Standard."""
    context = '{{- include "flask-hello.containerSecurityContext" . | nindent 12 }}'
    site.edit(_DEPLOYMENT, context, "allowPrivilegeEscalation: true")


def limit_range_below_the_limit(site: Site) -> None:
    item = client.V1LimitRangeItem(type="Container", max={"memory": "200Mi"})
    limits = client.V1LimitRange(
        metadata=client.V1ObjectMeta(name="small"), spec=client.V1LimitRangeSpec(limits=[item])
    )
    site.core.create_namespaced_limit_range(site.namespace, limits)


# -- the API server ----------------------------------------------------------------------------------------------------


def node_port_in_the_template_is_taken(site: Site) -> None:
    """In the template itself, where no look at the values sees it."""
    port = client.V1ServicePort(port=80)
    squatter = client.V1Service(
        metadata=client.V1ObjectMeta(name="squatter"), spec=client.V1ServiceSpec(type="NodePort", ports=[port])
    )
    taken = site.core.create_namespaced_service(site.namespaces["prod"], squatter).spec.ports[0].node_port
    site.edit(_SERVICE, "nodePort: {{ . }}", f"nodePort: {taken}")


def selector_is_another(site: Site) -> None:
    for label in ("selector:\n    matchLabels:", "template:\n    metadata:\n      labels:"):
        indent = " " * (6 if label.startswith("selector") else 8)
        site.edit(_DEPLOYMENT, label, f"{label}\n{indent}track: other")


# -- hooks and tests ---------------------------------------------------------------------------------------------------


def hook_ends_with_an_error(site: Site) -> None:
    site.write(
        "charts/flask-hello/templates/migrate.yaml",
        dedent("""\
            apiVersion: batch/v1
            kind: Job
            metadata:
              name: migrate
              annotations:
                helm.sh/hook: pre-upgrade
            spec:
              backoffLimit: 0
              template:
                spec:
                  restartPolicy: Never
                  automountServiceAccountToken: false
                  securityContext:
                    {{- include "flask-hello.podSecurityContext" . | nindent 8 }}
                  containers:
                    - name: migrate
                      image: {{ include "flask-hello.image" . | quote }}
                      command: [python, -c, "raise SystemExit('no such table: visits')"]
                      securityContext:
                        {{- include "flask-hello.containerSecurityContext" . | nindent 12 }}
            """),
    )


def helm_test_expects_something_else(site: Site) -> None:
    site.edit(_TEST, "- {{ .Values.environment | quote }}", "- elsewhere")


def half_of_the_answers_are_errors(site: Site) -> None:
    """The service's own tests are off: only who counts the answers can see it."""
    site.settings("dev", probe={"failureBudget": 0})
    site.values("dev", faults={"errorRate": 0.5}, tests={"enabled": False})


# -- time --------------------------------------------------------------------------------------------------------------


def slower_than_the_deadline(site: Site) -> None:
    """It makes progress, and may for its own 90 seconds; the environment gives 25 to everything."""
    site.values("dev", faults={"neverReady": True}, rollout={"progressDeadlineSeconds": 90})
    site.settings("dev", deadlineSeconds=25)


BROKEN = (
    Broken("image of no registry", "image missing", image_of_no_registry),
    Broken("image never loaded", "image missing", image_never_loaded),
    Broken("image with a wrong name", "image missing", image_with_a_wrong_name),
    Broken("image of an older build", "image wrong digest", image_of_an_older_build, Meanwhile.EITHER),
    Broken("crash at start", "crash at start", crash_at_start),
    Broken("crash after a while", "crash loop", crash_after_a_while, Meanwhile.LOSSES),
    Broken("memory leak", "out of memory", memory_leak),
    Broken("readiness never comes", "never ready", readiness_never_comes),
    Broken("liveness probe asks the wrong path", "liveness kill", liveness_probe_asks_the_wrong_path),
    Broken("more CPU than any node has", "unschedulable: cpu", more_cpu_than_any_node_has),
    Broken("more memory than any node has", "unschedulable: memory", more_memory_than_any_node_has),
    Broken("no node has the label", "unschedulable: affinity", no_node_has_the_label),
    Broken("Secret without the key", "missing Secret or ConfigMap key", secret_without_the_key),
    Broken("Secret that is not there", "missing Secret or ConfigMap key", secret_that_is_not_there),
    Broken("ConfigMap that is not there", "missing Secret or ConfigMap key", config_map_that_is_not_there),
    Broken("quota without room for a surge", "quota exceeded", quota_without_room_for_a_surge),
    Broken("container that may escalate", "forbidden by admission", container_that_may_escalate),
    Broken("limit range below the limit", "forbidden by admission", limit_range_below_the_limit),
    Broken("NodePort in the template is taken", "port taken", node_port_in_the_template_is_taken, Meanwhile.EITHER),
    Broken("selector is another", "immutable field", selector_is_another),
    Broken("hook ends with an error", "hook failed", hook_ends_with_an_error),
    Broken("test expects something else", "test failed", helm_test_expects_something_else, Meanwhile.EITHER),
    Broken("half of the answers are errors", "requests lost", half_of_the_answers_are_errors, Meanwhile.LOSSES),
    Broken("slower than the deadline", "timeout", slower_than_the_deadline),
)


def named(name: str) -> Broken:
    """Raises KeyError that names the known ones."""
    by_name = {broken.name: broken for broken in BROKEN}
    if name not in by_name:
        raise KeyError(f"no broken release {name!r}; known: {', '.join(by_name)}")
    return by_name[name]


def greeting(site: Site, text: str) -> None:
    """What the next release answers, so that one can tell which revision serves."""
    site.values("dev", app={"greeting": text})
