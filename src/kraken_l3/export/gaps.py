"""When a symbol's data is missing, as the journal of a day tells it."""

from __future__ import annotations

import datetime as dt
from typing import Any, Optional

import numpy as np

from kraken_l3.archive.journal import GapClosed, GapOpened
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive

__all__ = ["Gaps"]

_NEVER = (1 << 63) - 1


class Gaps:
    """The level3 gaps of a day; without a journal there are none known.

    A gap lies strictly between its edges: the last moment known good still is, and so is that of the new snapshot.
    """

    def __init__(self, archive: Optional[Archive] = None, day: Optional[dt.date] = None) -> None:
        self._edges: dict[str, list[tuple[int, int]]] = {}
        opened: dict[str, int] = {}
        for record in archive.journal(day) if archive is not None and day is not None else ():
            if isinstance(record, GapOpened) and record.channel == Stream.LEVEL3.value:
                opened.setdefault(record.symbol, record.left_ns)
            elif isinstance(record, GapClosed) and record.channel == Stream.LEVEL3.value:
                left_ns = min(opened.pop(record.symbol, record.left_ns), record.left_ns)
                self._edges.setdefault(record.symbol, []).append((left_ns, record.right_ns))
        for symbol, left_ns in opened.items():
            self._edges.setdefault(symbol, []).append((left_ns, _NEVER))

    def over(self, symbol: str, times: Any) -> Any:
        """Which of the times lie over a gap of the symbol."""
        over = np.zeros(len(times), bool)
        for left_ns, right_ns in self._edges.get(symbol, ()):
            over |= (times > left_ns) & (times < right_ns)
        return over

    def of(self, symbol: str) -> list[tuple[int, int]]:
        """(left, right) of each gap in the order they were closed; one that is open has a right edge of 2**63 - 1."""
        return list(self._edges.get(symbol, ()))

    def edges(self, *, before_ns: int) -> dict[str, list[tuple[int, int]]]:
        """(left, right) by symbol of the gaps that begin before a moment, cut there."""
        found = {
            symbol: [(left_ns, min(right_ns, before_ns)) for left_ns, right_ns in edges if left_ns < before_ns]
            for symbol, edges in sorted(self._edges.items())
        }
        return {symbol: edges for symbol, edges in found.items() if edges}
