"""Values made from the schema: what it allows renders to objects that the API takes, all else is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.chart.conftest import CI_VALUES, Render
from tests.chart.helm import Object, Refused, Rendered, nested
from tests.chart.schemas import Kubeconform, versions
from tests.chart.strategies import SCHEMA, leaves, values

# A refusal by the templates has its reasons, and a test in test_contracts.py.
CONTRACT = "these values do not fit together"
SOURCES = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CI_VALUES}
LEAVES = dict(leaves())
A_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
A_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")

# The same values every time that the same modules are imported (Hypothesis also tries the constants that it finds in
# them): what fails here fails for everyone. To find the smallest of those would take minutes.
repeatable = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

RELEASES = st.from_regex(r"\A[a-z]([a-z0-9-]{0,50}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?)?\Z").filter(
    lambda name: len(name) <= 53
)
ANYTHING = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text("aZ0-_. :/\"'{}\n", max_size=20),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(0, 3), max_size=2),
)


@st.composite
def allowed(draw: st.DrawFn) -> Object:
    """A file of ci/ with up to four values changed."""
    file = draw(st.sampled_from(sorted(SOURCES)))
    keys = draw(st.lists(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=4, unique=True))
    own_key = {} if "secret" in SOURCES[file] else {"secret.secretKey": "a-key-of-my-own-choice"}
    return merged(SOURCES[file], nested(own_key | {key: draw(values(LEAVES[key])) for key in keys}))


@st.composite
def wrong(draw: st.DrawFn) -> tuple[str, Any]:
    """A value that the schema doesn't allow at its place."""
    key = draw(st.sampled_from(sorted(LEAVES)))
    validator = Draft7Validator(LEAVES[key] | {"definitions": SCHEMA["definitions"]})
    return key, draw(ANYTHING.filter(lambda value: not validator.is_valid(value)))


def merged(base: Any, over: Any) -> Any:
    """As Helm merges."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base.get(key), value) for key, value in over.items()}
    return over


def test_values_that_the_schema_allows_make_objects_that_the_api_takes(
    render: Render, kubeconform: Kubeconform, tmp_path: Path
) -> None:
    refused: list[str] = []
    made: list[Path] = []

    @repeatable
    @given(allowed(), RELEASES)
    def try_values(sets: Object, release: str) -> None:
        try:
            rendered = render(sets=sets, release=release)
        except Refused as refusal:
            assert CONTRACT in str(refusal), str(refusal)
            refused.append(str(refusal))
            return
        assert_sound(rendered, release)
        if sets.get("secret", {}).get("secretKey"):
            assert render(sets=sets, release=release).text == rendered.text
        made.append(tmp_path / f"{len(made):04}.yaml")
        made[-1].write_text(rendered.text, encoding="utf-8")

    try_values()
    assert len(made) > len(refused), "too few of the values fit together to say much"
    for version in (versions()[0], versions()[-1]):
        assert kubeconform.problems(tmp_path, version) == []


def assert_sound(rendered: Rendered, release: str) -> None:
    """What no schema of the API says."""
    for each in rendered.objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == release
        assert all(A_LABEL.fullmatch(value) for value in labels.values()), labels
        own = each["kind"] == "ServiceAccount" or labels["app.kubernetes.io/component"] == "extra"
        assert own or A_NAME.fullmatch(each["metadata"]["name"]), each["metadata"]
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(set(names)) == len(names)
    deployment = rendered.one("Deployment")["spec"]
    selector = deployment["selector"]["matchLabels"]
    assert selector == deployment["template"]["metadata"]["labels"] == rendered.one("Service")["spec"]["selector"]


def test_values_that_the_schema_does_not_allow_are_refused_with_their_place(render: Render) -> None:
    @repeatable
    @given(wrong())
    def try_value(change: tuple[str, Any]) -> None:
        key, value = change
        with pytest.raises(Refused) as refusal:
            render(sets={key: value})
        assert f"at '/{key.replace('.', '/')}" in str(refusal.value)

    try_value()
