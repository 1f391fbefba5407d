"""The command line as users meet it: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def releaser(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "releaser", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["deploy"], 2, "Missing argument"),
        (["deplyo", "dev"], 2, "No such command"),
        (["deploy", "prd"], 2, 'did you mean "prod"?'),
        (["logs", "dev", "--lines", "0"], 2, "--lines"),
        (["verify", "dev", "pod-delet"], 2, 'did you mean "pod-delete"?'),
        (["verify", "dev", "--budget", "-1"], 2, "--budget"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(root: Path, arguments: list[str], code: int, words: str) -> None:
    finished = releaser("--project", str(root), *arguments)
    assert finished.returncode == code
    assert words in finished.stderr
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr


def test_the_experiments_are_listed_without_a_cluster_at_80_columns(root: Path) -> None:
    finished = releaser("--project", str(root), "verify", "dev", "--list")
    assert finished.returncode == 0
    lines = finished.stdout.splitlines()
    assert "process-kill  about 20 s" in lines
    assert all(len(line) <= 80 for line in lines)
    listed = json.loads(releaser("--project", str(root), "--output", "json", "verify", "dev", "dns", "--list").stdout)
    assert [each["name"] for each in listed["promises"]] == ["dns"]


def test_a_mistake_in_releaser_yaml_is_invalid_input(root: Path) -> None:
    (root / "releaser.yaml").write_text("relaese: web\n")
    finished = releaser("--project", str(root), "lint")
    assert finished.returncode == 3
    assert "releaser.yaml:1:1" in finished.stderr


def test_another_context_than_the_environments_own_is_refused(root: Path) -> None:
    finished = releaser("--project", str(root), "deploy", "dev", "--context", "elsewhere")
    assert finished.returncode == 4
    assert 'context "fake", not to "elsewhere"' in finished.stderr


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ("kubernetes", "docker", "pyhelm3", "pydantic", "yamale", "yamllint", "requests", "rich")
    for option in ("--help", "--version"):
        code = (
            "import sys; sys.argv = ['releaser', sys.argv[1]]\n"
            "from releaser.cli import run\n"
            "run()\n"
            f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
        )
        finished = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
        assert finished.stderr.splitlines()[-1] == "[]", option


def test_every_command_has_one_line_of_help() -> None:
    listing = releaser("--help").stdout.partition("Commands:")[2].strip().splitlines()
    names = [line.split()[0] for line in listing]
    assert names == [
        *(
            "doctor",
            "up",
            "down",
            "build",
            "load",
            "lint",
            "package",
            "push",
            "plan",
            "deploy",
            "dev",
            "promote",
            "rollback",
        ),
        *("drift", "why", "verify", "status", "history", "logs", "open", "prune", "destroy"),
    ]
    assert not any(line.endswith("...") for line in listing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_with_130_and_one_line(root: Path, number: signal.Signals) -> None:
    code = (
        "import threading, releaser.cli as cli\n"
        "@cli.app.command()\n"
        "def wait() -> None:\n"
        "    print('ready', flush=True)\n"
        "    threading.Event().wait()\n"
        "import sys; sys.argv = ['releaser', 'wait']\n"
        "cli.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.splitlines() == ["interrupted; `releaser status ENV` shows what is there"]
