"""A book as `POST /0/private/Level3` gives it. No sockets here.

Source: https://docs.kraken.com/api/docs/rest-api/get-level-3-order-book
"""

from __future__ import annotations

from typing import NamedTuple, Union

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import exact, parse_scaled
from kraken_l3.model.events import Side
from kraken_l3.model.json_text import decode_json

__all__ = ["LEVEL3_PATH", "Order", "OrderKey", "RestBook", "read_rest_book"]

LEVEL3_PATH = "/0/private/Level3"

#: The side an order rests on, and its id.
OrderKey = tuple[Side, str]
#: Price and quantity, scaled by the precisions of the pair.
Order = tuple[int, int]


class _Order(msgspec.Struct):
    order_id: str
    price: str
    qty: str


class _Result(msgspec.Struct):
    pair: str
    bids: list[_Order]
    asks: list[_Order]


_result = msgspec.json.Decoder(_Result)


class RestBook(NamedTuple):
    """All orders of both sides, with the texts of price and quantity.

    Attributes:
        orders: by side and id.
    """

    orders: dict[OrderKey, tuple[str, str]]

    def scaled(self, price_precision: int, qty_precision: int) -> dict[OrderKey, Order]:
        """The orders in integers; -1 is a number that the pair's precision has no room for, and no recorded order's."""
        return {
            key: (_scaled(price, price_precision), _scaled(qty, qty_precision))
            for key, (price, qty) in self.orders.items()
        }


def read_rest_book(result: Union[bytes, msgspec.Raw]) -> RestBook:
    """The book in the `result` of an answer.

    Raises:
        MalformedMessage: it is none.
    """
    read = decode_json(_result, result, where="Level3")
    orders: dict[OrderKey, tuple[str, str]] = {}
    for side, entries in ((Side.BID, read.bids), (Side.ASK, read.asks)):
        for entry in entries:
            _check(entry.price)
            _check(entry.qty)
            orders[side, entry.order_id] = (entry.price, entry.qty)
    return RestBook(orders)


def _check(text: str) -> None:
    try:
        exact(text.encode())
    except ValueError as error:
        raise MalformedMessage(f"not a price or quantity: {text[:40]!r}", where="Level3") from error


def _scaled(text: str, precision: int) -> int:
    try:
        return parse_scaled(text.encode(), precision)
    except ValueError:
        return -1
