"""What runs: pod templates of the Deployment and of `helm test`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from app import check
from tests.chart.conftest import CHART, CI_VALUES, Render
from tests.chart.helm import Object
from tests.chart.pod_security import violations


def template(render: Render, **given: object) -> Object:
    return dict(render(**given).one("Deployment")["spec"]["template"])


def web(render: Render, **given: object) -> Object:
    return dict(template(render, **given)["spec"]["containers"][0])


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_every_pod_meets_pod_security_restricted(render: Render, values: Path) -> None:
    rendered = render(values)
    assert len(rendered.pod_specs) == len(rendered.of("Pod")) + len(rendered.of("Job")) + 1
    for spec in rendered.pod_specs:
        assert list(violations(spec)) == []
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False


def test_pod_security_check_finds_what_it_should() -> None:
    bare = {"containers": [{"name": "c"}]}
    assert len(list(violations(bare))) == 4
    worse = bare | {"hostPID": True, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}
    assert len(list(violations(worse))) == 6


def test_a_pod_carries_exactly_the_labels_that_select_it(render: Render) -> None:
    spec = render().one("Deployment")["spec"]
    assert spec["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"]


def test_a_new_chart_version_alone_makes_no_new_pods(render: Render, tmp_path: Path) -> None:
    newer = tmp_path / CHART.name
    shutil.copytree(CHART, newer)
    chart_yaml = newer / "Chart.yaml"
    chart_yaml.write_text(re.sub(r"(?m)^version: .*$", "version: 9.9.9", chart_yaml.read_text()))
    rendered = render(chart=newer)
    assert rendered.one("Deployment")["metadata"]["labels"]["helm.sh/chart"] == "flask-hello-9.9.9"
    assert rendered.one("Deployment")["spec"]["template"] == template(render)


def test_liveness_asks_the_process_and_readiness_asks_the_service(render: Render) -> None:
    container = web(render)
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "http"},
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    assert [p["containerPort"] for p in container["ports"] if p["name"] == "http"] == [8080]


@pytest.mark.parametrize("probe", ["startup", "liveness", "readiness"])
@pytest.mark.parametrize("field", ["periodSeconds", "failureThreshold", "timeoutSeconds"])
def test_probes_are_tuned_by_values(render: Render, probe: str, field: str) -> None:
    assert web(render, sets={f"probes.{probe}.{field}": 47})[f"{probe}Probe"][field] == 47


def test_rollout_is_tuned_by_values(render: Render) -> None:
    sets = {
        "rollout.maxSurge": "50%",
        "rollout.maxUnavailable": "25%",
        "rollout.minReadySeconds": 7,
        "rollout.progressDeadlineSeconds": 77,
        "rollout.revisionHistoryLimit": 2,
        "rollout.preStopSleepSeconds": 11,
        "rollout.terminationGracePeriodSeconds": 88,
    }
    spec = render(sets=sets).one("Deployment")["spec"]
    pod = spec["template"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "50%", "maxUnavailable": "25%"}
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (7, 77, 2)
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 11}}}
    assert pod["terminationGracePeriodSeconds"] == 88


def test_the_service_learns_where_it_runs_and_what_it_signs_with(render: Render) -> None:
    container = web(render)
    assert container["envFrom"] == [{"configMapRef": {"name": render().settings["metadata"]["name"]}}]
    assert {e["name"]: e.get("valueFrom") or e["value"] for e in container["env"]} == {
        "APP_SECRET_KEY": {"secretKeyRef": {"name": "flask-hello", "key": "APP_SECRET_KEY"}},
        "APP_REVISION": yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"],
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "NODE_NAME": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        "POD_TEMPLATE_HASH": {"fieldRef": {"fieldPath": "metadata.labels['pod-template-hash']"}},
    }


@pytest.mark.parametrize(
    ("sets", "revision"),
    [
        ({"image.tag": "1.0.0-e00ff70efc53"}, "1.0.0-e00ff70efc53"),
        ({"image.tag": "1.0.0-e00ff70efc53", "image.digest": f"sha256:{64 * 'a'}"}, f"sha256:{64 * 'a'}"),
    ],
)
def test_the_service_tells_the_image_that_runs_which_is_no_setting(
    render: Render, sets: dict[str, str], revision: str
) -> None:
    rendered = render(sets=sets)
    [container] = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"name": "APP_REVISION", "value": revision} in container["env"]
    assert container["image"].endswith(revision)
    assert rendered.settings["metadata"]["name"] == render().settings["metadata"]["name"]


def test_settings_reach_the_service(render: Render) -> None:
    sets = {
        "environment": "lab",
        "app.greeting": 'Grüß "Gott": {{ x }} #1',
        "app.logLevel": "warning",
        "gunicorn.workers": 3,
        "gunicorn.threads": 5,
        "gunicorn.gracefulTimeoutSeconds": 6,
        "gunicorn.timeoutSeconds": 7,
        "gunicorn.keepAliveSeconds": 8,
    }
    data = render(sets=sets).settings["data"]
    assert {name: value for name, value in data.items() if not name.startswith("FAULT_")} == {
        "APP_ENVIRONMENT": "lab",
        "APP_GREETING": 'Grüß "Gott": {{ x }} #1',
        "APP_LOG_LEVEL": "warning",
        "WEB_PORT": "8080",
        "WEB_WORKERS": "3",
        "WEB_THREADS": "5",
        "WEB_GRACEFUL_TIMEOUT_SECONDS": "6",
        "WEB_TIMEOUT_SECONDS": "7",
        "WEB_KEEP_ALIVE_SECONDS": "8",
    }


def test_only_tmp_is_writable(render: Render) -> None:
    pod = template(render)["spec"]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert [v["name"] for v in pod["volumes"]] == ["tmp"]
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"]


def test_placement_and_annotations_come_from_values(render: Render) -> None:
    rendered = render(CHART / "ci" / "full-values.yaml")
    deployment = rendered.one("Deployment")["spec"]["template"]
    assert deployment["spec"]["priorityClassName"] == "system-cluster-critical"
    assert deployment["metadata"]["annotations"]["example/note"] == "kept"
    assert "nodeAffinity" in deployment["spec"]["affinity"]
    for spec in rendered.pod_specs:
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert spec["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
        assert spec["imagePullSecrets"] == [{"name": "registry-credentials"}]
    for spec in (deployment["spec"], *(pod["spec"] for pod in rendered.of("Pod"))):
        assert spec["serviceAccountName"] == "existing"


def test_the_pull_policy_and_the_name_of_the_image_are_the_same_in_every_pod(render: Render) -> None:
    sets = {"image.pullPolicy": "Always", "image.repository": "here/it", "preflight.enabled": True}
    specs = render(sets=sets).pod_specs
    assert len(specs) == 3
    for container in (each for spec in specs for each in spec["containers"]):
        assert (container["imagePullPolicy"], container["image"]) == ("Always", "here/it:1.0.0")


def test_a_pod_has_no_priority_class_unless_one_is_named(render: Render) -> None:
    assert "priorityClassName" not in template(render)["spec"]


def test_the_cpu_limit_can_be_taken_off(render: Render) -> None:
    assert "cpu" not in web(render, sets={"resources.limits.cpu": None})["resources"]["limits"]


def test_spread_can_be_switched_off(render: Render) -> None:
    assert "topologySpreadConstraints" in template(render)["spec"]
    assert "topologySpreadConstraints" not in template(render, sets={"topologySpread.enabled": False})["spec"]


def test_helm_test_asks_the_service_for_what_stands_in_the_values(render: Render) -> None:
    rendered = render(sets={"environment": "lab", "service.port": 8000, "replicaCount": 4}, release="hello")
    [container] = rendered.one("Pod")["spec"]["containers"]
    assert container["command"] == [
        *("python", "-m", "app.check", "http://hello-flask-hello:8000"),
        *("--expect-environment", "lab", "--expect-greeting", "$(APP_GREETING)", "--expect-pods", "4"),
    ]
    assert container["envFrom"] == [{"configMapRef": {"name": rendered.settings["metadata"]["name"]}}]
    assert "APP_GREETING" in rendered.settings["data"]
    assert rendered.one("Service")["metadata"]["name"] == "hello-flask-hello"
    assert rendered.one("Service")["spec"]["ports"][0]["port"] == 8000


def test_the_pod_of_helm_test_ends_and_is_kept_for_its_log(render: Render) -> None:
    test = render().one("Pod")
    assert test["spec"]["restartPolicy"] == "Never"
    assert test["spec"]["activeDeadlineSeconds"] < 300
    assert test["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }


def test_the_options_of_helm_test_are_options_of_the_check(render: Render) -> None:
    [container] = render().one("Pod")["spec"]["containers"]
    _python, _m, module, *arguments = container["command"]
    assert module == "app.check"
    with pytest.raises(SystemExit) as ended:
        check.main([*arguments, "--help"])
    assert ended.value.code == 0


def test_helm_test_wants_an_answer_from_as_many_pods_as_the_autoscaler_keeps(render: Render) -> None:
    sets = {"autoscaling.enabled": True, "autoscaling.minReplicas": 3}
    assert render(sets=sets).one("Pod")["spec"]["containers"][0]["command"][-1] == "3"


def test_helm_test_can_be_switched_off(render: Render) -> None:
    assert render(sets={"tests.enabled": False}).of("Pod") == []


def test_names_that_look_like_numbers_stay_names(render: Render) -> None:
    sets = {
        "image.pullSecrets": ["123"],
        "serviceAccount.name": "1e3",
        "priorityClassName": "0x10",
        "preflight.enabled": True,
        "metrics.dashboard": {"enabled": True, "label": "1"},
        "ingress": {"enabled": True, "hosts": ["1.2"], "className": "4"},
        "networkPolicy.enabled": False,
    }
    rendered = render(sets=sets | {"secret.create": False, "secret.existingSecret": "5"})
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "1e3"
    assert rendered.one("Ingress")["spec"]["ingressClassName"] == "4"
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["priorityClassName"] == "0x10"
    assert any("1" in each["metadata"]["labels"] for each in rendered.of("ConfigMap"))
    for spec in rendered.pod_specs:
        assert spec["imagePullSecrets"] == [{"name": "123"}]
        assert spec.get("serviceAccountName", "1e3") == "1e3"
        for variable in spec["containers"][0].get("env", []):
            assert variable.get("valueFrom", {}).get("secretKeyRef", {"name": "5"})["name"] == "5"
