"""Book rows: at every change, or at the instants of a grid on the receive clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from kraken_l3.engine.columns import RowColumns
from kraken_l3.engine.port import MAX_GRID_STEP, Columns, RowOptions
from kraken_l3.engine.symbol import SymbolBook

__all__ = ["BookRows"]


class BookRows:
    """The receive clock (the running maximum of what it was told), and the rows due so far."""

    def __init__(self, options: RowOptions) -> None:
        self._options = options
        self._columns = RowColumns()
        self._clock_ns: Optional[int] = None
        self._next_instant = 0

    def take(self) -> Columns:
        """The rows since the last call."""
        return self._columns.take()

    def after_message(self, entry: SymbolBook) -> None:
        """A message was applied to this book: without a grid, that makes a row if it changed what a row shows."""
        if self._options.grid_ns is not None:
            return
        top = entry.top(self._options.levels)
        if top != entry.last_top:
            entry.last_top = top
            self._append(entry, entry.last_msg_ns if self._clock_ns is None else self._clock_ns, top)

    def after_load(self, entry: SymbolBook) -> None:
        """A book was taken in that no line brought."""
        entry.last_top = entry.top(self._options.levels)
        at_ns = entry.last_msg_ns if self._clock_ns is None else self._clock_ns
        self._columns.append(entry.index, at_ns, entry.last_msg_ns, -1, entry.last_verdict, entry.last_top)

    def tick(self, recv_ns: int, books: Iterable[SymbolBook]) -> None:
        """The receive clock runs on: show the grid instants that it passes, before the line at `recv_ns`."""
        grid_ns = self._options.grid_ns
        if self._clock_ns is None:
            self._clock_ns = recv_ns
            if grid_ns is not None:
                self._next_instant = -(-recv_ns // grid_ns) * grid_ns
            return
        if recv_ns <= self._clock_ns:
            return
        self._clock_ns = recv_ns
        if grid_ns is None or recv_ns <= self._next_instant:
            return
        due = -(-(recv_ns - self._next_instant) // grid_ns)
        # One wrong receive time, years ahead, would otherwise fill the memory with copies of one row.
        if due <= MAX_GRID_STEP:
            shown = [(entry, entry.top(self._options.levels)) for entry in books if entry.book is not None]
            for step in range(due):
                for entry, top in shown:
                    self._append(entry, self._next_instant + step * grid_ns, top)
        self._next_instant += due * grid_ns

    def _append(self, entry: SymbolBook, at_ns: int, top: tuple[Sequence[int], ...]) -> None:
        if self._options.orders:
            top += entry.order_counts(self._options.levels)
        self._columns.append(entry.index, at_ns, entry.last_msg_ns, entry.last_line, entry.last_verdict, top)
