"""What docs/verify.md says of the experiments is what they say of themselves."""

from __future__ import annotations

from pathlib import Path

from releaser.flows.experiments.catalogue import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "verify.md"


def test_the_table_has_every_experiment_with_its_hypothesis_and_its_criterion() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{each.promise.name}` | {each.promise.hypothesis} | {each.promise.criterion} "
        f"| {each.promise.about_seconds:.0f} s |"
        for each in CATALOGUE
    ]
