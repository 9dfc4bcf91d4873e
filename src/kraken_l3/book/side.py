"""One side of the book: price levels best first, and in each level the orders in time priority."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Optional

import msgspec

__all__ = ["CHECKSUM_LEVELS", "BookSide", "Level", "Order"]

#: How many levels a side Kraken's checksum covers, whatever the subscribed depth.
CHECKSUM_LEVELS = 10
_BEYOND_ALL = 1 << 200


class Order(msgspec.Struct, eq=False, gc=False):
    """A resting order.

    Attributes:
        order_id: Kraken's id.
        key: sorts levels best first: the price for an ask, minus the price for a bid.
        price: scaled integer.
        qty: scaled integer.
        ns: the order's own time, nanoseconds since 1970 UTC; 0 when unknown.
        is_bid: the side it rests on.
    """

    order_id: str
    key: int
    price: int
    qty: int
    ns: int
    is_bid: bool

    def token(self) -> str:
        """The order's part of the checksum text: digits of price and quantity without leading zeros."""
        return f"{self.price or ''}{self.qty or ''}"


class Level(msgspec.Struct, eq=False):
    """The orders at one price, first served first; `token` caches their checksum text (None: to be made)."""

    orders: list[Order]
    token: Optional[str] = None

    def make_token(self) -> str:
        """Make and keep the checksum text."""
        token = self.token = "".join([order.token() for order in self.orders])
        return token


class BookSide:
    """Levels of one side. Only the cache of the checksum text makes this more than a sorted dict."""

    __slots__ = ("_top", "_top_end", "keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self._top: Optional[str] = ""
        self._top_end = _BEYOND_ALL  # key of the last level that `_top` covers; changes beyond it leave `_top` valid

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Order]:
        for key in self.keys:
            yield from self.levels[key].orders

    def insert(self, order: Order) -> None:
        """Queue the order behind all of its level whose time is not later."""
        key = order.key
        level = self.levels.get(key)
        if level is None:
            self.levels[key] = Level([order])
            insort(self.keys, key)
        else:
            level.token = None
            orders = level.orders
            if orders[-1].ns <= order.ns:
                orders.append(order)
            else:
                orders.insert(_place_by_time(orders, order.ns), order)
        if key <= self._top_end:
            self._top = None

    def remove(self, order: Order) -> None:
        """Take the order out; an empty level goes."""
        key = order.key
        level = self.levels[key]
        if len(level.orders) == 1:
            del self.levels[key]
            del self.keys[bisect_left(self.keys, key)]
        else:
            level.orders.remove(order)
            level.token = None
        if key <= self._top_end:
            self._top = None

    def resize(self, order: Order, qty: int) -> None:
        """Change the quantity in place."""
        order.qty = qty
        self.levels[order.key].token = None
        if order.key <= self._top_end:
            self._top = None

    def pop_worst(self) -> Level:
        """Cut off the level farthest from the touch."""
        key = self.keys.pop()
        if key <= self._top_end:
            self._top = None
        return self.levels.pop(key)

    def checksum_text(self) -> Optional[str]:
        """Text of the top `CHECKSUM_LEVELS` levels when it may have changed since it was last asked for, else None."""
        if self._top is not None:
            return None
        keys = self.keys
        top = [self.levels[key] for key in keys[:CHECKSUM_LEVELS]]
        # most tokens are made already: a call for each would be a tenth of the Python engine's time
        text = self._top = "".join([level.token or level.make_token() for level in top])
        self._top_end = keys[CHECKSUM_LEVELS - 1] if len(keys) >= CHECKSUM_LEVELS else _BEYOND_ALL
        return text

    def place(self, order: Order) -> tuple[int, int, int]:
        """Index of the order's level, its place in the queue, and the quantity ahead of it there."""
        orders = self.levels[order.key].orders
        queue = orders.index(order)
        return bisect_left(self.keys, order.key), queue, sum([o.qty for o in orders[:queue]])


def _place_by_time(orders: list[Order], ns: int) -> int:
    low, high = 0, len(orders)
    while low < high:
        middle = (low + high) // 2
        if orders[middle].ns <= ns:
            low = middle + 1
        else:
            high = middle
    return low
