"""The order book and the price book that checks compare checksums with. Written for the checks alone.

Rules: https://docs.kraken.com/api/docs/guides/spot-ws-l3-v2 and https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
"""

from __future__ import annotations

import heapq
from decimal import Decimal
from typing import Any, Optional
from zlib import crc32

from kraken_l3.conformance.transcript import Message

__all__ = ["OrderBook", "PriceBook"]

_CHECKSUM_LEVELS = 10
_SIDES = (("asks", 1), ("bids", -1))


def _token(text: str, decimals: Optional[int]) -> str:
    """A number in the checksum's text: at full precision, without the point and leading zeros."""
    if decimals is not None:
        text = f"{Decimal(text):.{decimals}f}"
    return text.replace(".", "").lstrip("0")


class OrderBook:
    """Every order within the subscribed depth.

    Args:
        depth: price levels a side.
        precisions: decimals of price and quantity; None takes the numbers' own texts.
    """

    def __init__(self, depth: int, precisions: Optional[tuple[int, int]]) -> None:
        self._depth = depth
        self._precisions = precisions or (None, None)
        # side -> price (negative for bids, so that the best is the lowest) -> order id -> the order
        self._levels: dict[str, dict[Decimal, dict[str, Message]]] = {"asks": {}, "bids": {}}
        self._at: dict[str, tuple[str, Decimal]] = {}

    def apply(self, data: Message) -> list[str]:
        """Apply a message's element of `data`; gives the modifies and deletes of orders that are not there."""
        unknown = []
        for side, sign in _SIDES:
            for order in data[side]:
                event, order_id = order.get("event", "add"), order["order_id"]
                before = self._at.get(order_id)
                if before is None and event != "add":
                    unknown.append(f"{event} of {order_id}, which is not in the book")
                price = sign * Decimal(order["limit_price"])
                if before is not None and (event != "modify" or before != (side, price)):
                    self._forget(order_id)
                if event != "delete":
                    self._levels[side].setdefault(price, {})[order_id] = order
                    self._at[order_id] = (side, price)
        self._truncate()
        return unknown

    def _forget(self, order_id: str) -> None:
        side, price = self._at.pop(order_id)
        level = self._levels[side][price]
        del level[order_id]
        if not level:
            del self._levels[side][price]

    def _truncate(self) -> None:
        """Levels that were pushed out of the depth; the server does not tell of them."""
        for side, _ in _SIDES:
            levels = self._levels[side]
            while len(levels) > self._depth:
                for order_id in list(levels[max(levels)]):
                    self._forget(order_id)

    def size(self, side: str) -> int:
        """Price levels of a side."""
        return len(self._levels[side])

    def order(self, order_id: str) -> Optional[Message]:
        """An order as it was last told."""
        at = self._at.get(order_id)
        return self._levels[at[0]][at[1]][order_id] if at is not None else None

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is not below the best ask."""
        asks, bids = self._levels["asks"], self._levels["bids"]
        return bool(asks and bids) and -min(bids) >= min(asks)

    def checksum(self, *, by_time: bool = True) -> int:
        """Of the 10 best levels a side. `by_time` False: as if a level's queue were the order of arrival."""
        text = []
        price_decimals, qty_decimals = self._precisions
        for side, _ in _SIDES:
            levels = self._levels[side]
            for price in heapq.nsmallest(_CHECKSUM_LEVELS, levels):
                orders: Any = levels[price].values()
                for order in sorted(orders, key=lambda each: str(each["timestamp"])) if by_time else orders:
                    text += [_token(order["limit_price"], price_decimals), _token(order["order_qty"], qty_decimals)]
        return crc32("".join(text).encode())


class PriceBook:
    """Price levels and their quantities.

    Args:
        depth: levels a side.
        precisions: as for `OrderBook`.
    """

    def __init__(self, depth: int, precisions: Optional[tuple[int, int]]) -> None:
        self._depth = depth
        self._precisions = precisions or (None, None)
        self._levels: dict[str, dict[Decimal, Message]] = {"asks": {}, "bids": {}}

    def apply(self, data: Message) -> None:
        """Apply a message's element of `data`: quantity 0 removes a level, and what is beyond the depth is cut."""
        for side, sign in _SIDES:
            levels = self._levels[side]
            for level in data[side]:
                price = sign * Decimal(level["price"])
                if Decimal(level["qty"]):
                    levels[price] = level
                else:
                    levels.pop(price, None)
            while len(levels) > self._depth:
                del levels[max(levels)]

    def checksum(self) -> int:
        """Of the 10 best levels a side."""
        text = []
        for side, _ in _SIDES:
            levels = self._levels[side]
            for price in heapq.nsmallest(_CHECKSUM_LEVELS, levels):
                level = levels[price]
                text += [_token(level["price"], self._precisions[0]), _token(level["qty"], self._precisions[1])]
        return crc32("".join(text).encode())
