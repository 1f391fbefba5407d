"""All tests, in runs side by side: `python -m tests.all [PYTEST OPTIONS]`.

The tests on the cluster wait for pods most of the time: so two modules of them run at once, and those that need no
cluster use the processor meanwhile. What the latter write is shown when they have ended. At the end come, one by one,
the tests that would be in the way of all others on the cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

_PYTEST = (sys.executable, "-m", "pytest")
_TOGETHER = ("-n", "2", "--dist", "loadscope")
# No test at all for a run, such as with -k, is no failure of the others.
_NOTHING_RUN = 5


def main(options: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="tests-") as name, (Path(name) / "beside.log").open("w+") as log:
        beside = _start("not cluster", options, Path(name) / "beside", log)
        try:
            codes = [
                _start("cluster and not alone", [*_TOGETHER, *options], Path(name) / "cluster", None).wait(),
                _start("cluster and alone", options, Path(name) / "alone", None).wait(),
                beside.wait(),
            ]
        except KeyboardInterrupt:
            beside.send_signal(signal.SIGINT)
            beside.wait()
            return 130
        log.seek(0)
        sys.stdout.write(f"\nwithout a cluster, meanwhile:\n{log.read()}")
    return max({0 if each == _NOTHING_RUN else each for each in codes}, key=abs)


def _start(marked: str, options: list[str], temporary: Path, log: IO[str] | None) -> subprocess.Popen[bytes]:
    """Each run cleans up its own directory: two that share one get into each other's way."""
    temporary.mkdir()
    return subprocess.Popen(
        [*_PYTEST, "-m", marked, *options],
        env=os.environ | {"PYTEST_DEBUG_TEMPROOT": str(temporary)},
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
