"""Every file of values against values.schema.json, as Helm holds them: with the chart's defaults below. Each error has
its line and, for a key that isn't known, the one that was meant."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

from releaser.deciding import dotted
from releaser.lint.rules import rule
from releaser.lint.subject import Subject, Variant, leaves
from releaser.located import Address, Unreadable, decoded, did_you_mean
from releaser.models import Finding, Values
from releaser.objects import is_secret

Schema = dict[str, Any]


def findings(subject: Subject) -> Iterator[Finding]:
    path = subject.chart / "values.schema.json"
    shown = subject.shown(path)
    if not os.path.lexists(path):
        if os.path.lexists(subject.defaults_file):
            yield rule("values/no-schema-file").found(subject.shown(subject.defaults_file), 1, 1)
        return
    try:
        schema = json.loads(decoded(path))
    except json.JSONDecodeError as exc:
        yield rule("values/schema-unusable").found(shown, exc.lineno, exc.colno, f"this is no JSON: {exc.msg}")
        return
    except Unreadable as exc:
        yield rule("values/schema-unusable").found(shown, exc.line, exc.column, exc.reason)
        return
    except RecursionError:
        yield rule("values/schema-unusable").found(shown, 0, 0, "it is nested too deeply")
        return
    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (ValueError, jsonschema_rs.ReferencingError, jsonschema_rs.ValidationError) as exc:
        yield rule("values/schema-unusable").found(shown, 1, 1, str(exc).strip().partition("\n")[0])
        return
    for variant in filter(subject.readable, subject.variants):
        yield from _refused(subject, variant, schema, validator)
    if subject.readable(subject.variants[0]):
        yield from _unknown_to(subject, validator)


def accepted(subject: Subject, variant: Variant) -> bool:
    """Whether the chart's own schema finds nothing wrong with the values, as far as the files tell."""
    path = subject.chart / "values.schema.json"
    try:
        schema = json.loads(decoded(path)) if os.path.lexists(path) else True
        validator = jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (ValueError, RecursionError, Unreadable, jsonschema_rs.ReferencingError):
        return False
    return bool(validator.is_valid(without_nulls(subject.merged(variant))))


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} would have to be fetched")


def _refused(subject: Subject, variant: Variant, schema: Schema, validator: Any) -> Iterator[Finding]:
    values = without_nulls(subject.merged(variant))
    for error in validator.iter_errors(values):
        address: Address = tuple(error.instance_path)
        unexpected = getattr(error.kind, "unexpected", None)
        if unexpected is not None:
            for key in unexpected:
                file, line, column = subject.position(variant, (*address, key))
                known = _properties(schema, [str(step) for step in address])
                text = f'unknown key "{dotted((*address, key))}"{did_you_mean(key, list(known))}'
                yield rule("values/unknown-key").found(subject.shown(file), line, column, text)
            continue
        file, line, column = subject.position(variant, address)
        said = f"{dotted(address) or 'values'}: {_said(error, dotted(address))}"
        yield rule("values/schema").found(subject.shown(file), line, column, said)


def _said(error: Any, address: str) -> str:
    if address and is_secret("", address, error.instance):
        return f"it doesn't fit the schema ({error.schema_path[-1]}); the value is hidden"
    message = str(error.message)
    return message if len(message) <= 200 else f"{message[:160]}... {message[-37:]}"


def without_nulls(values: Values) -> Values:
    """Helm deletes keys that are null before it looks at them."""
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _properties(schema: Schema, address: Sequence[str]) -> Mapping[str, Any]:
    """Keys that the schema knows at an address; references within it are followed."""
    node = _followed(schema, schema)
    for part in address:
        inside = node.get("properties", {}).get(part) or node.get("items") or node.get("additionalProperties") or {}
        node = _followed(schema, inside)
    properties = node.get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _followed(schema: Schema, node: Any) -> Schema:
    for _ in range(_FOLLOWED):
        if not isinstance(node, dict) or "$ref" not in node:
            break
        target: Any = schema
        for step in str(node["$ref"]).removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        node = target
    return node if isinstance(node, dict) else {}


_FOLLOWED = 20


# -- values of which the schema says nothing ---------------------------------------------------------------------------

_OTHERS: tuple[Any, ...] = ("\x00 any text", 0.123456789, True, ["\x00"], {"\x00": "\x00"}, None)


def _unknown_to(subject: Subject, validator: Any) -> Iterator[Finding]:
    """Leaves of values.yaml that may be anything: a text, a number, a boolean, a list, a map."""
    values = without_nulls(subject.defaults.data)
    if not validator.is_valid(values):  # that is said already
        return
    told: set[Address] = set()
    for address, _ in leaves(values):
        if address[:-1] in told:
            continue
        if all(_with(values, address, other, validator) for other in _OTHERS):
            whole = _whole(values, address, validator)
            if whole in told:
                continue
            told.add(whole)
            place = subject.defaults.position(whole)
            text = f"values.schema.json says nothing of {dotted(whole)}"
            yield rule("values/without-schema").found(subject.shown(subject.defaults_file), *place, text)


def _whole(values: Values, address: Address, validator: Any) -> Address:
    """The outermost key around the leaf of which nothing is said either."""
    while len(address) > 1 and all(_with(values, address[:-1], other, validator) for other in _OTHERS):
        address = address[:-1]
    return address


def _with(values: Values, address: Address, other: Any, validator: Any) -> bool:
    """Whether the schema lets another value stand there."""
    return bool(validator.is_valid(put(values, address, other)))


def put(values: Any, address: Address, other: Any) -> Any:
    """A copy with another value at the address; what isn't on the way is shared."""
    if not address:
        return other
    if isinstance(values, list):
        return [put(each, address[1:], other) if index == address[0] else each for index, each in enumerate(values)]
    return {**values, address[0]: put(values.get(address[0]), address[1:], other)}
