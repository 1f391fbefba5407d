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
    """A rule that an object breaks under a file of values, and what kube-score says of it."""

    file: str
    rule: str
    kind: str
    says: str


@dataclass(frozen=True)
class Waiver:
    """Of a rule for objects of some kinds; under these files of values, or under all."""

    rule: str
    kinds: tuple[str, ...]
    reason: str
    files: tuple[str, ...] = ()

    def holds_for(self, opinion: Opinion) -> bool:
        right_file = not self.files or opinion.file in self.files
        return right_file and opinion.rule == self.rule and opinion.kind in self.kinds


def waivers() -> list[Waiver]:
    return [Waiver(**each) for each in yaml.safe_load(WAIVERS.read_text(encoding="utf-8"))]


def opinions(file: str, objects: Sequence[Object], directory: Path) -> list[Opinion]:
    """What kube-score finds in the objects that this file of values makes, its optional rules included."""
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
        Opinion(file, check["check"]["id"], scored["type_meta"]["kind"], json.dumps(check["comments"]))
        for scored in json.loads(finished.stdout)
        for check in scored["checks"]
        if check["grade"] < GOOD and not check["skipped"]
    ]


@pytest.fixture(scope="module")
def found(render: Render, tmp_path_factory: pytest.TempPathFactory) -> list[Opinion]:
    directory = tmp_path_factory.mktemp("score")
    return [opinion for file in VALUES for opinion in opinions(file.name, render(file).objects, directory)]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name)
def test_kube_score_finds_nothing_but_what_is_waived(found: list[Opinion], values: Path) -> None:
    here = [each for each in found if each.file == values.name]
    assert here, "kube-score always finds something: did it run?"
    assert [each for each in here if not any(waiver.holds_for(each) for waiver in waivers())] == []


def test_every_waiver_has_a_reason_and_is_needed(found: list[Opinion]) -> None:
    for waiver in waivers():
        held = [each for each in found if waiver.holds_for(each)]
        assert len(waiver.reason) >= 30, f"say why: {waiver}"
        assert {each.kind for each in held} == set(waiver.kinds), f"not needed for all of its kinds: {waiver}"
        assert not waiver.files or {each.file for each in held} == set(waiver.files), f"not in all files: {waiver}"


def test_kube_score_finds_a_container_that_runs_as_root(render: Render, tmp_path: Path) -> None:
    deployment = render().one("Deployment")
    deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"] = 0
    rules = {each.rule for each in opinions("", [deployment], tmp_path)}
    assert "container-security-context-user-group-id" in rules
