"""The commands of README.md and docs/ are found as they stand there, run, and held to what is written of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import pages
from tests.pages import Printed, matches

PAGE = """\
Text, and `code`.

<!-- not run: it needs a registry -->
```console
$ docker login registry.example
```

```yaml
a: "$ this is no command"
```

1. In a list:

   <!-- before: touch made -->
   ```console
   $ ls \\
       made
   made
   $ false
   $ echo $?
   1
   ```
"""


def written(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def done(tmp_path: Path, text: str) -> list[str]:
    """The faults of the only block of a page, which is run."""
    [block] = pages.blocks(written(tmp_path, text))
    return pages.faults(block, pages.run(block, tmp_path, os.environ))


def test_blocks_are_found_with_their_commands_notes_and_places(tmp_path: Path) -> None:
    first, second = pages.blocks(written(tmp_path, PAGE))

    assert (first.reason, first.line, first.before) == ("it needs a registry", 4, ())
    assert [command.text for command in first.commands] == ["docker login registry.example"]
    assert (second.reason, second.before, str(second)) == ("", ("touch made",), "page.md:15")
    assert [(c.text, c.output, c.line) for c in second.commands] == [
        ("ls \\\n    made", ("made",), 16),
        ("false", (), 19),
        ("echo $?", ("1",), 20),
    ]


@pytest.mark.parametrize(
    "text", ["```sh\nls\n```\n", "```console\nls\n```\n", "Text:\n\n    $ ls\n"], ids=["sh", "no prompt", "indented"]
)
def test_a_command_that_nobody_would_run_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:\d"):
        pages.blocks(written(tmp_path, text))


def test_a_block_that_says_what_happens_has_no_faults(tmp_path: Path) -> None:
    [_, block] = pages.blocks(written(tmp_path, PAGE))

    assert pages.faults(block, pages.run(block, tmp_path, os.environ)) == []


def test_another_output_than_the_written_one_is_a_fault_that_shows_both(tmp_path: Path) -> None:
    [fault] = done(tmp_path, "```console\n$ echo found\nwritten\n```\n")

    assert "page.md:2: $ echo found" in fault
    assert "    found\n" in fault
    assert "    written" in fault


def test_a_failure_is_a_fault_unless_the_page_shows_its_exit_code(tmp_path: Path) -> None:
    assert "ended with 3" in done(tmp_path, "```console\n$ echo no; (exit 3)\n```\n")[0]
    assert done(tmp_path, "```console\n$ (exit 3)\n$ echo $?\n3\n```\n") == []
    assert len(done(tmp_path, "```console\n$ (exit 3)\n$ echo $?\n4\n```\n")) == 1


def test_commands_of_a_block_share_a_shell(tmp_path: Path) -> None:
    assert done(tmp_path, "```console\n$ cd /; word=same\n$ echo $word $PWD\nsame /\n```\n") == []


def test_a_shell_that_ends_early_is_told(tmp_path: Path) -> None:
    [block] = pages.blocks(written(tmp_path, "```console\n$ exit 0\n$ echo never\nnever\n```\n"))

    with pytest.raises(ValueError, match="before all commands"):
        pages.run(block, tmp_path, os.environ)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["ok  roll out   6.2 s  2 of 2"], ["ok roll out 13.0 s 2 of 2"]),
        (["300 requests, 0 lost, longest gap 164 ms"], ["9 requests, 0 lost, longest gap <1 ms"]),
        (["2026-11-23 09:08:58 UTC by ann, commit 26cfadb4e"], ["2027-01-02 03:04:05 UTC by ann, commit 0123456ab+"]),
        (["pod flask-hello-68b758fbb4-kzlrz"], ["pod flask-hello-5d4f6b7c89-abcde"]),
        (["http://192.168.49.2:31181"], ["http://10.0.0.1:30001"]),
        (["first", "...", "last"], ["first", "a", "b", "last"]),
        (["first", "...", "last"], ["first", "last"]),
        (["a ... z"], ["a b c z"]),
        ([], ["whatever"]),
        (["..."], []),
    ],
)
def test_what_no_two_runs_have_the_same_need_not_be_the_same(expected: list[str], printed: list[str]) -> None:
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["2 of 2 updated"], ["1 of 2 updated"]),
        (["300 requests, 0 lost"], ["300 requests, 3 lost"]),
        (["dev: revision 1 -> 2"], ["dev: revision 2 -> 3"]),
        (["first", "last"], ["first", "more", "last"]),
        (["first", "..."], ["other", "first"]),
        (["a ... z"], ["a b"]),
    ],
)
def test_what_matters_has_to_be_the_same(expected: list[str], printed: list[str]) -> None:
    assert not matches(expected, printed)


def test_what_the_reader_would_see_is_compared(tmp_path: Path) -> None:
    [block] = pages.blocks(written(tmp_path, "```console\n$ echo test-0a1b\nflask-hello-dev\n```\n"))
    printed = (Printed(("test-0a1b",), 0),)

    assert pages.faults(block, printed)
    assert not pages.faults(block, printed, lambda line: line.replace("test-0a1b", "flask-hello-dev"))
