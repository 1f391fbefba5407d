"""Brings what was measured into docs/: `python -m bench.tables [--check]`.

A document says where a figure belongs:

    <!-- bench:platforms/start --> ... <!-- /bench -->

and between the two stands what bench/results/platforms.json gives: a table on lines of its own, or a few words within
a line. Every table ends with a link to that file, which holds the raw figures, date, machine and versions; words are a
link themselves. Where the file isn't there yet, the place says which command makes it. With --check nothing is written,
and exit code 1 says that a document is not what the results give.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import verify
from bench.platforms import tables as platforms
from bench.record import RESULTS, ROOT

Document = Mapping[str, Any]

TABLES: dict[str, Mapping[str, Callable[[Document], str]]] = {
    "platforms": platforms.TABLES,
    "verify": verify.TABLES,
}
COMMANDS = {result: f"python -m bench.{result}" for result in TABLES}
_PLACE = re.compile(r"(<!-- bench:(?P<result>[a-z]+)/(?P<figure>[a-z-]+) -->)(?P<now>.*?)(<!-- /bench -->)", re.DOTALL)


def filled(text: str, results: Path, way: str) -> str:
    """The document's text with every place filled; `way` leads from the document to `results`.

    Raises KeyError for a place that names no known figure.
    """

    def fill(place: re.Match[str]) -> str:
        result, figure = place["result"], place["figure"]
        render = TABLES[result][figure]
        file = results / f"{result}.json"
        if not file.exists():
            said = f"(not measured yet: `{COMMANDS[result]}`)"
            return f"{place[1]}{said}{place[5]}"
        document = json.loads(file.read_text(encoding="utf-8"))
        said, target = render(document), f"{way}/{result}.json"
        if "\n" not in said:
            return f"{place[1]}[{said}]({target}){place[5]}"
        return f"{place[1]}\n\n{said}\n\n{run_line(document, target)}\n\n{place[5]}"

    return _PLACE.sub(fill, text)


def run_line(document: Document, target: str) -> str:
    """Where a table's figures come from, for below it."""
    machine, versions = document["machine"], document["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    load = machine["load_1_5_15"][0]
    return (
        f"*[The run]({target}) of {document['date'][:16].replace('T', ' ')} UTC: {machine['cores']} cores, {memory}, "
        f"load {load:.1f} at its start; {named}.*"
    )


def shown(result: str, figure: str, document: Document) -> str:
    return TABLES[result][figure](document)


def documents() -> list[Path]:
    """All that may have places."""
    return [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def link(document: Path) -> str:
    """The way from the document to the results."""
    return "bench/results" if document.parent == ROOT else "../bench/results"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something would change")
    options = parser.parse_args(argv)
    stale = False
    for path in documents():
        text = path.read_text(encoding="utf-8")
        now = filled(text, RESULTS, link(path))
        if now == text:
            continue
        stale = True
        print(f"{path.relative_to(ROOT)}: {'is not what the results give' if options.check else 'brought up to date'}")
        if not options.check:
            path.write_text(now, encoding="utf-8")
    return int(stale and options.check)


if __name__ == "__main__":
    sys.exit(main())
