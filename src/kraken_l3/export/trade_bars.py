"""Trades summed up by bars of time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Optional

import numpy as np

from kraken_l3.export.bars import instants
from kraken_l3.export.records import Records
from kraken_l3.model.events import Side

__all__ = ["TRADES", "TradeBars"]

#: What a bar says of trades. count: -1 where none were recorded. volume, signed_volume: in the base currency, the
#: latter bought by takers less sold by them. vwap: NaN without trades.
TRADES = np.dtype([("count", "<i4"), ("volume", "<f8"), ("vwap", "<f8"), ("signed_volume", "<f8")])


class TradeBars:
    """One symbol's trades of a day, by bars.

    A trade belongs to the bar in which it was received; one that Kraken repeated at a subscription, or whose receive
    time is not known, to that in which it happened.

    Args:
        trades: as `day_trades.DayTrades.of` gives them; None where none were recorded.
        span_ns: how long a bar is.
        earliest_ns: no bar ends before.
    """

    def __init__(self, trades: Optional[Records], span_ns: int, earliest_ns: int) -> None:
        self._recorded = trades is not None
        if trades is None or not len(trades):
            self._ends = np.zeros(0, np.int64)
            return
        happened = trades["is_recent"] | (trades["ts_recv"] == 0)
        ends = np.maximum(instants(trades["ts_recv"], span_ns), earliest_ns)
        ends = np.where(happened, instants(trades["ts_event"], span_ns), ends)
        order = np.argsort(ends, kind="stable")
        self._ends, trades = ends[order], trades[order]
        self._price_scale, self._qty_scale = (int(trades[f"{name}_scale"].max()) for name in ("price", "qty"))
        price, qty = (_exact(trades, name) for name in ("price", "qty"))
        sign = np.where(trades["taker_side"] == Side.BID, 1, np.where(trades["taker_side"] == Side.ASK, -1, 0))
        self._sums = [_running(each) for each in (qty, qty * sign, price * qty)]

    def ending(self, at_ns: Records) -> Records:
        """One `TRADES` for each bar that ends at these times."""
        made = np.zeros(len(at_ns), TRADES)
        made["vwap"] = np.nan
        if not self._recorded:
            made["count"] = -1
            return made
        first: Records = np.searchsorted(self._ends, at_ns, "left")
        behind: Records = np.searchsorted(self._ends, at_ns, "right")
        made["count"] = behind - first
        traded = np.flatnonzero(made["count"])
        for row, low, high in zip(traded.tolist(), first[traded].tolist(), behind[traded].tolist()):
            qty, signed, value = (sums[high] - sums[low] for sums in self._sums)
            made["volume"][row] = qty / 10**self._qty_scale
            made["signed_volume"][row] = signed / 10**self._qty_scale
            made["vwap"][row] = float(Fraction(value, qty * 10**self._price_scale)) if qty else np.nan
        return made


def _exact(trades: Records, name: str) -> Any:
    """A number of each trade as a Python integer, all with the most decimals that one of them has."""
    scale = trades[f"{name}_scale"]
    factors = np.array([10**missing for missing in (int(scale.max()) - scale.astype(int)).tolist()], object)
    return trades[name].astype(object) * factors


def _running(values: Any) -> list[int]:
    return [0, *np.cumsum(values).tolist()]
