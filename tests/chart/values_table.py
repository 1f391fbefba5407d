"""The `# --` comments of values.yaml, as the table of values in the chart's README and as descriptions in its schema.

python -m tests.chart.values_table writes both anew.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "flask-hello"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"
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


def with_table(readme: str, values: str) -> str:
    """The README with the table between its marks replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"While writing the table of values: README.md lacks the line {BEGIN!r} or {END!r}")
    return f"{before}{begin}\n{table(values)}\n{end}{after}"


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


if __name__ == "__main__":
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    readme, schema = CHART / "README.md", CHART / "values.schema.json"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), values), encoding="utf-8")
    described_schema = with_descriptions(json.loads(schema.read_text(encoding="utf-8")), values)
    schema.write_text(json.dumps(described_schema, indent=2) + "\n", encoding="utf-8")
