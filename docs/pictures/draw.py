"""Draws docs/pictures/*.d2 as SVG, each beside its text: `make pictures`.

D2 is built from the Go modules that go.mod here pins. A picture bears the hash of the text that it was drawn from, by
which a test sees one that was forgotten.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
_OPTIONS = ("--layout", "dagre", "--theme", "0", "--pad", "12", "--no-xml-tag")
_DEADLINE_SECONDS = 1800


def mark(text: str) -> str:
    """What a picture of this text ends with."""
    return f"<!-- drawn from {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def svg(text: str) -> str:
    """Raises CalledProcessError when D2 refuses the text; it has told why on stderr."""
    finished = subprocess.run(
        ["go", "tool", "d2", *_OPTIONS, "-", "-"],
        cwd=HERE,
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_DEADLINE_SECONDS,
    )
    return f"{finished.stdout.rstrip()}\n{mark(text)}"


def main() -> None:
    for source in sorted(HERE.glob("*.d2")):
        picture = source.with_suffix(".svg")
        picture.write_text(svg(source.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"{picture.relative_to(HERE.parents[1])}")


if __name__ == "__main__":
    main()
