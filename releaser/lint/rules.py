"""The table of rules: what each one is about, how bad it is to break it, why, and what to do. No I/O but reading it.

The table is rules.yaml, beside this module; docs/rules.md is made from it (`python -m releaser.lint.rules`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from releaser.models import Finding, Severity


@dataclass(frozen=True)
class Rule:
    """A rule. `id` is LAYER/NAME. Those of the layer policy that look at one field say which and what it must be:

    `at` is where the field is looked for: container, pod, or a list of kinds; `field` its address, with [] for every
    item; `must` a JSON schema for its value; `missing` whether it is fine for it not to be there; `inherited` that a
    container without it has its pod's; `workloads` that only these kinds' pods are meant; `guarded` that it counts in
    protected environments only. `sources` are the checks of others that it stands for.
    """

    id: str
    severity: Severity
    says: str
    why: str
    fix: str
    at: str | tuple[str, ...] = ""
    field: str = ""
    must: dict[str, Any] | bool | None = None
    missing: bool = False
    inherited: bool = False
    workloads: tuple[str, ...] = ()
    guarded: bool = False
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def found(
        self, file: str, line: int = 0, column: int = 0, message: str = "", *, object: str = "", severity: str = ""
    ) -> Finding:
        """A finding of this rule; without a message, what the rule itself says."""
        grade = Severity(severity) if severity else self.severity
        return Finding(file, line, column, self.id, grade, message or self.says, self.fix, object)


@cache
def _table() -> dict[str, Any]:
    text = (files("releaser.lint") / "rules.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table


@cache
def rules() -> dict[str, Rule]:
    """Every rule by its id, in the table's order."""
    return {each.id: each for layer, entries in _table()["rules"].items() for each in map(_reader(layer), entries)}


def rule(id: str) -> Rule:
    return rules()[id]


def left_out() -> tuple[Mapping[str, str], ...]:
    """Checks of others that no rule stands for, each with the reason."""
    return tuple(_table()["left_out"])


def _reader(layer: str) -> Callable[[dict[str, Any]], Rule]:
    def read(entry: dict[str, Any]) -> Rule:
        given: dict[str, Any] = {
            key: " ".join(value.split()) if isinstance(value, str) else value for key, value in entry.items()
        }
        given["id"] = f"{layer}/{given.pop('name')}"
        given["severity"] = Severity(given["severity"])
        for key in ("at", "workloads"):
            if isinstance(given.get(key), list):
                given[key] = tuple(given[key])
        return Rule(**given)

    return read


# -- the rules' page ---------------------------------------------------------------------------------------------------

_LAYERS = {
    "file": "Files that can't be read",
    "style": "YAML style (yamllint): Chart.yaml, values files, releaser.yaml",
    "chart": "Chart.yaml",
    "version": "The chart's version",
    "values": "Values and their schema",
    "helm": "What Helm itself says",
    "kubernetes": "Rendered objects and the Kubernetes API",
    "api": "Versions of the API",
    "policy": "Policy: rendered objects of the defaults and of every environment",
    "secret": "Secrets",
    "image": "Images",
    "waiver": "Waivers",
}


def page() -> str:
    """docs/rules.md."""
    lines = [
        "# Rules of `releaser lint`",
        "",
        "Made from `releaser/lint/rules.yaml` by `python -m releaser.lint.rules`; a test keeps them the same.",
        "",
        "An error ends `releaser lint` with exit code 3 and keeps `releaser deploy` from starting; warnings and infos",
        "don't. A waiver in releaser.yaml, with its reason and the day it ends, keeps a finding away:",
        "",
        "```yaml",
        "lint:",
        "  waivers:",
        "    - rule: policy/no-host-network",
        "      where: daemonset/agent  # a rendered object or a file; patterns with * are fine; all when left out",
        "      reason: it measures the node's own network",
        "      expires: 2027-06-30",
        "```",
    ]
    for layer, heading in _LAYERS.items():
        lines += ["", f"## {heading}"]
        for each in rules().values():
            if each.id.startswith(f"{layer}/"):
                lines += _described(each)
    lines += ["", "## Checks of others that have no rule here", "", "| Check | Why not |", "| --- | --- |"]
    lines += [f"| {each['check']} | {' '.join(each['why'].split())} |" for each in left_out()]
    return "\n".join([*lines, ""])


def _described(each: Rule) -> list[str]:
    scope = ", in protected environments" if each.guarded else ""
    lines = ["", f"### {each.id}", "", f"*{each.severity}{scope}.* {each.says[:1].upper()}{each.says[1:]}. {each.why}"]
    lines += [f"\n**What to do:** {each.fix}."] if each.fix else []
    same = ", ".join(f"{tool}: {checks}" for tool, checks in each.sources.items())
    return [*lines, *([f"\nStands for {same}."] if same else [])]


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/rules.md").write_text(page(), encoding="utf-8")
