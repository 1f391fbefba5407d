from __future__ import annotations

from typing import Any

import pytest

from releaser.models import Image
from releaser.values import merge, with_image


@pytest.mark.parametrize(
    ("base", "override", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({}, {"a": 1}, {"a": 1}),
    ],
    ids=["maps deep", "lists replaced", "null stays", "scalar over map", "map over scalar", "new key"],
)
def test_values_merge_as_helm_merges(base: dict[str, Any], override: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge(base, override) == merged


def test_merging_changes_neither_side() -> None:
    base: dict[str, Any] = {"a": {"b": [1]}}
    merge(base, {"a": {"c": 2}})["a"]["b"].append(2)
    assert base == {"a": {"b": [1]}}


def test_the_built_image_wins_over_a_digest_in_the_file() -> None:
    values = {"image": {"digest": "sha256:old", "pullPolicy": "Always"}}
    assert with_image(values, Image("web", "t1"))["image"] == {
        "repository": "web",
        "tag": "t1",
        "digest": "",
        "pullPolicy": "Always",
    }
