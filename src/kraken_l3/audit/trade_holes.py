"""Holes in the ids of a pair's trades: found as trades come, in any order. No I/O.

`trade_id` increases by one in each book (https://docs.kraken.com/api/docs/websocket-v2/trade), and the recent trades
that a subscription brings repeat some.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple, Optional

from kraken_l3.model.messages import Trade

__all__ = ["Hole", "TradeIds"]


class Hole(NamedTuple):
    """Trades that did not come: those after one that did and before another.

    Attributes:
        after, before: the recorded trades around it.
        missing: first and last ids of what is missing of it, ascending.
    """

    after: Trade
    before: Trade
    missing: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        """How many trades are missing."""
        return sum(last - first + 1 for first, last in self.missing)


class TradeIds:
    """The ids of one pair."""

    def __init__(self) -> None:
        self._newest: Optional[Trade] = None
        self._around: list[tuple[Trade, Trade]] = []
        self._missing: list[list[tuple[int, int]]] = []

    def add(self, trade: Trade) -> None:
        """A trade was received."""
        newest = self._newest
        if newest is None:
            self._newest = trade
        elif trade.trade_id > newest.trade_id:
            if trade.trade_id > newest.trade_id + 1:
                self._around.append((newest, trade))
                self._missing.append([(newest.trade_id + 1, trade.trade_id - 1)])
            self._newest = trade
        else:
            self.fill(trade.trade_id)

    def fill(self, trade_id: int) -> None:
        """A trade is there after all; an id that is not missing changes nothing."""
        at = bisect_left([before.trade_id for _, before in self._around], trade_id)
        if at == len(self._missing):
            return
        ranges = self._missing[at]
        for number, (first, last) in enumerate(ranges):
            if first <= trade_id <= last:
                parts = ((first, trade_id - 1), (trade_id + 1, last))
                ranges[number : number + 1] = [part for part in parts if part[0] <= part[1]]
                return

    def holes(self) -> Iterator[Hole]:
        """What is missing, by ids."""
        for (after, before), missing in zip(self._around, self._missing):
            if missing:
                yield Hole(after, before, tuple(missing))
