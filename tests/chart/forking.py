"""Runs pytest again and again, each time in a fork of one process that has loaded what is slow to load.

A line of JSON is read for each run, {"chart": DIRECTORY, "arguments": [...]}, and one is written,
{"status": pytest's, or None when it didn't end; "failed": the first test that failed; "output": what it printed}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from typing import IO

# Not what reads CHART_DIRECTORY: that comes with each fork.
import kubernetes.client  # noqa: F401
import pytest
import requests  # noqa: F401
import yaml  # noqa: F401

_DEADLINE_SECONDS = 900


class _Failed:
    """A plug-in that keeps the first test that failed."""

    first = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.first:
            self.first = report.nodeid


def _run(chart: str, arguments: list[str], output: IO[str]) -> dict[str, object]:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(_DEADLINE_SECONDS)
        os.environ["CHART_DIRECTORY"] = chart
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        failed = _Failed()
        status = pytest.main(arguments, plugins=[failed])
        os.write(write, json.dumps({"status": int(status), "failed": failed.first}).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        said = told.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else {"status": None, "failed": ""}


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryFile("w+") as output:
            answer = _run(order["chart"], order["arguments"], output)
            output.seek(0)
            print(json.dumps({**answer, "output": output.read()[-4000:]}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
