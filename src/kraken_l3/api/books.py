"""Books as plain values: every order of a symbol at a moment, or only its best levels."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Optional

import msgspec

from kraken_l3.model.events import State
from kraken_l3.model.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from kraken_l3.rebuild.book_at import BookAt

__all__ = ["Book", "BookLevel", "BookOrder", "Ladder", "as_book"]


class BookOrder(NamedTuple):
    """A resting order: its id, its quantity, and its own time (ns since 1970 UTC; 0: unknown)."""

    order_id: str
    qty: Decimal
    order_ns: int


class BookLevel(NamedTuple):
    """The orders at one price in queue order: the first is filled first."""

    price: Decimal
    orders: tuple[BookOrder, ...]

    @property
    def qty(self) -> Decimal:
        """Total quantity of the level."""
        return sum((order.qty for order in self.orders), Decimal(0))


class Book(NamedTuple):
    """Every order of a symbol at a moment; levels best first.

    Attributes:
        symbol: such as BTC/USD.
        bids: highest price first.
        asks: lowest price first.
        recv_ns: when the last message in it was received; None if unknown.
        verified: whether it agreed with Kraken's checksum (of the 10 best levels a side).
        gap: cause of the gap that contains the moment; the book is then the last one known before it. "" otherwise.
        message: the book as a Kraken snapshot message.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    recv_ns: Optional[int]
    verified: bool
    gap: str
    message: bytes


class Ladder(NamedTuple):
    """The best levels at a moment: (price, quantity) pairs as doubles, best first."""

    timestamp_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class _Order(msgspec.Struct):
    order_id: str
    limit_price: Decimal
    order_qty: Decimal
    timestamp: Optional[str] = None


class _Data(msgspec.Struct):
    bids: list[_Order]
    asks: list[_Order]


class _Message(msgspec.Struct):
    data: list[_Data]


_decoder = msgspec.json.Decoder(_Message)


def as_book(symbol: str, found: BookAt) -> Book:
    """The book that playback found, as values."""
    message = found.image.message
    data = _decoder.decode(message).data[0]
    verified = found.tally.state is State.SYNCED
    return Book(symbol, _levels(data.bids), _levels(data.asks), found.recv_ns, verified, found.gap, message)


def _levels(orders: list[_Order]) -> tuple[BookLevel, ...]:
    return tuple(
        BookLevel(
            price,
            tuple(BookOrder(o.order_id, o.order_qty, parse_rfc3339(o.timestamp) if o.timestamp else 0) for o in level),
        )
        for price, level in groupby(orders, key=lambda order: order.limit_price)
    )
