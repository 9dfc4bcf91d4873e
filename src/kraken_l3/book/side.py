"""One side of the book: price levels best first, and in each level the orders in time priority."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Optional

import msgspec

__all__ = ["CHECKSUM_LEVELS", "BookSide", "Order"]

#: How many levels a side Kraken's checksum covers, whatever the subscribed depth.
CHECKSUM_LEVELS = 10


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


class BookSide:
    """Levels of one side: their keys best first, and the orders of each, first served first.

    Attributes:
        top_changed: whether the levels that the checksum covers changed since `top_text` was last called.
    """

    __slots__ = ("_texts", "keys", "levels", "top_changed")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, list[Order]] = {}
        self.top_changed = False
        # The checksum text of each level that the checksum covers; None: to be made, since the level changed.
        self._texts: list[Optional[bytes]] = []

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Order]:
        for key in self.keys:
            yield from self.levels[key]

    def insert(self, order: Order) -> None:
        """Queue the order behind all of its level whose time is not later."""
        key, keys = order.key, self.keys
        index = bisect_left(keys, key)
        orders = self.levels.get(key)
        if orders is None:
            self.levels[key] = [order]
            keys.insert(index, key)
            if index < CHECKSUM_LEVELS:
                self.top_changed = True
                self._texts.insert(index, None)
                del self._texts[CHECKSUM_LEVELS:]
            return
        if orders[-1].ns <= order.ns:
            orders.append(order)
        else:
            orders.insert(_place_by_time(orders, order.ns), order)
        if index < CHECKSUM_LEVELS:
            self.top_changed = True
            self._texts[index] = None

    def remove(self, order: Order) -> None:
        """Take the order out; an empty level goes."""
        key = order.key
        index = bisect_left(self.keys, key)
        orders = self.levels[key]
        if len(orders) == 1:
            self._remove_level(index)
            return
        orders.remove(order)
        if index < CHECKSUM_LEVELS:
            self.top_changed = True
            self._texts[index] = None

    def resize(self, order: Order, qty: int) -> None:
        """Change the quantity in place."""
        order.qty = qty
        index = bisect_left(self.keys, order.key)
        if index < CHECKSUM_LEVELS:
            self.top_changed = True
            self._texts[index] = None

    def pop_worst(self) -> list[Order]:
        """Cut off the level farthest from the touch: its orders."""
        return self._remove_level(len(self.keys) - 1)

    def _remove_level(self, index: int) -> list[Order]:
        if index < CHECKSUM_LEVELS:
            self.top_changed = True
            del self._texts[index]
            if len(self.keys) > CHECKSUM_LEVELS:
                self._texts.append(None)
        return self.levels.pop(self.keys.pop(index))

    def top_text(self) -> bytes:
        """The checksum text of the best `CHECKSUM_LEVELS` levels."""
        texts = self._texts
        while None in texts:
            index = texts.index(None)
            texts[index] = self._level_text(self.keys[index])
        self.top_changed = False
        return b"".join(texts)  # type: ignore[arg-type] # none is None any more

    def _level_text(self, key: int) -> bytes:
        """Of each order the digits of price and quantity, without leading zeros."""
        price = abs(key) or ""
        orders = self.levels[key]
        if len(orders) == 1:
            return f"{price}{orders[0].qty or ''}".encode()
        return "".join([f"{price}{order.qty or ''}" for order in orders]).encode()

    def place(self, order: Order) -> tuple[int, int, int]:
        """Index of the order's level, its place in the queue, and the quantity ahead of it there."""
        orders = self.levels[order.key]
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
