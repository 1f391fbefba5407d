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
VALUES = CHART / "ci" / "gateway-values.yaml"
DEADLINE_SECONDS = 60.0


@pytest.fixture
def rules(render: Render, tmp_path: Path) -> Path:
    """A directory with the chart's rules and their cases."""
    shutil.copy(CASES, tmp_path / "cases.yaml")
    write(tmp_path, render(VALUES).one("PrometheusRule")["spec"])
    return tmp_path


def write(directory: Path, spec: Object) -> None:
    (directory / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


def test_prometheus_takes_the_rules(rules: Path) -> None:
    finished = promtool("check", "rules", "--lint=all", "--lint-fatal", rules / "rules.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "5 rules found" in finished.stdout


def test_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    finished = promtool("test", "rules", rules / "cases.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rules: Path) -> None:
    [group] = yaml.safe_load((rules / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for rule in group["rules"]}
    cases = [
        case for test in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"] for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


@pytest.mark.parametrize("place", range(5))
def test_a_changed_alert_is_noticed(render: Render, rules: Path, place: int) -> None:
    """The cases are sharp: an alert that waits a minute longer fails one of them."""
    spec = render(VALUES).one("PrometheusRule")["spec"]
    rule = spec["groups"][0]["rules"][place]
    rule["for"] = f"{int(rule['for'].removesuffix('m')) + 1}m"
    write(rules, spec)
    finished = promtool("test", "rules", rules / "cases.yaml")
    assert finished.returncode == 1
    assert rule["alert"] in finished.stdout + finished.stderr
