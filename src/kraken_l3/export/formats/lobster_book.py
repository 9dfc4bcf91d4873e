"""The rows of LOBSTER's order book file: the best levels after each line of the message file."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import compress

import numpy as np

from kraken_l3.export.records import Records

__all__ = ["BookRows"]

_NO_ASK, _NO_BID = "9999999999,0", "-9999999999,0"
_WORST = 1 << 200


class BookRows:
    """Sizes by price of both sides, and their best levels as text.

    Args:
        levels: how many are shown a side.
        factor: of the prices shown.
    """

    def __init__(self, levels: int, factor: int) -> None:
        self._asks, self._bids = _Side(1, levels, factor, _NO_ASK), _Side(-1, levels, factor, _NO_BID)
        self._cells = [_NO_ASK, _NO_BID] * levels
        self._row = self._text()

    def _text(self) -> bytes:
        return f"{','.join(self._cells)}\n".encode()

    def after(self, is_bid: Records, price: Records, by: Records, shown: Records) -> bytes:
        """The rows after some lines: what each adds to a level; only those that are `shown`."""
        asks, bids, cells = self._asks, self._bids, self._cells
        rows, changes = [self._row], np.zeros(len(is_bid), np.int64)
        for line, (bid, value, change) in enumerate(zip(is_bid.tolist(), price.tolist(), by.tolist())):
            if bid:
                if not bids.change(-value, change):
                    continue
                cells[1::2] = bids.shown
            else:
                if not asks.change(value, change):
                    continue
                cells[0::2] = asks.shown
            rows.append(self._text())
            changes[line] = 1
        self._row = rows[-1]
        # most lines touch none of the best levels: theirs is the row before
        return b"".join([rows[place] for place in compress(np.cumsum(changes).tolist(), shown.tolist())])


class _Side:
    """Levels by key: the price, or its negative where the highest price is the best.

    Args:
        sign: of the keys.
        levels: how many are shown.
        factor: of the prices shown.
        nothing: what stands for a level that is not there.
    """

    def __init__(self, sign: int, levels: int, factor: int, nothing: str) -> None:
        self._levels, self._factor, self._nothing = levels, factor * sign, nothing
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}
        self._worst = _WORST  # the last key that is shown; as long as there is room, any is
        self.shown = [nothing] * levels

    def change(self, key: int, by: int) -> bool:
        """Add to a level (take from it, if negative); tells whether the best levels changed."""
        sizes, keys = self._sizes, self._keys
        before = sizes.get(key, 0)
        size = before + by
        if size > 0:
            sizes[key] = size
            if key > self._worst or not by:
                if not before:
                    insort(keys, key)
                return False
            place = bisect_left(keys, key)
            if before:
                self.shown[place] = f"{key * self._factor},{size}"
                return True
            keys.insert(place, key)
            self.shown.pop()
            self.shown.insert(place, f"{key * self._factor},{size}")
        elif before:
            del sizes[key]
            place = bisect_left(keys, key)
            del keys[place]
            if key > self._worst:
                return False
            del self.shown[place]
            self.shown.append(self._last())
        else:
            return False
        self._worst = keys[self._levels - 1] if len(keys) >= self._levels else _WORST
        return True

    def _last(self) -> str:
        if len(self._keys) < self._levels:
            return self._nothing
        key = self._keys[self._levels - 1]
        return f"{key * self._factor},{self._sizes[key]}"
