"""What is written twice, made from where it is written once: python -m tests.chart.values_table writes all of it anew.

The `# --` comments of values.yaml are the table of values in the chart's README and the descriptions in its schema; the
rows of kustomize/migration.yaml are a table in docs/from-kustomize.md.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.chart.helm import CHART, ROOT

README, SCHEMA, VALUES = CHART / "README.md", CHART / "values.schema.json", CHART / "values.yaml"
PAGE, MIGRATION = ROOT / "docs" / "from-kustomize.md", ROOT / "tests" / "chart" / "kustomize" / "migration.yaml"
_KEY = re.compile(r"( *)([A-Za-z-]+):")
_COMMENT = "# -- "


@dataclass(frozen=True)
class Described:
    """A value: dotted key, default, and what its comment says (empty without one)."""

    key: str
    default: Any
    description: str


def described(text: str) -> list[Described]:
    """Every value of a values.yaml, in its order; an empty map or list is a value, a filled map is not."""
    comments: dict[str, str] = {}
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        if match := _KEY.match(line):
            path[len(match[1]) // 2 :] = [match[2]]
            comments[".".join(path)] = comment
        comment = line.strip().removeprefix(_COMMENT) if line.strip().startswith(_COMMENT) else ""
    return [Described(key, default, comments[key]) for key, default in _leaves(yaml.safe_load(text), "")]


def table(text: str) -> str:
    rows = "".join(f"| `{v.key}` | `{json.dumps(v.default)}` | {v.description} |\n" for v in described(text))
    return f"| Value | Default | Meaning |\n|---|---|---|\n{rows}"


def migration_table(text: str) -> str:
    """Of a migration.yaml."""
    rows = [
        f"| {row['change']} | {_overlay(row)} | {', '.join(f'`{each}`' for each in _settings(row['values'], ''))} |\n"
        for row in yaml.safe_load(text)
    ]
    return "| Change | In the overlay | In the values |\n|---|---|---|\n" + "".join(rows)


def with_table(text: str, name: str, table: str) -> str:
    """The text with what stands between the marks of this name replaced."""
    marks = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"While writing the table of {name}: the text lacks the line {marks[0]!r} or {marks[1]!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def with_descriptions(schema: dict[str, Any], values: str) -> dict[str, Any]:
    """A values.schema.json whose values are described as in values.yaml; all else stays. KeyError: it lacks a value."""
    new: dict[str, Any] = copy.deepcopy(schema)
    for value in described(values):
        node = new
        for key in value.key.split("."):
            node = node["properties"][key]
        rest = {key: given for key, given in node.items() if key != "description"}
        node.clear()
        node.update({"description": value.description} | rest)
    return new


def _leaves(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _overlay(row: dict[str, Any]) -> str:
    """One line for each of the fields of a kustomization.yaml, or for the patch."""
    if "patch" in row:
        kind, rest = row["patch"]["kind"], {k: v for k, v in row["patch"].items() if k != "kind"}
        return f"patch of the {kind}: `{_flow(rest)}`"
    return ", ".join(f"`{key}: {_flow(value)}`" for key, value in row["overlay"].items())


def _flow(value: Any) -> str:
    # of a bare scalar YAML marks the end
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).strip().removesuffix("\n...")


def _settings(values: dict[str, Any], prefix: str) -> Iterator[str]:
    """`image.tag: 1.0.1` for every value; a list or a map of free keys is one value."""
    for key, value in values.items():
        if isinstance(value, dict) and key not in ("nodeSelector", "affinity", "podAnnotations"):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {_flow(value)}"


if __name__ == "__main__":
    values = VALUES.read_text(encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), "values", table(values)), encoding="utf-8")
    described_schema = with_descriptions(json.loads(SCHEMA.read_text(encoding="utf-8")), values)
    SCHEMA.write_text(json.dumps(described_schema, indent=2) + "\n", encoding="utf-8")
    rows = migration_table(MIGRATION.read_text(encoding="utf-8"))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), "migration", rows), encoding="utf-8")
