"""Policy: what kube-linter, kube-score and polaris ask of rendered objects, with the defaults and in every environment.

A rule that looks at one field is data, in rules.yaml, and judged here. Those that look at several are in relations.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import jsonschema_rs

from releaser.lint.places import Places
from releaser.lint.pods import Pods, pods
from releaser.lint.relations import Broken, relations
from releaser.lint.rules import Rule, rule, rules
from releaser.lint.subject import Subject
from releaser.manifests import Document
from releaser.models import Finding
from releaser.objects import keyed, labelled


def findings(subject: Subject, places: Places) -> Iterator[Finding]:
    for variant in (each for each in subject.variants if each.released):
        known = subject.documents(variant)
        for name, document, address, text in (*_fields(known), *relations(known, variant)):
            broken = rule(name)
            if broken.guarded and not variant.protected:
                continue
            ref = document.object.ref
            place = places.of(variant, document, address)
            yield broken.found(*place, f"{ref}: {text or broken.says}", object=ref)


@cache
def _field_rules() -> tuple[tuple[Rule, Any], ...]:
    return tuple((each, jsonschema_rs.validator_for(each.must)) for each in rules().values() if each.must is not None)


def _fields(known: Sequence[Document]) -> Iterator[Broken]:
    for document in known:
        made = pods(document)
        for each, validator in _field_rules():
            for address, start, below in _starts(each, document, made):
                if below is not None and each.inherited and _reached(start, each.field) == []:
                    start, address = below, made.address if made else address
                yield from _judged(each, validator, document, address, start)


def _starts(each: Rule, document: Document, made: Pods | None) -> Iterator[tuple[str, Any, Any]]:
    """Where the rule's field is looked for: address and value, and the pod's for a container."""
    if isinstance(each.at, tuple):
        if document.object.kind in each.at:
            yield "", document.object.body, None
    elif made is None or (each.workloads and made.kind not in each.workloads):
        return
    elif each.at == "pod":
        yield made.address, made.spec, None
    else:
        yield from (
            (address, container, made.spec)
            for address, container in made.containers()
            if not (each.workloads and ".initContainers[" in address)
        )


def _judged(each: Rule, validator: Any, document: Document, address: str, start: Any) -> Iterator[Broken]:
    reached = _reached(start, each.field)
    if not reached and not each.missing:
        where = f"{address}.{each.field}" if address else each.field
        yield each.id, document, where, _of(address, each.says)
    for below, value in reached:
        if not validator.is_valid(value):
            where = f"{address}.{below}" if address else below
            yield each.id, document, where, _of(address, f"{each.says} ({below} is {_brief(value)})")


def _of(address: str, says: str) -> str:
    """Which of the containers is meant."""
    match = re.search(r"ontainers\[([^\]]+)\]$", address)
    return says.replace("the container", f"the container {match[1]}", 1) if match else says


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _reached(start: Any, field: str) -> list[tuple[str, Any]]:
    """Every value that the field leads to, with its address below the start: `ports[].hostPort` may be several."""
    found: list[tuple[str, Any]] = [("", start)]
    for step in field.split("."):
        key, every, _ = step.partition("[]")
        found = [
            (keyed(address, key), value[key])
            for address, value in found
            if isinstance(value, dict) and value.get(key) is not None
        ]
        if every:
            found = [
                (labelled(address, items, index), item)
                for address, items in found
                if isinstance(items, list)
                for index, item in enumerate(items)
            ]
    return found
