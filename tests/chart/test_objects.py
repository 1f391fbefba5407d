from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import app
from tests.chart.conftest import CHART, CI_VALUES, ROOT, Render

DEV, PROD = ROOT / "values-dev.yaml", ROOT / "values-prod.yaml"
EVERY_VALUES = [None, DEV, PROD, *CI_VALUES]


def name_of(path: Path | None) -> str:
    return path.name if path else "defaults"


every_values = pytest.mark.parametrize("values", EVERY_VALUES, ids=name_of)


def test_the_defaults_make_these_objects(render: Render) -> None:
    kinds = sorted(each["kind"] for each in render().objects)
    assert kinds == [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
    ]


def test_the_app_version_is_the_services_own() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == app.__version__


def test_dev_answers_on_node_port_31181_with_two_pods(render: Render) -> None:
    objects = render(values=DEV)
    [port] = objects.one("Service")["spec"]["ports"]
    assert (objects.one("Service")["spec"]["type"], port["nodePort"]) == ("NodePort", 31181)
    assert objects.one("Deployment")["spec"]["replicas"] == 2


def test_prod_scales_by_hpa_and_leaves_the_number_of_pods_to_it(render: Render) -> None:
    objects = render(values=PROD)
    assert "replicas" not in objects.one("Deployment")["spec"]
    assert objects.one("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert objects.one("Service")["spec"]["type"] == "ClusterIP"
    assert objects.settings["data"]["APP_ENVIRONMENT"] == "prod"


def test_other_settings_are_another_config_map(render: Render) -> None:
    before, same, after = render(), render(sets={"replicaCount": 3}), render(sets={"app.greeting": "Hi"})
    names = [each.settings["metadata"]["name"] for each in (before, same, after)]
    assert names[0] == names[1] != names[2]
    assert before.settings["immutable"] is True


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_ci_lints_what_the_environments_use(environment: str) -> None:
    own = (ROOT / f"values-{environment}.yaml").read_text()
    assert (CHART / "ci" / f"{environment}-values.yaml").read_text() == own


@pytest.mark.parametrize(
    ("sets", "image"),
    [
        ({}, "flask-hello:1.0.0"),
        ({"image.tag": "1.0.0-abc"}, "flask-hello:1.0.0-abc"),
        ({"image.tag": "t", "image.digest": "sha256:" + "0" * 64}, "flask-hello@sha256:" + "0" * 64),
    ],
    ids=["app version", "tag", "digest wins"],
)
def test_the_image_is_named_by_digest_tag_or_app_version(render: Render, sets: dict[str, str], image: str) -> None:
    for spec in render(sets=sets).pod_specs:
        assert spec["containers"][0]["image"] == image


@every_values
def test_every_pod_meets_the_restricted_pod_security_standard(render: Render, values: Path | None) -> None:
    for spec in render(values=values).pod_specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 10000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert all("emptyDir" in volume for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) == {"cpu", "memory", "ephemeral-storage"}


@every_values
def test_an_update_never_has_too_few_pods_and_never_cuts_a_request(render: Render, values: Path | None) -> None:
    spec = render(values=values).one("Deployment")["spec"]
    pod = spec["template"]["spec"]
    web = pod["containers"][0]
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert web["readinessProbe"]["httpGet"]["path"] != web["livenessProbe"]["httpGet"]["path"]
    assert web["lifecycle"]["preStop"]["sleep"]["seconds"] >= 1
    data = render(values=values).settings["data"]
    stop = web["lifecycle"]["preStop"]["sleep"]["seconds"] + int(data["WEB_GRACEFUL_TIMEOUT_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > stop
    assert 0 < spec["minReadySeconds"] < spec["progressDeadlineSeconds"] < 300


def test_the_defaults_and_both_environments_keep_full_strength(render: Render) -> None:
    for values in (None, DEV, PROD):
        rolling = render(values=values).one("Deployment")["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_service_budget_policy_and_spread_choose_the_servers_and_not_the_test(render: Render) -> None:
    objects = render()
    labels = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    tests = [pod["metadata"]["labels"] for pod in objects.of("Pod")]
    spread = objects.one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    for selector in (
        objects.one("Service")["spec"]["selector"],
        objects.one("Deployment")["spec"]["selector"]["matchLabels"],
        objects.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        objects.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
        assert not any(selector.items() <= test.items() for test in tests)


def test_a_strict_network_policy_still_lets_the_test_in(render: Render) -> None:
    objects = render(sets={"networkPolicy.ingressFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}]})
    [rule] = objects.one("NetworkPolicy")["spec"]["ingress"]
    peers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    for pod in objects.of("Pod"):
        assert any(peer.items() <= pod["metadata"]["labels"].items() for peer in peers)


def test_pods_carry_no_label_that_a_new_chart_version_changes(render: Render) -> None:
    labels = render().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


@pytest.mark.parametrize(
    "sets",
    [{"app.greeting": "Moin"}, {"gunicorn.workers": 3}, {"faults.neverReady": True}, {"secret.secretKey": "x" * 16}],
    ids=str,
)
def test_a_changed_setting_makes_new_pods(render: Render, sets: dict[str, object]) -> None:
    def annotations(rendered: object) -> object:
        return rendered.one("Deployment")["spec"]["template"]["metadata"]["annotations"]  # type: ignore[attr-defined]

    assert annotations(render(sets=sets)) != annotations(render())


def test_nothing_but_the_generated_key_differs_between_two_renders(render: Render) -> None:
    first, second = render(), render()
    assert [o for o in first.objects if o["kind"] != "Secret"] == [o for o in second.objects if o["kind"] != "Secret"]
    given = {"secret.secretKey": "a-key-of-my-own-choice"}
    assert render(sets=given).text == render(sets=given).text


def test_fault_switches_reach_the_service(render: Render) -> None:
    sets = {
        "faults": {
            "neverReady": True,
            "crashAtStart": True,
            "crashAfterSeconds": 30,
            "errorRate": 0.25,
            "latencySeconds": 0.5,
            "memoryGrowthBytesPerSecond": 1048576,
        }
    }
    data = render(sets=sets).settings["data"]
    assert {key: value for key, value in data.items() if key.startswith("FAULT_")} == {
        "FAULT_NEVER_READY": "true",
        "FAULT_CRASH_AT_START": "true",
        "FAULT_CRASH_AFTER_SECONDS": "30",
        "FAULT_ERROR_RATE": "0.25",
        "FAULT_LATENCY_SECONDS": "0.5",
        "FAULT_MEMORY_GROWTH_BYTES_PER_SECOND": "1048576",
    }


def test_big_numbers_are_written_out(render: Render) -> None:
    data = render(sets={"faults.memoryGrowthBytesPerSecond": 104857600}).settings["data"]
    assert data["FAULT_MEMORY_GROWTH_BYTES_PER_SECOND"] == "104857600"


def test_a_secret_of_ones_own_is_used_and_none_is_made(render: Render) -> None:
    objects = render(sets={"secret.create": False, "secret.existingSecret": "mine"})
    assert objects.of("Secret") == []
    env = objects.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env[0]["valueFrom"]["secretKeyRef"] == {"name": "mine", "key": "APP_SECRET_KEY"}


def test_one_pod_has_no_disruption_budget_that_would_block_every_drain(render: Render) -> None:
    assert render(sets={"replicaCount": 1}).of("PodDisruptionBudget") == []


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_every_object_has_a_name(render: Render, values: Path) -> None:
    """Schemas let one without pass: the API server can make them."""
    assert [each for each in render(values).objects if not each["metadata"].get("name")] == []


@every_values
def test_what_pods_write_is_bounded(render: Render, values: Path | None) -> None:
    volumes = [volume for spec in render(values).pod_specs for volume in spec.get("volumes", [])]
    assert [volume for volume in volumes if not volume.get("emptyDir", {"sizeLimit": "-"}).get("sizeLimit")] == []


def test_a_name_is_cut_only_where_it_is_too_long(render: Render) -> None:
    longest, too_long = (render(release="r" * length).one("Service")["metadata"]["name"] for length in (51, 52))
    assert longest == f"{'r' * 51}-flask-hello" and len(longest) == 63
    assert len(too_long) == 63 and re.fullmatch("r{52}-f-[0-9a-f]{8}", too_long)


@pytest.mark.parametrize("release", ["flask-hello", "r" * 53, "a-flask-hello-b", "x"])
def test_names_stay_within_63_characters_and_apart(render: Render, release: str) -> None:
    objects = render(release=release)
    for each in objects.objects:
        assert len(each["metadata"]["name"]) <= 63
        assert not each["metadata"]["name"].endswith("-")
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == release
    names = [each["metadata"]["name"] for each in objects.of("Pod") + objects.of("Service")]
    assert len(set(names)) == len(names) == 2
