"""why, on the project's own chart with the real helm: the values and the lines that a field comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from releaser.adapters.helm import Helm
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools
from releaser.deciding import Effect
from releaser.errors import InvalidInput
from releaser.flows.ports import Drafts
from releaser.flows.target import Target
from releaser.flows.why import why
from releaser.located import load_mapping
from releaser.manifests import documents
from releaser.models import Source, Values
from releaser.objects import Mark, at
from releaser.origin import Origin, Why, writers
from releaser.settings import load_project
from releaser.values import merge
from tests.chart.helm import CHART, RELEASE, ROOT
from tests.fakes import (
    FakeCluster,
    FakeHelm,
    FakeIncidents,
    FakeLeases,
    FakeLive,
    FakeProber,
    Recorder,
    World,
)

TAG = "1.0.0-abcdef012345"
SECRET = "hunter2-hunter2-hunter2"


Hands = Callable[[FakeLive], None]


class ChartHelm(FakeHelm):
    """FakeHelm, whose manifests are those of the real chart."""

    def __init__(self, world: World, drafts: Drafts) -> None:
        super().__init__(world)
        self._drafts = drafts

    def upgrade(self, release: str, namespace: str, chart: Path, values: Values, labels: Mapping[str, str]) -> int:
        number = super().upgrade(release, namespace, chart, values, labels)
        self._world.apply(release, namespace, self.manifest(release, namespace, number))
        return number

    def manifest(self, release: str, namespace: str, number: int) -> str:
        return self.render(release, namespace, CHART, self.values(release, namespace, number))

    def render(self, release: str, namespace: str, chart: Path, values: Values) -> str:
        return self._drafts.draft(release, namespace, chart, values, {})


@dataclass
class Scene:
    drafts: Drafts

    def ask(
        self, environment: str, object_name: str, field: str, hands: Hands = lambda live: None, **more: object
    ) -> Why:
        """Of a release of the environment as it stands, with `more` values laid over; `hands` then change it live."""
        project, world = load_project(ROOT), World()
        helm = ChartHelm(world, self.drafts)
        target = Target(
            release=RELEASE,
            environment=project.environment(environment),
            source=Source("ann", "laptop", "c0ffee" * 6 + "c0ff", False),
            helm=helm,
            cluster=FakeCluster(world),
            live=FakeLive(world),
            leases=FakeLeases(),
            prober=FakeProber(world),
            incidents=FakeIncidents(),
            reporter=Recorder(),
        )
        values = merge(load_mapping(target.environment.values_file).data, {"image": IMAGE, **more})
        labels = {"releaser/image-repository": RELEASE, "releaser/image-tag": TAG}
        helm.upgrade(RELEASE, target.namespace, CHART, values, labels)
        hands(FakeLive(world))
        return why(project, target, self.drafts, object_name, field)


IMAGE = {"repository": RELEASE, "tag": TAG, "digest": ""}


@pytest.fixture(scope="session")
def scene() -> Scene:
    process = Process(Recorder())
    return Scene(Helm(process, Tools(process)))


# -- where things stand, found by reading the files --------------------------------------------------------------------

DEFAULTS, DEV, PROD = "charts/flask-hello/values.yaml", "values-dev.yaml", "values-prod.yaml"


def key_place(file: str, dotted: str) -> str:
    """file:line of a key, found by its indentation."""
    wanted, depth = dotted.split("."), 0
    for number, line in enumerate((ROOT / file).read_text().splitlines(), 1):
        if line.startswith(f"{'  ' * depth}{wanted[depth]}:"):
            depth += 1
            if depth == len(wanted):
                return f"{file}:{number}"
    raise AssertionError(f"{file} has no {dotted}")


def line_place(file: str, text: str) -> str:
    """file:line of the only line that has the text."""
    path = CHART / "templates" / file
    [number] = [number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line]
    return f"charts/flask-hello/templates/{file}:{number}"


Given = tuple[str, str, Effect]
Line = tuple[str, str]

CASES: list[tuple[str, str, str, list[Given], list[Line]]] = [
    (
        "dev",
        "service",
        "ports[0].nodePort",
        [("service.nodePort", DEV, Effect.VALUE)],
        [("service.yaml", "nodePort: {{ . }}")],
    ),
    (
        "dev",
        "svc",
        "spec.type",
        [("service.type", DEV, Effect.VALUE)],
        [("service.yaml", "type: {{ .Values.service.type }}")],
    ),
    (
        "dev",
        "service",
        "spec.ports[http].port",
        [("service.port", DEFAULTS, Effect.VALUE)],
        [("service.yaml", "      port: {{")],
    ),
    ("dev", "service", "targetPort", [], [("service.yaml", "targetPort: http")]),
    (
        "dev",
        "service",
        'metadata.labels["app.kubernetes.io/name"]',
        [],
        [
            ("service.yaml", 'include "flask-hello.labels"'),
            ("_helpers.tpl", '{{ include "flask-hello.selectorLabels" . }}'),
            ("_helpers.tpl", 'include "flask-hello.identity" (list . "server")'),
            ("_helpers.tpl", "app.kubernetes.io/name: {{"),
        ],
    ),
    (
        "dev",
        "configmap",
        "GREETING",
        [("app.greeting", DEFAULTS, Effect.VALUE)],
        [("configmap.yaml", 'include "flask-hello.config" . | nindent'), ("_config.tpl", "APP_GREETING:")],
    ),
    (
        "dev",
        "configmap",
        "data.APP_LOG_LEVEL",
        [("app.logLevel", DEV, Effect.VALUE)],
        [("configmap.yaml", 'include "flask-hello.config" . | nindent'), ("_config.tpl", "APP_LOG_LEVEL:")],
    ),
    (
        "dev",
        "deployment/flask-hello",
        "spec.replicas",
        [("replicaCount", DEFAULTS, Effect.VALUE), ("autoscaling.enabled", DEFAULTS, Effect.SWITCH)],
        [("deployment.yaml", "  replicas: {{")],
    ),
    (
        "dev",
        "deployment",
        "terminationGracePeriodSeconds",
        [("rollout.terminationGracePeriodSeconds", DEV, Effect.VALUE)],
        [("deployment.yaml", "terminationGracePeriodSeconds: {{")],
    ),
    (
        "dev",
        "deployment",
        "limits.cpu",
        [("resources.limits.cpu", DEFAULTS, Effect.VALUE)],
        [("deployment.yaml", "toYaml .Values.resources")],
    ),
    (
        "dev",
        "deployment",
        "readinessProbe.failureThreshold",
        [("probes.readiness.failureThreshold", DEFAULTS, Effect.VALUE)],
        [("deployment.yaml", "toYaml .Values.probes.readiness")],
    ),
    (
        "dev",
        "deployment",
        "runAsUser",
        [],
        [("deployment.yaml", 'include "flask-hello.podSecurityContext"'), ("_helpers.tpl", "runAsUser: 10001")],
    ),
    (
        "dev",
        "deployment",
        "matchLabelKeys[0]",
        [("topologySpread.enabled", DEFAULTS, Effect.SWITCH)],
        [("deployment.yaml", "- pod-template-hash")],
    ),
    ("dev", "deployment", "apiVersion", [], [("deployment.yaml", "apiVersion: apps/v1")]),
    (
        "prod",
        "hpa",
        "minReplicas",
        [("autoscaling.minReplicas", DEFAULTS, Effect.VALUE), ("autoscaling.enabled", PROD, Effect.SWITCH)],
        [("hpa.yaml", "minReplicas: {{")],
    ),
    (
        "prod",
        "horizontalpodautoscaler",
        "averageUtilization",
        [
            ("autoscaling.targetCPUUtilizationPercentage", DEFAULTS, Effect.VALUE),
            ("autoscaling.enabled", PROD, Effect.SWITCH),
        ],
        [("hpa.yaml", "averageUtilization: {{")],
    ),
    (
        "prod",
        "pdb",
        "maxUnavailable",
        [
            ("podDisruptionBudget.maxUnavailable", DEFAULTS, Effect.VALUE),
            ("autoscaling.minReplicas", DEFAULTS, Effect.SWITCH),
            ("podDisruptionBudget.enabled", DEFAULTS, Effect.SWITCH),
        ],
        [("pdb.yaml", "maxUnavailable: {{")],
    ),
    (
        "dev",
        "networkpolicy",
        "ingress[0].ports[0].port",
        [("networkPolicy.enabled", DEFAULTS, Effect.SWITCH)],
        [("networkpolicy.yaml", "- port: http")],
    ),
    (
        "dev",
        "serviceaccount",
        "automountServiceAccountToken",
        [("serviceAccount.create", DEFAULTS, Effect.SWITCH)],
        [("serviceaccount.yaml", "automountServiceAccountToken: false")],
    ),
    (
        "dev",
        "serviceaccount",
        "metadata.name",
        [("serviceAccount.name", DEFAULTS, Effect.VALUE), ("serviceAccount.create", DEFAULTS, Effect.SWITCH)],
        [
            ("serviceaccount.yaml", 'include "flask-hello.serviceAccountName"'),
            ("_helpers.tpl", '.Values.serviceAccount.name | default (include "flask-hello.fullname"'),
        ],
    ),
]


@pytest.mark.parametrize(
    ("environment", "object_name", "field", "values", "lines"), CASES, ids=[f"{case[1]} {case[2]}" for case in CASES]
)
def test_a_field_is_traced_to_its_values_and_its_line(
    scene: Scene, environment: str, object_name: str, field: str, values: list[Given], lines: list[Line]
) -> None:
    found = scene.ask(environment, object_name, field)
    told = [(each.address, each.place, each.effect) for each in found.values]
    assert told == [(dotted, key_place(file, dotted), effect) for dotted, file, effect in values]
    assert [each.place for each in found.written_by] == [line_place(*line) for line in lines]
    assert (found.origin, found.undeployed, found.note) == (Origin.RELEASE, False, "")


def test_the_image_is_releasers_own(scene: Scene) -> None:
    found = scene.ask("dev", "deploy", "image")
    assert found.live == f"{RELEASE}:{TAG}"
    assert [(each.address, each.effect, each.place) for each in found.values] == [
        ("image.repository", Effect.PART, ""),
        ("image.tag", Effect.PART, ""),
        ("image.digest", Effect.INPUT, ""),
    ]
    assert [each.place for each in found.written_by] == [
        line_place("deployment.yaml", "image: {{"),
        line_place("_helpers.tpl", ":{{ .Values.image.tag | default .Chart.AppVersion }}"),
    ]


def test_a_checksum_is_decided_by_every_setting(scene: Scene) -> None:
    found = scene.ask("dev", "deployment", "checksum/config")
    settings = (CHART / "templates" / "_config.tpl").read_text().count(".Values.")
    assert (len(found.values), found.more_values) == (5, settings - 5)
    assert {each.effect for each in found.values} == {Effect.INPUT}
    assert [each.place for each in found.written_by] == [line_place("deployment.yaml", "checksum/config: {{")]


def autoscaler(live: FakeLive) -> None:
    live.edit("deployment/flask-hello", lambda body: body["spec"].update(replicas=4), "kube-controller-manager")


def test_the_switch_is_named_by_which_a_field_is_left_to_somebody_else(scene: Scene) -> None:
    found = scene.ask("prod", "deployment", "replicas", autoscaler)
    assert (found.origin, found.live, found.released) == (Origin.FOREIGN, 4, Mark.ABSENT)
    assert [owner.manager for owner in found.owners] == ["kube-controller-manager"]
    assert [(each.address, each.effect) for each in found.values] == [("autoscaling.enabled", Effect.SWITCH)]
    assert (found.written_by, found.since, found.undeployed) == ((), None, False)


def test_what_the_working_tree_would_change_is_told(scene: Scene) -> None:
    found = scene.ask("prod", "configmap", "GREETING", app={"greeting": "Hello from before", "logLevel": "info"})
    assert (found.live, found.origin) == ("Hello from before", Origin.RELEASE)
    assert (found.undeployed, found.working_tree) == (True, "Hello from production")
    assert [each.place for each in found.values] == [key_place(PROD, "app.greeting")]


def test_a_secrets_key_is_told_and_never_shown(scene: Scene) -> None:
    found = scene.ask("dev", "secret", "APP_SECRET_KEY", secret={"secretKey": SECRET})
    assert (found.live, found.released, found.working_tree) == (Mark.HIDDEN,) * 3
    assert [each.address for each in found.values] == ["secret.secretKey", "secret.create"]
    assert [each.place for each in found.written_by] == [line_place("secret.yaml", "APP_SECRET_KEY: {{ .Values")]
    assert SECRET not in repr(found)


def test_a_draft_that_does_not_render_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidInput, match="refused"):
        scene.drafts.draft(RELEASE, "x", CHART, {}, {"templates/service.yaml": "{{ nothing"})


# -- lines that are hard to tell ---------------------------------------------------------------------------------------

TRICKY = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  {{- range $key, $value := .Values.many }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
  block: |
    {{ .Values.text }}
    # second
  quoted: "a
    {{ .Values.text }} b"
  {{- if .Values.on }}
  inner: {{ .Values.text }}
  {{- else }}
  inner: other
  {{- end }}
  joined: {{ .Values.text -}}
  {{ "\\n" }}
  after: end
  numbers: {{ list
    1
    2 | join "," | quote }}
"""


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("metadata.name", "name: {{ .Release"),
        ("data.a", "{{ $key }}: {{"),
        ("data.b", "{{ $key }}: {{"),
        ("data.block", "block: |"),
        ("data.quoted", 'quoted: "a'),
        ("data.inner", "inner: {{"),
        ("data.joined", ""),
        ("data.after", "after: end"),
        ("data.numbers", "2 | join"),
    ],
)
def test_a_line_is_right_or_not_told(scene: Scene, tmp_path: Path, address: str, line: str) -> None:
    chart = tmp_path / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (chart / "templates" / "web.yaml").write_text(TRICKY)
    values: Values = {"many": {"a": "1", "b": "2"}, "text": "hello", "on": True}
    files = {"templates/web.yaml": TRICKY}

    def draft(values: Values, edited: Mapping[str, str]) -> str:
        return scene.drafts.draft("r", "x", chart, values, edited)

    [document] = documents(draft(values, {}), "x")
    assert at(document.object.body, address) is not Mark.ABSENT
    found = [TRICKY.splitlines()[each.line - 1] for each in writers(document, address, files, values, draft)]
    assert [each for each in found if line not in each] == []
    assert bool(found) is bool(line)
