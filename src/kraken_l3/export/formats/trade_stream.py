"""Recorded trades beside the events of a pair: in the order of time, and what each of them filled.

Trades come on a channel of their own: the fill of a trade may be received before it or after it. Whether a trade filled
an order that rested in sight is known once the events within `fills.WINDOW_NS` around it were seen, so events wait for
that, and trades come with the answer.
"""

from __future__ import annotations

import datetime as dt
from enum import IntEnum
from typing import NamedTuple, Optional

import numpy as np

from kraken_l3.export.day_trades import TRADE, rescaled
from kraken_l3.export.fills import WINDOW_NS, Matcher
from kraken_l3.export.records import Records
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns

__all__ = ["NO_TRADES", "StreamedTrades", "TradeMatch", "TradeQueue"]


class TradeMatch(IntEnum):
    """What the book says of a trade.

    UNKNOWN: the book was not followed for `fills.WINDOW_NS` around it, or the fill may lie in a snapshot.
    FILL: it filled an order that rested in the book; that event has its `trade_id`.
    NO_FILL: the book was followed, and no event of it fits: the order that it filled was not in sight.
    """

    UNKNOWN = 0
    FILL = 1
    NO_FILL = 2


class StreamedTrades(NamedTuple):
    """Some trades beside the events of some messages, in columns of one length, in the order of time.

    Attributes:
        records: `day_trades.TRADE`, with the decimals of the file.
        recv_ns: on the clock of the events: receive times, without receipts the trades' own; always within the day.
        place: each trade goes before the event with this index; the number of events stands for behind all of them.
            A trade received at the same time as a message goes before it.
        match: a `TradeMatch` each.
    """

    records: Records
    recv_ns: Records
    place: Records
    match: Records


NO_TRADES = StreamedTrades(np.zeros(0, TRADE), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))


class TradeQueue:
    """The trades of one pair and day, on their way into its file.

    Args:
        matcher: gives the events their trades; None where none were recorded.
        day: of the file.

    Attributes:
        left_out: how many trades need more decimals than the file's prices and quantities have.
    """

    def __init__(self, matcher: Optional[Matcher], day: Optional[dt.date]) -> None:
        self.left_out = 0
        self._matcher = matcher
        trades = matcher.trades if matcher is not None and day is not None else NO_TRADES.records
        clock = np.where(trades["ts_recv"] != 0, trades["ts_recv"], trades["ts_event"])
        if day is not None:  # without receipts, a trade at midnight may be in the next day's file
            clock = np.clip(clock, day_start_ns(day), day_start_ns(day) + NS_PER_DAY - 1)
        self._rows = np.argsort(clock, kind="stable")
        self._trades, self._clock = trades[self._rows], clock[self._rows]
        self._next = 0
        self._newest_ns = 0
        self._spans: list[tuple[int, int]] = []  # times of events between which the book was followed
        self._goes_on = False

    def saw(self, event_ns: Records, *, is_snapshot: bool) -> None:
        """Some messages went through the matcher: their own times."""
        self._goes_on &= not is_snapshot
        self._newest_ns = max(self._newest_ns, int(event_ns.max()))
        if is_snapshot:  # what was filled before it is in it, and no event
            return
        known = event_ns[event_ns != 0]
        if not len(known):
            return
        first = self._spans.pop()[0] if self._goes_on else int(known.min())
        self._spans.append((first, self._newest_ns))
        self._goes_on = True

    def is_sure_until(self, recv_ns: int) -> bool:
        """Whether all trades up to a time are known to have filled an order, or not."""
        waiting = self._trades["ts_event"][self._next : int(np.searchsorted(self._clock, recv_ns, "right"))]
        return not len(waiting) or int(waiting.max()) + WINDOW_NS < self._newest_ns

    def take(self, recv_ns: Records, scales: tuple[int, int], until_ns: int) -> StreamedTrades:
        """The trades up to a time that were not taken yet, placed between events of the times `recv_ns`."""
        end = int(np.searchsorted(self._clock, until_ns, "right"))
        rows = slice(self._next, max(end, self._next))
        self._next = rows.stop
        if rows.start == rows.stop or self._matcher is None:
            return NO_TRADES
        records, fits = rescaled(self._trades[rows], *scales)
        self.left_out += int(np.count_nonzero(~fits))
        at_ns = records["ts_event"]
        match = np.zeros(len(records), np.uint8)
        for start, stop in self._spans:
            match[(at_ns > start + WINDOW_NS) & (at_ns < stop - WINDOW_NS)] = TradeMatch.NO_FILL
        match[self._matcher.used[self._rows[rows]]] = TradeMatch.FILL
        clock = self._clock[rows]
        return StreamedTrades(*(each[fits] for each in (records, clock, np.searchsorted(recv_ns, clock), match)))
