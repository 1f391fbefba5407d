"""promtool: the alerts are valid, fire when they should, and stay silent when they should."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from checks.build import program
from tests.chart.conftest import CHART, Render
from tests.chart.helm import Object

CASES = Path(__file__).with_name("rules_tests.yaml")
BURNS = Path(__file__).with_name("burn_tests.yaml")
VALUES = CHART / "ci" / "gateway-values.yaml"
DEADLINE_SECONDS = 300.0
ALERTS = 13


@pytest.fixture
def rules(render: Render, tmp_path: Path) -> Path:
    """A directory with the chart's rules and their cases."""
    for cases in (CASES, BURNS):
        shutil.copy(cases, tmp_path)
    write(tmp_path, render(VALUES).one("PrometheusRule")["spec"])
    return tmp_path


def write(directory: Path, spec: Object) -> None:
    (directory / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


def alerts(spec: Object) -> list[Object]:
    [group] = spec["groups"]
    return [rule for rule in group["rules"] if "alert" in rule]


def named(rule: Object) -> tuple[str, str]:
    """An alert has a window, or is the only one of its name."""
    return rule["alert"], rule["labels"].get("window", "")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


def test_prometheus_takes_the_rules(rules: Path) -> None:
    finished = promtool("check", "rules", "--lint=all", "--lint-fatal", rules / "rules.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    spec = yaml.safe_load((rules / "rules.yaml").read_text(encoding="utf-8"))
    assert f"{len(spec['groups'][0]['rules'])} rules found" in finished.stdout
    assert len(alerts(spec)) == len({named(rule) for rule in alerts(spec)}) == ALERTS


def test_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    finished = promtool("test", "rules", rules / CASES.name)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_burn_rates_are_those_of_the_windows(rules: Path) -> None:
    finished = promtool("test", "rules", rules / BURNS.name)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rules: Path) -> None:
    wanted = {named(rule) for rule in alerts(yaml.safe_load((rules / "rules.yaml").read_text(encoding="utf-8")))}
    cases = [
        case for test in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"] for case in test["alert_rule_test"]
    ]
    fired = {
        (case["alertname"], fires["exp_labels"].get("window", "")) for case in cases for fires in case["exp_alerts"]
    }
    assert fired == wanted
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == {name for name, _ in wanted}


@pytest.mark.parametrize("place", range(ALERTS))
def test_a_changed_alert_is_noticed(render: Render, rules: Path, place: int) -> None:
    """The cases are sharp: an alert that waits a minute longer fails one of them."""
    spec = render(VALUES).one("PrometheusRule")["spec"]
    rule = alerts(spec)[place]
    rule["for"] = f"{int(rule['for'].removesuffix('m')) + 1}m"
    write(rules, spec)
    finished = promtool("test", "rules", rules / CASES.name)
    assert finished.returncode == 1
    assert rule["alert"] in finished.stdout + finished.stderr
