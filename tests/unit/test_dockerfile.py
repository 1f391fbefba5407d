from __future__ import annotations

import pytest

from releaser.adapters.dockerfile import defaults, images, instructions
from tests.unit.test_builders import DOCKERFILE


def test_instructions_are_counted_as_the_classic_builder_does() -> None:
    assert instructions(DOCKERFILE) == [
        (2, "ARG BASE=scratch"),
        (4, "FROM ${BASE} AS build"),
        (5, "RUN make && make install"),
        (8, "COPY . /x"),
    ]


def test_arguments_before_the_first_stage_have_their_defaults() -> None:
    text = 'ARG V=3.13 FLAVOUR="slim"\nARG BASE=python:${V}-$FLAVOUR\nARG NONE\nFROM $BASE\nARG V=4\n'
    assert defaults(text) == {"V": "3.13", "FLAVOUR": "slim", "BASE": "python:3.13-slim"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ARG BASE=a:1\nFROM $BASE\n", ("a:1",)),
        ("ARG BASE=a:1\nFROM ${BASE}\n", ("given:1",)),
        ("FROM ${OTHER:-b:2}\n", ("b:2",)),
        ("FROM --platform=linux/amd64 a:1 AS one\nFROM one\nFROM b:1 as Two\nCOPY --from=two /x /y\n", ("a:1", "b:1")),
        ("from a:1\nCOPY --chown=1 --from=b:2 /x /y\nCOPY --from=0 /x /y\nCOPY /x --from=c:3\n", ("a:1", "b:2")),
        ("FROM a:1\nRUN --mount=type=bind,from=b:2,target=/x make\n", ("a:1", "b:2")),
        ("FROM a:1\nRUN --mount=from=a:1,target=/x make\nRUN echo it's\n", ("a:1",)),
        ("FROM scratch\nCOPY x /x\n", ()),
    ],
    ids=["argument", "given", "otherwise", "stages", "copied", "mounted", "once", "scratch"],
)
def test_every_image_of_others_is_known(text: str, wanted: tuple[str, ...]) -> None:
    arguments = {"BASE": "given:1"} if "given:1" in wanted else {}
    assert images(text, arguments) == wanted
