"""Makes demo.svg: runs `kraken-l3 demo` in a terminal of its own and draws what it printed. `make picture` runs it."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 80
#: The picture must not fetch a font from elsewhere.
FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
WEB_FONT = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)


def run_in_terminal(command: list[str], directory: str) -> str:
    """What the command prints to a terminal of `COLUMNS` columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (100, COLUMNS))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment, cwd=directory)
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(ours, 65536):
            output += piece
    except OSError:  # Linux's way to say that the other end is closed
        pass
    if process.wait() != 0:
        raise SystemExit("the demo failed; run it to see why: kraken-l3 demo")
    return output.decode().replace("\r\n", "\n")


def draw(text: str, path: Path) -> None:
    """An SVG of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("[bold]$ make demo[/]")
    console.print(Text.from_ansi(text.rstrip("\n")))
    svg = WEB_FONT.sub("", console.export_svg(title="Kraken L3 recorder"))
    path.write_text(
        svg.replace("Fira Code, monospace", FONTS).replace("font-family: Fira Code", f"font-family: {FONTS}")
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        printed = run_in_terminal([sys.executable, "-m", "kraken_l3", "demo"], place)
    draw(printed, Path(__file__).with_name("demo.svg"))
