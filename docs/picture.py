"""Draws what a terminal shows of a real command: `python docs/picture.py FILE.svg COMMAND...`.

The command runs in a pseudo terminal of 100 columns; pyte reads its output as a terminal does, Rich draws the screen.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import sys
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

COLUMNS, LINES = 100, 60
NAMED = {"brown": "yellow", "default": ""}


def screen_after(command: list[str]) -> tuple[pyte.Screen, int]:
    """The screen when the command has ended, and its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            output = os.read(terminal, 65536)
        except OSError:  # the terminal is closed with its last process
            break
        if not output:
            break
        stream.feed(output)
    return screen, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def line_of(screen: pyte.Screen, number: int) -> Text:
    line = Text()
    for column in range(COLUMNS):
        cell = screen.buffer[number][column]
        colour = NAMED.get(cell.fg, cell.fg)
        colour = f"#{colour}" if len(colour) == 6 and all(c in "0123456789abcdef" for c in colour) else colour
        line.append(cell.data, style=" ".join(filter(None, ["bold" if cell.bold else "", colour])))
    line.rstrip()
    return line


def main() -> None:
    target, command = Path(sys.argv[1]), sys.argv[2:]
    screen, code = screen_after(command)
    lines = [line_of(screen, number) for number in range(LINES)]
    while lines and not lines[-1].plain:
        lines.pop()
    shown = shlex.join([Path(command[0]).name, *command[1:]])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ {shown}", style="bold"))
    for line in lines:
        console.print(line)
    svg = console.export_svg(title="releaser")
    # Rich names fonts of a host on the net; the picture must look the same without it
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code, monospace", "monospace")
    target.write_text(svg, encoding="utf-8")
    print(f"{target}: {len(lines)} lines of `{shown}`, exit code {code}")


if __name__ == "__main__":
    main()
