"""How long the command line takes before it does anything: `python bench/startup.py [RUNS]`.

Prints, for --version and --help, the imports' own time (python -X importtime, summed) and the whole process, in
milliseconds: minimum, median, maximum. The goal is 250 ms on an idle machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def one_run(option: str) -> tuple[float, float]:
    """(milliseconds of imports, milliseconds of the process)"""
    started = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "releaser", option], capture_output=True, text=True, check=True
    )
    whole = (time.perf_counter() - started) * 1000
    lines = [line.split("|") for line in finished.stderr.splitlines() if line.startswith("import time:")]
    own = sum(int(line[0].removeprefix("import time:")) for line in lines if "self" not in line[0])
    return own / 1000, whole


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for option in ("--version", "--help"):
        measured = [one_run(option) for _ in range(runs)]
        for name, column in (("imports", 0), ("process", 1)):
            figures = [run[column] for run in measured]
            low, middle, high = min(figures), statistics.median(figures), max(figures)
            print(
                f"releaser {option:<10} {name}  min {low:6.1f}  median {middle:6.1f}  max {high:6.1f} ms ({runs} runs)"
            )


if __name__ == "__main__":
    main()
