"""Which trade filled which order, where trades were recorded.

Kraken publishes a trade for each pair of orders that met, at the resting order's price. So a fill of a resting order
has a trade with the same price and quantity, the other side as taker, and nearly the same time. `fill_confidence`:

    1.0   one trade fits, to the quantity, within 1 ms, and no other event asks for its like
    0.9   likewise, within 100 ms
    1/n   (times 0.9 beyond 1 ms) n trades or n events of one price and quantity lie so close: each event gets the
          trade nearest in time of those left
    0.0   the book says fill, trades were recorded, and none fits
    null  not a fill, or no trades were recorded

A reduction (quantity down, place kept) that a trade explains becomes a partial fill. Trades may have been recorded
twice (a reconnect repeats some): each `trade_id` counts once.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kraken_l3.archive.datafile import DataFile, Skipped
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import existing
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import KrakenL3Error, MalformedMessage
from kraken_l3.model.decimals import parse_scaled
from kraken_l3.model.events import Classification, Side
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import decode_trades

__all__ = ["CLOSE_NS", "WINDOW_NS", "DayTrades", "Matcher"]

CLOSE_NS = 1_000_000
WINDOW_NS = 100_000_000
_FAR_CONFIDENCE = 0.9
_MAKER_SIDE = {"buy": Side.ASK, "sell": Side.BID}
_FILLS = (Classification.FILL, Classification.PARTIAL_FILL)


class DayTrades:
    """The trades of a day by symbol; `recorded` is False where there is no such file."""

    def __init__(self, archive: Archive, day: dt.date) -> None:
        path = existing(DayPaths(archive.directory, day).data(Stream.TRADE))
        self.recorded = path is not None
        self._trades: dict[str, list[Trade]] = defaultdict(list)
        if path is None:
            return
        try:
            self._read(path)
        except KrakenL3Error:  # trades that cannot be read were not recorded; `verify` and `info` say so
            self.recorded = False
            self._trades.clear()

    def _read(self, path: Path) -> None:
        with DataFile(path) as file:
            for line in file.lines(skipped=Skipped()):
                try:
                    trades = decode_trades(line.payload)
                except MalformedMessage:
                    continue
                for trade in trades:
                    self._trades[trade.symbol].append(trade)

    def matcher(self, symbol: str) -> Matcher:
        """For one symbol's events."""
        return Matcher(self._trades.get(symbol, ()))


class Matcher:
    """Gives each fill of one symbol its trade; events come in row groups, in order."""

    def __init__(self, trades: Iterable[Trade]) -> None:
        self._trades = list({trade.trade_id: trade for trade in trades}.values())
        self._scales = (-1, -1)
        self._left: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        self._used: set[int] = set()

    def match(self, records: Any) -> tuple[Any, Any, Any]:
        """Classifications (reductions that were fills called so), trade ids (-1: none), confidences (NaN: no fill)."""
        classification = records["classification"].copy()
        asking = np.flatnonzero(np.isin(classification, (*_FILLS, Classification.REDUCTION)))
        trade_ids = np.full(len(records), -1, np.int64)
        confidence = np.full(len(records), np.nan, np.float32)
        confidence[np.isin(classification, _FILLS)] = 0.0
        wanted = [records[name][asking] for name in ("side", "price", "change", "price_scale", "qty_scale", "ts_event")]
        side, price, change, price_scale, qty_scale, times = (column.tolist() for column in wanted)
        keys = list(zip(side, price, (-qty for qty in change)))
        rivals: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for key, at_ns in zip(keys, times):
            rivals[key].append(at_ns)
        for index, key, at_ns, scale in zip(asking.tolist(), keys, times, zip(price_scale, qty_scale)):
            if scale != self._scales:
                self._index(*scale)
            found = self._take(key, at_ns, rivals[key])
            if found is not None:
                trade_ids[index], confidence[index] = found
        classification[(trade_ids >= 0) & (classification == Classification.REDUCTION)] = Classification.PARTIAL_FILL
        return classification, trade_ids, confidence

    def _index(self, price_scale: int, qty_scale: int) -> None:
        """The trades that are left, by what an event asks for."""
        self._scales = (price_scale, qty_scale)
        self._left = {}
        for trade in self._trades:
            side = _MAKER_SIDE.get(trade.side)
            if side is None or trade.trade_id in self._used:
                continue
            try:
                price = parse_scaled(trade.price.encode(), price_scale)
                qty = parse_scaled(trade.qty.encode(), qty_scale)
            except ValueError:
                continue
            insort(self._left.setdefault((int(side), price, qty), []), (trade.timestamp_ns, trade.trade_id))

    def _take(self, key: tuple[int, int, int], at_ns: int, rivals: list[int]) -> tuple[int, float] | None:
        trades = self._left.get(key)
        if not trades:
            return None
        low = bisect_left(trades, (at_ns - WINDOW_NS, 0))
        high = bisect_left(trades, (at_ns + WINDOW_NS + 1, 0))
        if low == high:
            return None
        nearest = min(range(low, high), key=lambda i: (abs(trades[i][0] - at_ns), i))
        time_ns, trade_id = trades.pop(nearest)
        self._used.add(trade_id)
        others = sum(1 for rival in rivals if abs(rival - at_ns) <= WINDOW_NS)
        certainty = 1.0 if abs(time_ns - at_ns) <= CLOSE_NS else _FAR_CONFIDENCE
        return trade_id, certainty / max(high - low, others, 1)
