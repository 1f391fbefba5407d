from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from releaser.adapters.builders import Output, StepFailed

DOCKERFILE = """\
# a comment
ARG BASE=scratch

FROM ${BASE} AS build
RUN make \\
 # between
 && make install
COPY . /x
"""


def test_a_step_is_one_line_for_who_looks_on_and_the_log_has_all() -> None:
    log, told = StringIO(), list[str]()
    output = Output(log, told.append)
    output.write("Step 3/4 : RUN make && make install\n ---> Running in 1\n\n\x1b[91mcc: warning\x1b[0m\n")
    assert told == ["3/4 RUN make && make install", "3/4  ---> Running in 1", "3/4 cc: warning"]
    assert log.getvalue().splitlines() == ["Step 3/4 : RUN make && make install", " ---> Running in 1", "cc: warning"]


def test_buildkits_lines_are_folded_too() -> None:
    told: list[str] = []
    output = Output(StringIO(), told.append)
    output.write("#7 [build 2/3] RUN make\n#7 0.312 cc -c a.c\n")
    assert told == ["build 2/3 RUN make", "build #7 0.312 cc -c a.c"]


def test_what_failed_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(DOCKERFILE)
    output = Output(StringIO(), lambda line: None)
    output.write("Step 2/4 : FROM ${BASE} AS build\nold\nStep 3/4 : RUN make && make install\nno rule\n")
    told = StepFailed("returned a non-zero code: 2").told(path, output)
    assert told.splitlines() == [
        "Dockerfile:5 >>> RUN make && make install",
        "no rule",
        "returned a non-zero code: 2",
    ]


FAILED = """\
#5 [build 3/4] RUN make && make install
#5 0.077 no rule
#5 ERROR: exit code: 2
------
 > [build 3/4] RUN make && make install:
0.077 no rule
------
"""


@pytest.mark.parametrize(
    ("output", "place"),
    [
        (FAILED, ["Dockerfile:5 >>> RUN make && make install"]),
        (f"{FAILED}   5 | >>> RUN make && make install\n", []),  # a newer BuildKit
    ],
)
def test_buildkits_failure_has_its_place_once(tmp_path: Path, output: str, place: list[str]) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(DOCKERFILE)
    written = Output(StringIO(), lambda line: None)
    written.write(output)
    told = StepFailed("").told(path, written).splitlines()
    assert [line for line in told if line.startswith("Dockerfile:")] == place
    assert "0.077 no rule" in told


def test_a_dockerfile_that_is_refused_as_a_whole_has_no_place(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FORM x\n")
    told = StepFailed("unknown instruction: FORM").told(path, Output(StringIO(), lambda line: None))
    assert told == "unknown instruction: FORM"
