"""Templates as text: marks, named templates, what is left to chance."""

from __future__ import annotations

from textwrap import dedent

import pytest

from releaser.templates import TemplateLine, definitions, included, marked, silent, steadied, unmarked, without, writer

FILES = {
    "templates/a.yaml": dedent(
        """\
        {{- /* not a line
        of its own */ -}}
        {{- define "own" }}
        x: 1
        {{- end }}
        kind: A
        labels:
          {{- include "labels" . | nindent 2 }}
        joined: {{ .x -}}

        text: |
          {{ printf "a }} b"
             .y }}
          more
        ---
        """
    ),
    "templates/_h.tpl": '{{- define "labels" -}}\na: b\n{{- if .c }}\nc: d\n{{- end }}\n{{- end -}}\n{{ .other }}\n',
}


def marks(name: str, **more: bool) -> set[int]:
    inside = [definitions(FILES)["labels"]] if more else []
    lines = marked(FILES, "templates/a.yaml", inside).get(name, "").splitlines()
    return {number for number, line in enumerate(lines, 1) if f"#@{name}:{number}@" in line}


def test_marks_stand_only_where_a_line_ends_in_the_manifest_too() -> None:
    assert marks("templates/a.yaml") == {6, 7, 8, 11, 13, 14}


def test_helpers_bear_marks_only_when_asked_for() -> None:
    assert marks("templates/_h.tpl") == set()
    assert marks("templates/_h.tpl", helpers=True) == {2, 3, 4, 5}


def test_marks_leave_no_trace() -> None:
    for name, text in marked(FILES, "templates/a.yaml", list(definitions(FILES).values())).items():
        assert unmarked(text) == FILES[name]


def test_definitions_end_with_their_own_end() -> None:
    found = {name: (each.file, each.first, each.last) for name, each in definitions(FILES).items()}
    assert found == {"own": ("templates/a.yaml", 3, 5), "labels": ("templates/_h.tpl", 1, 6)}


def test_included_helpers_are_found() -> None:
    assert included('{{ include "a.b" . | f }}: {{ template "c" }} {{ .Values.include }}') == ("a.b", "c")


def test_a_line_is_written_by_the_first_mark_at_or_below_it() -> None:
    lines = ["a: #@t:1@", "  b: 1", "  c: 2 #@t:2@ #@t:9@", "d: 3"]
    assert [writer(lines, index) for index in range(4)] == [
        TemplateLine("t", 1),
        TemplateLine("t", 2),
        TemplateLine("t", 2),
        None,
    ]


def test_chance_and_guards_are_taken_out_and_texts_left_alone() -> None:
    text = '{{ randAlphaNum 32 | b64enc }}{{ fail "it can fail" }} fail {{ .Values.fail }}{{ $fail }}{{/* fail */}}'
    assert steadied(text) == (
        '{{ printf "%v" 32 | b64enc }}{{ trunc 0 "it can fail" }} fail {{ .Values.fail }}{{ $fail }}{{/* fail */}}'
    )


@pytest.mark.parametrize(
    ("line", "silent_"),
    [
        ("{{- if .x }}", True),
        ("  {{- end }}{{/* of x */}}", True),
        ('{{- $names := append $names "x" }}', True),
        ("{{- else }}x", False),
        ("{{ .x }}", False),
        ("{{- $x }}", False),
        ("{{- toYaml .x | nindent 2 }}", False),
        ("{{- endless }}", False),
    ],
)
def test_a_line_that_only_steers_writes_nothing(line: str, silent_: bool) -> None:
    assert silent(line) is silent_


def test_a_line_is_taken_out_without_moving_others() -> None:
    assert without("a\nb\nc", 2) == "a\n\nc"
