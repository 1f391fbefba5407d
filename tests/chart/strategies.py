"""hypothesis' values for as much of JSON Schema as values.schema.json uses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.chart.helm import CHART, Object

# Keys of maps whose keys are free: annotations, node labels.
_KEYS = st.from_regex(r"\A([a-z]{1,8}\.example/)?[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?\Z")
# Text that means something else to YAML, or to a template.
_TEXTS = st.one_of(
    st.sampled_from(
        ["", "true", "null", "1", "1e3", "0x10", "~", "2001-01-01", "a: b", "# a", "{{ .Values }}", "- a", "é"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
)


def _as_go_reads_it(node: Any) -> Any:
    """In Go, $ is the end of the text; in Python, also the place before a last line feed."""
    if isinstance(node, list):
        return [_as_go_reads_it(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _pattern(value) if key == "pattern" else _as_go_reads_it(value) for key, value in node.items()}


def _pattern(given: Any) -> Any:
    return re.sub(r"\$$", r"\\Z", given) if isinstance(given, str) else _as_go_reads_it(given)


SCHEMA = _as_go_reads_it(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")))


def values(schema: Object) -> st.SearchStrategy[Any]:
    """Everything that this part of SCHEMA allows."""
    validator = Draft7Validator(schema | {"definitions": SCHEMA["definitions"]})
    return _made(schema).filter(validator.is_valid)


def _made(schema: Object) -> st.SearchStrategy[Any]:
    """Nearly all of it is allowed."""
    if "$ref" in schema:
        return _made(SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([_made(each) for each in schema["anyOf"]])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_type(each, schema) for each in types])


def _of_type(name: str, schema: Object) -> st.SearchStrategy[Any]:
    match name:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            return st.floats(low, schema.get("maximum", 100), width=32)
        case "string":
            return st.from_regex(schema["pattern"]) if "pattern" in schema else _TEXTS
        case "array":
            return st.lists(_made(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "object":
            return _objects(schema)
    raise ValueError(f"values.schema.json has a type that is not made here: {name}")


def _objects(schema: Object) -> st.SearchStrategy[Any]:
    free = schema.get("additionalProperties")
    if free:
        return st.dictionaries(_KEYS, _made(free), max_size=3)
    made = {key: _made(child) for key, child in schema["properties"].items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {key: each for key, each in made.items() if key in required},
        optional={key: each for key, each in made.items() if key not in required},
    )


def leaves(node: Object = SCHEMA, path: str = "") -> Iterator[tuple[str, Object]]:
    """Dotted keys and schemas of all values, but for those that may be anything, or are templates."""
    for key, child in node["properties"].items():
        address = f"{path}.{key}" if path else key
        if address in ("global", "extraObjects"):
            continue
        if "properties" in child and key != "affinity":
            yield from leaves(child, address)
        else:
            yield address, child
