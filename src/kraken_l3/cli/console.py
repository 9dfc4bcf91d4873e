"""What all commands share on the screen: plain text, plain tables, progress bars, sizes.

Symbols, file names and messages come from strangers. They reach the terminal through `plain` and as `rich.Text`, never
as markup: here and nowhere else. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table as RichTable
from rich.text import Text

from kraken_l3.monitor.units import size

__all__ = ["Screen", "Table", "number", "plain", "print_error", "progress", "size", "stoppable"]

#: Longer cells are shortened: a symbol of 100,000 characters is nothing to read, and must not hide the rest.
MOST_CELL_CHARACTERS = 200
#: Names of files and symbols up to this are not folded.
LONGEST_NAME = 40


def plain(text: str, *, lines: bool = False) -> str:
    """Text that is safe to print: control characters, terminal escapes, lone surrogates and the like as escapes.

    Args:
        text: anything.
        lines: keep line breaks.
    """
    if text.isprintable():
        return text
    kept = "\n" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def number(count: int) -> str:
    """A count with thousands separators; nothing for 0, so that a column without counts is left out."""
    return f"{count:,}" if count else ""


class Table:
    """Plain columns without lines. A column in which every cell is empty is left out.

    Args:
        columns: the headings; a ">" before one aligns its column to the right.
        title: a line above it.
    """

    def __init__(self, *columns: str, title: str = "") -> None:
        self._columns = columns
        self._title = title
        self._rows: list[tuple[list[str], str]] = []

    def add(self, *cells: str, style: str = "") -> None:
        """One more row; cells that are not given are empty."""
        safe = [plain(cell) for cell in cells]
        long = MOST_CELL_CHARACTERS
        shown = [cell if len(cell) <= long else f"{cell[:long]}... ({len(cell):,} characters)" for cell in safe]
        self._rows.append((shown + [""] * (len(self._columns) - len(shown)), style))

    def render(self) -> RichTable:
        """As rich prints it."""
        title = Text(plain(self._title), style="bold") if self._title else None
        table = RichTable(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        used = [index for index in range(len(self._columns)) if any(cells[index] for cells, _ in self._rows)]
        for index in used:
            right = self._columns[index].startswith(">")
            # A folded cell can be read, a cut one cannot. Numbers and names are folded nowhere but between words.
            whole = all(" " not in cells[index] and len(cells[index]) <= LONGEST_NAME for cells, _ in self._rows)
            heading, justify = self._columns[index].lstrip(">"), "right" if right else "left"
            table.add_column(heading, justify=justify, overflow="fold", no_wrap=right or whole)  # type: ignore[arg-type]
        for cells, style in self._rows:
            table.add_row(*(Text(cells[index]) for index in used), style=style)
        return table


class Screen:
    """Where results for people go: stdout by default."""

    def __init__(self, console: Optional[Console] = None) -> None:
        self._console = console if console is not None else Console(highlight=False)
        self._is_terminal = self._console.is_terminal

    def line(self, text: str = "", style: str = "") -> None:
        """A paragraph: broken between words on a terminal, one line in a file or a pipe."""
        self._console.print(Text(plain(text, lines=True), style=style), soft_wrap=not self._is_terminal)

    def table(self, table: Table) -> None:
        """A table; where it cannot be made narrow enough the terminal breaks its lines, so that nothing is cut."""
        rendered = table.render()
        wanted = Measurement.get(self._console, self._console.options.update(max_width=10_000), rendered)
        own = self._console.width
        self._console.width = max(own, wanted.minimum) if self._is_terminal else wanted.maximum
        self._console.print(rendered)
        self._console.width = own


def print_error(text: str) -> None:
    """A line on stderr that says what went wrong."""
    console = Console(stderr=True)
    console.print(Text(plain(text, lines=True), style="red"), soft_wrap=not console.is_terminal)


@contextmanager
def progress(what: str, total: Optional[int]) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that counts bytes, on a terminal only.

    Args:
        what: the word before the bar.
        total: bytes in all, None if nobody knows.

    Yields:
        A function to call with the number of bytes done since the last call.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def stoppable(step: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Let Ctrl+C, SIGTERM and hangup stop work between two steps, where it can clear away what is half done.

    An exception out of the middle of a step could leave a file that nobody knows of. A second signal does not wait.

    Yields:
        `step`, which raises KeyboardInterrupt once a signal has come.
    """
    asked = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def step_or_stop(count: int) -> None:
        if asked:
            raise KeyboardInterrupt
        step(count)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # what is ignored (nohup) stays ignored
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield step_or_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
