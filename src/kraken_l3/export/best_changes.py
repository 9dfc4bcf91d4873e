"""What each change of the best prices and quantities contributes: order flow imbalance, and the return of the mid.

Order flow imbalance is that of Cont, Kukanov and Stoikov, "The price impact of order book events" (arXiv 1011.6402):
the change from (bid price P, its quantity q; ask price p, its quantity r) to (P', q', p', r') contributes

    e = q' [P' >= P] - q [P' <= P] - r' [p' <= p] + r [p' >= p]

A side without orders counts as one whose price is out of reach, with quantity 0. A snapshot begins anew: what happened
before it is not known, so it contributes nothing, and no return goes across it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kraken_l3.engine.port import LARGEST_PRICE

__all__ = ["BEST", "BestChanges"]

Column = Any  # a numpy array

#: Columns of book rows that are looked at.
BEST = ("bid_price", "bid_qty", "ask_price", "ask_qty")
#: Four quantities below it add up to less than 64 bits.
_LARGE = 1 << 61
#: What was last known of a symbol: whether anything, its best prices and quantities, twice its mid (0: none).
_LAST = np.dtype([("known", "?"), ("best", "<i8", (4,)), ("mid", "<i8")])


class BestChanges:
    """Follows the best prices and quantities of all symbols, from one piece of rows to the next."""

    def __init__(self) -> None:
        self._last = np.zeros(0, _LAST)

    def follow(self, symbol: Column, rows: Mapping[str, Column], begins: Column) -> tuple[Column, Column]:
        """What each row contributes.

        Args:
            symbol: index of each row's symbol; the rows of one are in the order of time.
            rows: columns of the best prices (-1: none) and quantities.
            begins: whether a row begins anew.

        Returns:
            Order flow imbalance, scaled as the quantities are, and the squared log return of the mid.
        """
        if not len(symbol):
            return np.zeros(0, np.int64), np.zeros(0)
        order = np.argsort(symbol, kind="stable")
        symbol, begins = symbol[order], begins[order]
        best = np.stack([rows[name][order] for name in BEST], axis=1)
        starts = np.append(0, np.flatnonzero(symbol[1:] != symbol[:-1]) + 1)
        self._make_room(int(symbol[-1]) + 1)
        last = self._last[symbol[starts]]
        before = _shifted(best, starts, last["best"])
        known = _shifted(np.ones(len(symbol), bool), starts, last["known"])
        imbalance, squares = np.empty(len(symbol), np.int64), np.empty(len(symbol))
        imbalance[order] = np.where(known & ~begins, _imbalance(before, best), 0)
        squares[order], mids = _squares(best, begins, starts, last["mid"])
        ends = np.append(starts[1:], len(symbol)) - 1
        last["known"], last["best"], last["mid"] = True, best[ends], mids[ends]
        self._last[symbol[starts]] = last
        return imbalance, squares

    def _make_room(self, symbols: int) -> None:
        missing = max(0, symbols - len(self._last))
        self._last = np.concatenate([self._last, np.zeros(missing, _LAST)])


def _shifted(values: Column, starts: Column, first: Column) -> Column:
    """The value of the row before; where a symbol's rows start, another."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[starts] = first
    return before


def _squares(best: Column, begins: Column, starts: Column, first: Column) -> tuple[Column, Column]:
    """Squared log returns, and twice the last mid after each row; rows without a mid are passed over."""
    bid, ask = best[:, 0], best[:, 2]
    mid = np.where((bid >= 0) & (ask >= 0), bid + ask, 0)
    says = (mid > 0) | begins
    rows = np.arange(len(mid))
    said = np.maximum.accumulate(np.where(says, rows, -1))
    start = np.repeat(starts, np.diff(starts, append=len(mid)))
    carried = np.repeat(first, np.diff(starts, append=len(mid)))
    after = np.where(said >= start, mid[said], carried)
    before = np.where(begins, 0, _shifted(after, starts, first))
    both = (mid > 0) & (before > 0)
    return np.log(np.where(both, mid / np.maximum(before, 1), 1.0)) ** 2, after


def _imbalance(before: Column, after: Column) -> Column:
    most = max(before[:, [1, 3]].max(), after[:, [1, 3]].max())
    if most >= _LARGE:  # the supply of some coins does not fit 64 bits
        before, after = before.astype(object), after.astype(object)
    bid, bid_qty, ask, ask_qty = after.T
    old_bid, old_bid_qty, old_ask, old_ask_qty = before.T
    ask, old_ask = (np.where(price < 0, LARGEST_PRICE, price) for price in (ask, old_ask))
    imbalance = (
        np.where(bid >= old_bid, bid_qty, 0)
        - np.where(bid <= old_bid, old_bid_qty, 0)
        - np.where(ask <= old_ask, ask_qty, 0)
        + np.where(ask >= old_ask, old_ask_qty, 0)
    )
    return imbalance if most < _LARGE else np.clip(imbalance, -LARGEST_PRICE, LARGEST_PRICE).astype(np.int64)
