"""What all commands share on the screen: plain text, plain tables, progress bars, sizes.

Symbols, file names and messages come from strangers: they reach the terminal through `plain`, here and nowhere else.
Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional, TextIO

import click

from kraken_l3.cli.command import colours
from kraken_l3.monitor.units import size

__all__ = ["Screen", "Table", "number", "plain", "print_error", "progress", "size", "stoppable"]

#: Longer cells are shortened: a symbol of 100,000 characters is nothing to read, and must not hide the rest.
MOST_CELL_CHARACTERS = 200
#: Names of files and symbols up to this are not folded.
LONGEST_NAME = 40
#: Between columns.
_GAP = 2
#: A folded column is not made narrower.
_NARROWEST = 8
#: Less is read before a bar could be seen.
_LEAST_BYTES_FOR_A_BAR = 16 * 1024 * 1024


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


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for each wide character."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _wrap(text: str, width: int, *, break_long_words: bool = True) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, break_long_words=break_long_words, break_on_hyphens=False) or [""]


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

    def lines(self, width: Optional[int]) -> Iterator[tuple[str, str]]:
        """Its lines, each with its style.

        Args:
            width: of the terminal; None where a row may be as long as it is. A table that cannot be made narrow
                enough is wider: the terminal breaks its lines, so that nothing is cut.
        """
        used = [index for index in range(len(self._columns)) if any(cells[index] for cells, _ in self._rows)]
        widths = self._widths(used, width)
        if self._title:
            yield plain(self._title), "bold"
        headings = [heading.lstrip(">") for heading in self._columns]
        for cells, style in [(headings, "bold"), *self._rows]:
            folded = [_wrap(cells[at], widths[at]) if _columns(cells[at]) > widths[at] else [cells[at]] for at in used]
            for line in range(max(map(len, folded), default=0)):
                parts = [part[line] if line < len(part) else "" for part in folded]
                yield (" " * _GAP).join(self._aligned(at, part, widths[at]) for at, part in zip(used, parts)), style

    def _aligned(self, at: int, text: str, width: int) -> str:
        blanks = " " * (width - _columns(text))
        return blanks + text if self._columns[at].startswith(">") else text + blanks

    def _widths(self, used: list[int], most: Optional[int]) -> dict[int, int]:
        rows = [list(self._columns), *(cells for cells, _ in self._rows)]
        widths = {at: max(_columns(cells[at].lstrip(">")) for cells in rows) for at in used}
        if most is None:
            return widths
        # A folded cell can be read, a cut one cannot. Numbers and names are folded nowhere but between words.
        folding = [at for at in used if not self._is_whole(at)]
        too_many = sum(widths.values()) + _GAP * (len(used) - 1) - most
        while too_many > 0 and folding:
            widest = max(folding, key=lambda at: widths[at])
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
            too_many -= 1
        return widths

    def _is_whole(self, at: int) -> bool:
        is_number = self._columns[at].startswith(">")
        return is_number or all(" " not in cells[at] and len(cells[at]) <= LONGEST_NAME for cells, _ in self._rows)


class Screen:
    """Where results for people go: stdout by default.

    Args:
        file: another file.
        width: columns of its terminal; None asks the terminal. A file that is none has no width.
    """

    def __init__(self, file: Optional[TextIO] = None, *, width: Optional[int] = None) -> None:
        self._file = file if file is not None else sys.stdout
        if width is None and self._file.isatty():
            from shutil import get_terminal_size

            width = get_terminal_size().columns
        self._width = width

    def line(self, text: str = "", style: str = "") -> None:
        """A paragraph: broken between words on a terminal, one line in a file or a pipe."""
        for line in plain(text, lines=True).split("\n"):
            is_short = self._width is None or _columns(line) <= self._width
            for part in [line] if is_short else _wrap(line, self._width or 0, break_long_words=False):
                self._print(part, style)

    def table(self, table: Table) -> None:
        """A table."""
        for line, style in table.lines(self._width):
            self._print(line.rstrip(), style)

    def _print(self, text: str, style: str) -> None:
        words = style.split()
        if words and text:
            colour = next((word for word in words if word not in ("bold", "dim")), None)
            text = click.style(text, fg=colour, bold="bold" in words or None, dim="dim" in words or None)
        click.echo(text, file=self._file, color=colours())


def print_error(text: str) -> None:
    """A line on stderr that says what went wrong."""
    Screen(sys.stderr).line(text, "red")


@contextmanager
def progress(what: str, total: Optional[int]) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that counts bytes, on a terminal only.

    Args:
        what: the word before the bar.
        total: bytes in all, None if nobody knows; for little there is no bar.

    Yields:
        A function to call with the number of bytes done since the last call.
    """
    if not sys.stderr.isatty() or (total is not None and total < _LEAST_BYTES_FOR_A_BAR):
        yield lambda _count: None
        return
    from rich import progress as rich  # only here: importing it takes longer than most commands
    from rich.console import Console

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn())
    with rich.Progress(
        *columns, rich.TransferSpeedColumn(), rich.TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def stoppable(step: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Let Ctrl+C, SIGTERM and hangup stop work between two steps, where it can clear away what is half done.

    An exception out of the middle of a step could leave a file that nobody knows of. A second signal does not wait.

    Yields:
        `step`, which raises KeyboardInterrupt once a signal has come.
    """
    import signal

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
