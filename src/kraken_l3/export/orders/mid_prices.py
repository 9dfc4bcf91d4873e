"""The mid price of one pair over time, looked at some while after each birth and each first fill.

Only what is still to be looked at is kept: as soon as the clock has passed a moment, its mid price is final.
"""

from __future__ import annotations

import numpy as np

from kraken_l3.export.orders.life import HORIZONS_NS, MIDS, NO_MID
from kraken_l3.export.records import Records

__all__ = ["MidPrices"]

#: Prices above have no mid price of one decimal more in 64 bits.
_MOST = ((1 << 63) - 1) // 10
_FEWEST = 256


class MidPrices:
    """Follows the best prices, and fills the columns `MIDS` of lives."""

    def __init__(self) -> None:
        self._new: list[tuple[int, int, int]] = []
        self._tops = np.zeros((0, 4), np.int64)  # time, best bid, best ask, scale
        self._waiting = {name: np.zeros((0, 3), np.int64) for names in MIDS.values() for name in names}

    def append(self, at_ns: int, bid: int, ask: int) -> None:
        """The best prices changed; -1: that side is empty."""
        self._new.append((at_ns, bid, ask))

    def unknown(self, from_ns: int, before_ns: int) -> None:
        """After one moment and before another nothing was known of the book."""
        self._new.append((min(from_ns + 1, before_ns), -1, -1))

    def settle(self, price_scale: int) -> None:
        """The prices appended since the last call have so many decimals."""
        if self._new:
            new = np.array(self._new, np.int64)
            self._tops = np.concatenate([self._tops, np.column_stack([new, np.full(len(new), price_scale)])])
            self._new.clear()

    def wait(self, event: str, slots: Records, times: Records, price_scale: int) -> None:
        """Have the lives in these slots get their mid prices after a birth or first fill at these times, which rise."""
        known = times > 0
        for name, horizon_ns in zip(MIDS[event], HORIZONS_NS.values()):
            waiting = np.column_stack([times[known] + horizon_ns, slots[known], np.full(known.sum(), price_scale)])
            self._waiting[name] = np.concatenate([self._waiting[name], waiting])

    def resolve(self, state: Records, before_ns: int) -> None:
        """Fill in all mid prices of before a moment, at which no earlier event can come any more."""
        tops = self._tops
        exists = (tops[:, 1:3] >= 0).all(axis=1) & (tops[:, 1:3] <= _MOST // 2).all(axis=1)
        mids = np.where(exists, (tops[:, 1] + tops[:, 2]) * 5, NO_MID)
        for name, waiting in self._waiting.items():
            count = int(np.searchsorted(waiting[:, 0], before_ns))
            if not count:
                continue
            times, slots, scales = waiting[:count].T
            self._waiting[name] = waiting[count:]
            at = np.searchsorted(tops[:, 0], times, side="right") - 1
            found = at >= 0
            found[found] = tops[at[found], 3] == scales[found]
            state[name][slots[found]] = mids[at[found]]
        past = int(np.searchsorted(tops[:, 0], before_ns)) - 1
        if past > _FEWEST:
            self._tops = tops[past:]
