"""Names, environments, lint, README, and Helm 3 beside Helm 4."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yamale
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from tests.chart.conftest import CHART, CI_VALUES, ROOT, Render
from tests.chart.helm import Helm, Object
from tests.chart.values_table import MIGRATION, PAGE, README, VALUES, migration_table, table, with_table

ENVIRONMENTS = sorted(ROOT.glob("values-*.yaml"))
CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
LONG = "a" * 52


def stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("hello", "hello-flask-hello"),
        ("flask-hello", "flask-hello"),
        ("my-flask-hello-2", "my-flask-hello-2"),
        ("v1.2", "v1-2-flask-hello"),
    ],
)
def test_objects_are_named_after_the_release(render: Render, release: str, name: str) -> None:
    rendered = render(release=release)
    settings = rendered.settings["metadata"]["name"]
    assert settings.startswith(f"{name}-")
    assert {o["metadata"]["name"] for o in rendered.objects} == {name, settings, f"{name}-test"}


def test_long_release_names_that_differ_at_their_end_share_no_object(render: Render) -> None:
    first, second = ({o["metadata"]["name"] for o in render(release=LONG + end).objects} for end in "xy")
    assert not first & second
    assert max(map(len, first | second)) <= 63


@pytest.mark.parametrize("values", CI_VALUES, ids=stem)
def test_every_object_carries_the_releases_labels_and_no_namespace(render: Render, values: Path) -> None:
    for each in render(values, release="hello", namespace="other").objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "hello"
        assert labels["app.kubernetes.io/name"] == "flask-hello"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == CHART_YAML["appVersion"]
        assert labels["helm.sh/chart"] == f"flask-hello-{CHART_YAML['version']}"
        assert "namespace" not in each["metadata"]


def test_a_release_name_that_yaml_reads_as_a_boolean_stays_a_string(render: Render) -> None:
    assert render(release="true").one("Service")["spec"]["selector"]["app.kubernetes.io/instance"] == "true"


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=stem)
def test_an_environments_file_holds_only_what_differs(environment: Path) -> None:
    def repeated(values: Object, defaults: Any) -> list[str]:
        found = []
        for key, value in values.items():
            if key == "environment":
                continue
            if isinstance(value, dict):
                found += [f"{key}.{inner}" for inner in repeated(value, defaults[key])]
            elif value == defaults[key]:
                found.append(key)
        return found

    assert len(ENVIRONMENTS) == 2  # the name of the environment stands in each, whatever the default is
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert repeated(yaml.safe_load(environment.read_text(encoding="utf-8")), defaults) == []


def test_dev_ends_pods_quickly_and_prod_takes_its_time(render: Render) -> None:
    dev, prod = (render(ROOT / f"values-{name}.yaml").one("Deployment")["spec"] for name in ("dev", "prod"))
    assert (dev["progressDeadlineSeconds"], prod["progressDeadlineSeconds"]) == (60, 120)
    assert [each["template"]["spec"]["terminationGracePeriodSeconds"] for each in (dev, prod)] == [20, 40]
    sleeps = [s["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] for s in (dev, prod)]
    assert sleeps == [5, 5]  # a busy machine's Service takes more than two seconds, on one node too


@pytest.mark.parametrize("values", [None, *CI_VALUES], ids=lambda path: path.stem if path else "none")
def test_helm_lint_strict_finds_nothing(helm: Helm, values: Path | None) -> None:
    file = ["--values", str(values)] if values else []
    output = helm.run("lint", "--strict", str(CHART), *file)
    findings = [line for line in output.splitlines() if line.startswith("[")]
    assert findings == []


@pytest.mark.parametrize("values", CI_VALUES, ids=stem)
def test_helm_3_and_helm_4_render_the_same(helm: Helm, helm3: Helm, values: Path) -> None:
    def comparable(of: Helm) -> list[Object]:
        objects = of.render(values).objects
        for secret in (o for o in objects if o["kind"] == "Secret"):
            if values.stem != "single-values":  # the one with a given key; else it is made at random
                del secret["data"]
        return sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))

    assert comparable(helm) == comparable(helm3)


@pytest.mark.parametrize(
    "path",
    [
        *(CHART / name for name in ("Chart.yaml", "values.yaml")),
        *CI_VALUES,
        *ENVIRONMENTS,
        *(ROOT / name for name in ("ct.yaml", "lintconf.yaml")),
    ],
    ids=lambda path: path.name,
)
def test_yaml_keeps_the_rules_of_chart_testing(path: Path) -> None:
    config = YamlLintConfig(file=str(ROOT / "lintconf.yaml"))
    assert [str(problem) for problem in linter.run(path.read_text(encoding="utf-8"), config)] == []


def test_chart_yaml_keeps_the_schema_of_chart_testing() -> None:
    schema = yamale.make_schema(ROOT / "chart_schema.yaml")
    yamale.validate(schema, yamale.make_data(CHART / "Chart.yaml"), strict=True)


def test_chart_testing_finds_its_rules() -> None:
    config = yaml.safe_load((ROOT / "ct.yaml").read_text(encoding="utf-8"))
    assert (ROOT / config["chart-yaml-schema"]).is_file()
    assert (ROOT / config["lint-conf"]).is_file()
    assert config["helm-lint-extra-args"] == "--strict"


def test_the_readmes_table_is_that_of_the_values() -> None:
    readme = README.read_text(encoding="utf-8")
    assert with_table(readme, "values", table(VALUES.read_text(encoding="utf-8"))) == readme


def test_the_table_of_patches_is_that_of_the_tests() -> None:
    docs = PAGE.read_text(encoding="utf-8")
    assert with_table(docs, "migration", migration_table(MIGRATION.read_text(encoding="utf-8"))) == docs


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({}, "port-forward service/hello-flask-hello 8080:80\n              then http://127.0.0.1:8080/"),
        ({"service.type": "NodePort", "service.nodePort": 30007}, "http://NODE:30007/"),
        ({"service.type": "NodePort"}, "PORT (kubectl get service)"),
        ({"service.type": "LoadBalancer"}, "kubectl --namespace default get service hello-flask-hello"),
    ],
    ids=str,
)
def test_notes_say_how_to_reach_the_service(helm: Helm, sets: dict[str, Any], says: str) -> None:
    notes = helm.notes(sets, release="hello")
    assert says in notes
    assert "helm test hello --namespace default" in notes
    assert "kubectl --namespace default rollout status deployment/hello-flask-hello" in notes
    assert (
        "helm history hello --namespace default\n              helm rollback hello REVISION --namespace default"
        in notes
    )
    assert re.search(
        "helm uninstall leaves the pods of helm test.*\n *kubectl --namespace default delete pod"
        " --selector app.kubernetes.io/instance=hello",
        notes,
    )


@pytest.mark.parametrize(
    ("values", "says", "silent"),
    [
        ("default-values", "The key that signs cookies was made at random", "told to fail on purpose"),
        ("default-values", "get secret hello-flask-hello --output yaml", "told to fail on purpose"),
        (
            "single-values",
            "It is told to fail on purpose: faults.crashAfterSeconds, faults.latencySeconds",
            "at random",
        ),
        ("full-values", "get service hello-flask-hello", "at random"),
        ("ingress-values", "has the Ingress, hello.example, www.hello.example", "HTTPRoute"),
        ("gateway-values", "has the HTTPRoute, hello.example", "Ingress"),
        ("gateway-bare-values", "has the HTTPRoute, the Gateway's hosts", "Ingress"),
    ],
)
def test_notes_speak_of_what_the_release_has_and_of_nothing_else(
    helm: Helm, values: str, says: str, silent: str
) -> None:
    given = yaml.safe_load((CHART / "ci" / f"{values}.yaml").read_text(encoding="utf-8"))
    notes = helm.notes(given, release="hello")
    assert says in notes
    assert silent not in notes


def test_the_places_that_the_docs_name_are_there() -> None:
    named = re.findall(r"`([\w./-]+/[\w./*-]*)`", (ROOT / "docs/chart.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [each for each in named if "*" not in each and not (ROOT / each).exists()] == []
