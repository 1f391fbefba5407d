"""kube-score: its opinions on every rendering, and the written waivers of those that the chart doesn't share."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from checks.build import program
from tests.chart.conftest import CI_VALUES, ROOT, Render
from tests.chart.helm import Object
from tests.chart.schemas import write

WAIVERS = Path(__file__).with_name("waivers.yaml")
VALUES = [*CI_VALUES, *sorted(ROOT.glob("values-*.yaml"))]
DEADLINE_SECONDS = 60.0
# kube-score's grades: 1 critical, 5 warning, 7 almost good, 10 good
GOOD = 7


@dataclass(frozen=True)
class Opinion:
    """A rule that an object breaks, and what the scanner says of it."""

    scanner: str
    rule: str
    kind: str
    says: str = ""

    def waived_by(self, waiver: Object) -> bool:
        return (self.scanner, self.rule, self.kind) == (waiver["scanner"], waiver["rule"], waiver["kind"])


def waivers() -> list[Object]:
    return yaml.safe_load(WAIVERS.read_text(encoding="utf-8")) or []


def opinions(objects: Sequence[Object], directory: Path) -> list[Opinion]:
    """What kube-score finds, its optional rules included."""
    kube_score = program("kube-score")
    listed = subprocess.run([kube_score, "list"], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True)
    optional = [line.split(",")[0] for line in listed.stdout.splitlines() if line.endswith(",optional")]
    enable = [word for name in optional for word in ("--enable-optional-test", name)]
    manifest = write(directory, "manifest", objects)
    finished = subprocess.run(
        [kube_score, "score", "--output-format", "json", "--kubernetes-version", "v1.30", *enable, manifest],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert finished.stdout, finished.stderr
    return [
        Opinion("kube-score", check["check"]["id"], scored["type_meta"]["kind"], json.dumps(check["comments"]))
        for scored in json.loads(finished.stdout)
        for check in scored["checks"]
        if check["grade"] < GOOD and not check["skipped"]
    ]


@pytest.fixture(scope="module")
def found(render: Render, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Opinion]]:
    """By values file."""
    return {each.name: opinions(render(each).objects, tmp_path_factory.mktemp("score")) for each in VALUES}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name)
def test_kube_score_finds_nothing_but_what_is_waived(found: dict[str, list[Opinion]], values: Path) -> None:
    left = [each for each in found[values.name] if not any(each.waived_by(waiver) for waiver in waivers())]
    assert left == []


def test_every_waiver_has_a_reason_and_is_needed(found: dict[str, list[Opinion]]) -> None:
    everything = [each for opinions in found.values() for each in opinions]
    for waiver in waivers():
        assert set(waiver) == {"scanner", "rule", "kind", "reason"}
        assert len(waiver["reason"]) >= 30, f"say why: {waiver}"
        assert any(each.waived_by(waiver) for each in everything), f"not needed any more: {waiver}"


def test_kube_score_finds_a_container_that_runs_as_root(render: Render, tmp_path: Path) -> None:
    deployment = render().one("Deployment")
    deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] = 0
    rules = {each.rule for each in opinions([deployment], tmp_path)}
    assert "container-security-context-user-group-id" in rules
