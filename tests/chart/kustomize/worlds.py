"""The service as Kustomize makes it and as the chart does, and where their objects differ.

A path is written as `spec.template.spec.containers.web.image`: lists whose items have a name are walked by it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import RELEASE, Object

HERE = Path(__file__).parent
# What both worlds make; the chart makes more.
KINDS = ("ConfigMap", "Secret", "Deployment", "Service")
ABSENT = "<absent>"
DEADLINE_SECONDS = 60.0
# A name or a checksum that follows content says the same in both worlds, in other letters.
_HASHES = ((re.compile(f"{RELEASE}-[0-9a-z]{{8,10}}"), f"{RELEASE}-<hash>"), (re.compile("[0-9a-f]{64}"), "<sha256>"))

World = dict[str, Object]


@dataclass(frozen=True)
class Difference:
    """A field, or everything under it, in the one world and in the other; ABSENT where a world lacks it."""

    kind: str
    path: str
    kustomize: Any
    chart: Any


def kustomized(kubectl: Path, directory: Path) -> World:
    """What `kubectl kustomize` makes of an overlay."""
    finished = subprocess.run(
        [kubectl, "kustomize", directory],
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert finished.returncode == 0, finished.stderr
    return world(yaml.safe_load_all(finished.stdout))


def world(objects: Iterator[Object] | tuple[Object, ...]) -> World:
    """The shared objects by their kind, of which each world has one."""
    made = [each for each in objects if each["kind"] in KINDS]
    assert sorted(each["kind"] for each in made) == sorted(KINDS)
    return {each["kind"]: each for each in made}


def differences(kustomize: Mapping[str, Object], chart: Mapping[str, Object]) -> list[Difference]:
    return [
        Difference(kind, path, left, right)
        for kind in KINDS
        for path, left, right in _compare(comparable(kustomize[kind]), comparable(chart[kind]), "")
    ]


def leaves(of: Mapping[str, Object]) -> dict[str, Any]:
    """Every field that isn't a map itself, by "KIND PATH"."""
    return {f"{kind} {path}": value for kind in KINDS for path, value in _leaves(comparable(of[kind]), "")}


def change(before: Mapping[str, Object], after: Mapping[str, Object]) -> dict[str, Any]:
    """The fields that have another value after, or are new, or ABSENT."""
    old, new = leaves(before), leaves(after)
    fields = sorted(old.keys() | new.keys())
    return {field: new.get(field, ABSENT) for field in fields if old.get(field, ABSENT) != new.get(field, ABSENT)}


def comparable(node: Any) -> Any:
    """Lists as maps, by the names of their items or by their places; hashes without their letters."""
    if isinstance(node, dict):
        return {key: comparable(value) for key, value in node.items()}
    if isinstance(node, list):
        named = [item.get("name", str(i)) if isinstance(item, dict) else str(i) for i, item in enumerate(node)]
        return dict(zip(named, map(comparable, node), strict=True))
    if isinstance(node, str):
        for pattern, instead in _HASHES:
            if pattern.fullmatch(node):
                return instead
    return node


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, node


def _compare(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            below = f"{path}.{key}" if path else key
            yield from _compare(left.get(key, ABSENT), right.get(key, ABSENT), below)
    elif left != right:
        yield path, left, right
