"""The rows of LOBSTER's order book file: the best levels after each line of the message file.

Most lines touch levels far from the best. Those are summed up in columns, when some of them are needed: the levels near
the best, a few times as many as are shown, are followed line by line.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import compress
from typing import Optional

import numpy as np

from kraken_l3.export.records import Records

__all__ = ["BookRows"]

_NO_ASK, _NO_BID = "9999999999,0", "-9999999999,0"
_END = (1 << 63) - 1
#: The market moves: which levels are near is looked at again after so many lines.
_LINES = 1 << 13


class BookRows:
    """Sizes by price of both sides, and their best levels as text.

    Args:
        levels: how many are shown a side.
        factor: of the prices shown.
        near: so many a side are followed line by line (None: enough that few lines are looked at in vain).
    """

    def __init__(self, levels: int, factor: int, near: Optional[int] = None) -> None:
        near = 3 * levels + 20 if near is None else near
        self._asks, self._bids = _Side(1, levels, factor, _NO_ASK, near), _Side(-1, levels, factor, _NO_BID, near)
        self._cells = [_NO_ASK, _NO_BID] * levels
        self._row = self._text()

    def _text(self) -> bytes:
        self._cells[0::2], self._cells[1::2] = self._asks.shown, self._bids.shown
        return f"{','.join(self._cells)}\n".encode()

    def after(self, is_bid: Records, price: Records, by: Records, shown: Records) -> bytes:
        """The rows after some lines: what each adds to a level; only those that are `shown`."""
        rows, changes = [self._row], np.zeros(len(is_bid), np.int64)
        key = np.where(is_bid, -price, price)
        for start in range(0, len(key), _LINES):
            self._follow(start, is_bid[: start + _LINES], key, by, rows, changes)
        self._row = rows[-1]
        # most lines touch none of the best levels: theirs is the row before
        return b"".join([rows[place] for place in compress(np.cumsum(changes).tolist(), shown.tolist())])

    def _follow(
        self, start: int, is_bid: Records, key: Records, by: Records, rows: list[bytes], changes: Records
    ) -> None:
        """Lines from `start` to the end of `is_bid`."""
        asks, bids, end = self._asks, self._bids, len(is_bid)
        while start < end:
            asks.divide()
            bids.divide()
            near = key[start:end] <= np.where(is_bid[start:end], bids.bound, asks.bound)
            lines = np.flatnonzero(near) + start
            done = end
            columns = (column[lines].tolist() for column in (is_bid, key, by))
            for line, bid, level, change in zip(lines.tolist(), *columns):
                side = bids if bid else asks
                if side.change(level, change):
                    if side.is_short:
                        done = line + 1
                        break
                    rows.append(self._text())
                    changes[line] = 1
            far = np.flatnonzero(~near[: done - start]) + start
            asks.add(key[far][~is_bid[far]], by[far][~is_bid[far]])
            bids.add(key[far][is_bid[far]], by[far][is_bid[far]])
            if asks.is_short or bids.is_short:
                asks.divide()
                bids.divide()
                rows.append(self._text())
                changes[done - 1] = 1
            start = done


class _Side:
    """Levels by key: the price, or its negative where the highest price is the best.

    Args:
        sign: of the keys.
        levels: how many are shown.
        factor: of the prices shown.
        nothing: what stands for a level that is not there.
        near: so many levels are followed line by line.

    Attributes:
        shown: the best levels as text.
        bound: the last key that is near.
        is_short: a level that is shown may be a far one: `divide` finds it.
    """

    def __init__(self, sign: int, levels: int, factor: int, nothing: str, near: int) -> None:
        self._levels, self._factor, self._nothing, self._near = levels, factor * sign, nothing, max(near, levels)
        self._sizes: dict[int, int] = {}
        self._keys: list[int] = []  # those that are near, best first
        self._worst = _END  # the last key that is shown; as long as there is room, any is
        self.bound = _END
        self.is_short = False
        self.shown = [nothing] * levels

    def divide(self) -> None:
        """Look again at which levels are near."""
        keys = sorted(self._sizes)
        self.bound = keys[self._near - 1] if len(keys) > self._near else _END
        self._keys = keys[: self._near]
        if self.is_short:
            best = keys[: self._levels]
            texts = [f"{key * self._factor},{self._sizes[key]}" for key in best]
            self.shown = texts + [self._nothing] * (self._levels - len(texts))
            self.is_short = False
        self._worst = keys[self._levels - 1] if len(keys) >= self._levels else _END

    def add(self, keys: Records, by: Records) -> None:
        """Add to far levels: the sums of what lines add."""
        if not len(keys):
            return
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        sizes = self._sizes
        for key, change in zip(keys[starts].tolist(), np.add.reduceat(by[order].astype(object), starts).tolist()):
            size = sizes.get(key, 0) + change
            if size > 0:
                sizes[key] = size
            else:
                sizes.pop(key, None)

    def change(self, key: int, by: int) -> bool:
        """Add to a near level (take from it, if negative); tells whether the best levels changed."""
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
            if len(keys) < self._levels and self.bound != _END:
                self.is_short = True
                return True
            del self.shown[place]
            self.shown.append(self._last())
        else:
            return False
        self._worst = keys[self._levels - 1] if len(keys) >= self._levels else _END
        return True

    def _last(self) -> str:
        if len(self._keys) < self._levels:
            return self._nothing
        key = self._keys[self._levels - 1]
        return f"{key * self._factor},{self._sizes[key]}"
