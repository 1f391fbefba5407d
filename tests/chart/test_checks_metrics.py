"""promtool: what the service exposes, what the dashboard asks and what releaser reckons are as Prometheus has it."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from app import create_app
from app.settings import Settings
from checks.build import program
from releaser.traffic import quantile
from tests.chart.conftest import CHART
from tests.chart.helm import Object
from tests.unit.app.conftest import Gunicorn, launch, serve

__all__ = ["launch", "serve"]

DEPLOYS = Path(__file__).with_name("deploy_tests.yaml")
VARIABLES = {
    "$__rate_interval": "4m",
    "$__interval": "1m",
    "$namespace": "default",
    "$job": "flask-hello",
    "$availability": "99.9",
    "$fast": "99",
    "$slow": "0.25",
}
DEADLINE_SECONDS = 60.0


def promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def filled_in(expression: str) -> str:
    """With Grafana's variables replaced."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@pytest.fixture(scope="module")
def dashboard() -> Object:
    return dict(json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8")))


def write_rules(path: Path, rules: Mapping[str, str]) -> None:
    """A file of recording rules."""
    made = [{"record": name, "expr": expression} for name, expression in rules.items()]
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}), encoding="utf-8")


def test_the_metrics_of_several_workers_follow_prometheus_rules(serve: Callable[..., Gunicorn]) -> None:
    server = serve(APP_REVISION='odd "quotes" and \\')
    for path in ("/", "/version", "/nowhere"):
        server.get(path)
    status, text = server.get("/metrics")
    assert (status, text.count("# TYPE")) == (200, 5)
    finished = promtool("check", "metrics", text=text)
    assert (finished.returncode, finished.stderr) == (0, ""), finished.stdout + finished.stderr


def test_the_metrics_of_one_process_follow_them_too_and_a_name_that_breaks_them_is_noticed() -> None:
    client = create_app(Settings()).test_client()
    client.get("/")
    text = client.get("/metrics").get_data(as_text=True)
    assert promtool("check", "metrics", text=text).returncode == 0
    assert promtool("check", "metrics", text=text.replace("http_requests_total", "http_requests")).returncode != 0


def test_every_query_of_the_dashboard_is_promql(dashboard: Object, tmp_path: Path) -> None:
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 15
    write_rules(tmp_path / "rules.yaml", {f"query:{place}": filled_in(each) for place, each in enumerate(queries)})
    finished = promtool("check", "rules", tmp_path / "rules.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    write_rules(tmp_path / "rules.yaml", {"query:broken": filled_in(queries[0]) + ")"})
    assert promtool("check", "rules", tmp_path / "rules.yaml").returncode != 0


def test_a_deploy_is_marked_once_and_nothing_else_is(dashboard: Object, tmp_path: Path) -> None:
    [annotation] = dashboard["annotations"]["list"]
    shutil.copy(DEPLOYS, tmp_path)
    write_rules(tmp_path / "deploys.yaml", {"deploys": filled_in(annotation["target"]["expr"])})
    finished = promtool("test", "rules", tmp_path / DEPLOYS.name)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_quantiles_are_those_of_histogram_quantile(tmp_path: Path) -> None:
    chance = random.Random(20)
    bounds = {"0.001": 0.001, "0.01": 0.01, "0.1": 0.1, "1.0": 1.0, "30.0": 30.0, "+Inf": math.inf}
    series, cases = [], []
    for number in range(30):
        counts: list[int] = []
        for _ in bounds:
            counts.append((counts[-1] if counts else 0) + chance.choice([0, 0, 1, chance.randint(0, 1000)]))
        for le, count in zip(bounds, counts, strict=True):
            series.append({"series": f'h_bucket{{n="{number}",le="{le}"}}', "values": str(count)})
        for share in (0.5, 0.95, 0.99):
            ours = quantile(dict(zip(bounds.values(), counts, strict=True)), share)
            # no sample equals NaN
            query = f'histogram_quantile({share}, h_bucket{{n="{number}"}}) >= 0'
            samples = [] if ours is None else [{"labels": f'{{n="{number}"}}', "value": ours}]
            cases.append({"expr": query, "eval_time": "0m", "exp_samples": samples})
    document = {
        "evaluation_interval": "1m",
        "fuzzy_compare": True,
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": cases}],
    }
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    finished = promtool("test", "rules", tmp_path / "cases.yaml")
    assert finished.returncode == 0, finished.stdout + finished.stderr
