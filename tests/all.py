"""All tests, in two runs side by side: `python -m tests.all [PYTEST OPTIONS]`.

The tests on the cluster wait for pods most of the time; meanwhile those that need no cluster use the processor. What
the second run writes is shown when it has ended.
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
# No test at all for a run, such as with -k, is no failure of the other.
_NOTHING_RUN = 5


def main(options: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="tests-") as name, (Path(name) / "beside.log").open("w+") as log:
        beside = _start("not cluster", options, Path(name) / "beside", log)
        try:
            code = _start("cluster", options, Path(name) / "cluster", None).wait()
            beside_code = beside.wait()
        except KeyboardInterrupt:
            beside.send_signal(signal.SIGINT)
            beside.wait()
            return 130
        log.seek(0)
        sys.stdout.write(f"\nwithout a cluster, meanwhile:\n{log.read()}")
    codes = {0 if each == _NOTHING_RUN else each for each in (code, beside_code)}
    return max(codes, key=abs)


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
