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

from bisect import bisect_left
from collections import defaultdict
from typing import Any

import numpy as np

from kraken_l3.export.day_trades import rescaled
from kraken_l3.export.records import Records
from kraken_l3.model.events import Classification, Side

__all__ = ["CLOSE_NS", "WINDOW_NS", "Matcher"]

CLOSE_NS = 1_000_000
WINDOW_NS = 100_000_000
_FAR_CONFIDENCE = 0.9
_MAKER_SIDE = {int(Side.BID): int(Side.ASK), int(Side.ASK): int(Side.BID)}  # of the taker's
_FILLS = (Classification.FILL, Classification.PARTIAL_FILL)


class Matcher:
    """Gives each fill of one symbol its trade; events come in row groups, in order.

    Args:
        trades: the symbol's of the day, as `day_trades.DayTrades.of` gives them.

    Attributes:
        trades: the same.
        used: which of them were given to a fill so far.
    """

    def __init__(self, trades: Records) -> None:
        self.trades = trades
        self.used = np.zeros(len(trades), bool)
        self._scales = (-1, -1)
        self._left: dict[tuple[int, int, int], list[tuple[int, int]]] = {}

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
        """The trades that are left, by what an event asks for: the maker's side, price and quantity."""
        self._scales = (price_scale, qty_scale)
        self._left = {}
        rows = np.flatnonzero(~self.used & (self.trades["taker_side"] != Side.NONE))
        left, fits = rescaled(self.trades[rows], price_scale, qty_scale)
        order = np.lexsort((left["trade_id"], left["ts_event"]))
        order = order[fits[order]]
        columns = (left[name][order].tolist() for name in ("taker_side", "price", "qty", "ts_event"))
        for taker, price, qty, at_ns, row in zip(*columns, rows[order].tolist()):
            self._left.setdefault((_MAKER_SIDE[taker], price, qty), []).append((at_ns, row))

    def _take(self, key: tuple[int, int, int], at_ns: int, rivals: list[int]) -> tuple[int, float] | None:
        trades = self._left.get(key)
        if not trades:
            return None
        low = bisect_left(trades, (at_ns - WINDOW_NS, -1))
        high = bisect_left(trades, (at_ns + WINDOW_NS + 1, -1))
        if low == high:
            return None
        nearest = min(range(low, high), key=lambda i: (abs(trades[i][0] - at_ns), i))
        time_ns, row = trades.pop(nearest)
        self.used[row] = True
        others = sum(1 for rival in rivals if abs(rival - at_ns) <= WINDOW_NS)
        certainty = 1.0 if abs(time_ns - at_ns) <= CLOSE_NS else _FAR_CONFIDENCE
        return int(self.trades["trade_id"][row]), certainty / max(high - low, others, 1)
