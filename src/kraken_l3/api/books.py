"""Books as plain values: every order of a symbol at a moment, or only its best levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Optional

import msgspec

from kraken_l3.api.display import ladder
from kraken_l3.errors import DataMissing
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

if TYPE_CHECKING:
    from kraken_l3.rebuild.book_at import BookAt

__all__ = ["Book", "BookLevel", "BookOrder", "Ladder", "PlacedOrder", "as_book"]


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

    def __repr__(self) -> str:
        count = len(self.orders)
        return f"<BookLevel {self.price}: {self.qty} in {count} order{'s' if count != 1 else ''}>"


class PlacedOrder(NamedTuple):
    """A resting order with its place in the book.

    Attributes:
        order_id: Kraken's id.
        side: "bid" or "ask".
        price: of its level.
        qty: its remaining quantity.
        order_ns: its own time, which ranks it in its level (ns since 1970 UTC; 0: unknown).
        level: 0 is the best price of the side.
        queue_position: number of orders of the level that are filled before it.
        qty_ahead: their quantity.
    """

    order_id: str
    side: str
    price: Decimal
    qty: Decimal
    order_ns: int
    level: int
    queue_position: int
    qty_ahead: Decimal


@dataclass(frozen=True)
class Book:
    """Every order of a symbol at a moment; levels best first. Prices and quantities are exact decimals.

    Attributes:
        symbol: such as BTC/USD.
        bids: levels, highest price first.
        asks: levels, lowest price first.
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
    _places: dict[str, PlacedOrder] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def best_bid(self) -> Optional[BookLevel]:
        """The bid level with the highest price; None if there are no bids."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Optional[BookLevel]:
        """The ask level with the lowest price; None if there are no asks."""
        return self.asks[0] if self.asks else None

    @property
    def mid(self) -> Optional[Decimal]:
        """Half way between the best prices, in the quote currency; None if a side is empty."""
        return (self.bids[0].price + self.asks[0].price) / 2 if self.bids and self.asks else None

    @property
    def spread(self) -> Optional[Decimal]:
        """Best ask less best bid, in the quote currency; None if a side is empty."""
        return self.asks[0].price - self.bids[0].price if self.bids and self.asks else None

    def orders(self) -> Iterator[PlacedOrder]:
        """Every order with its place: bids, then asks, best level first, in queue order."""
        for side, levels in (("bid", self.bids), ("ask", self.asks)):
            for number, level in enumerate(levels):
                ahead = Decimal(0)
                for position, order in enumerate(level.orders):
                    yield PlacedOrder(
                        order.order_id, side, level.price, order.qty, order.order_ns, number, position, ahead
                    )
                    ahead += order.qty

    def order(self, order_id: str) -> PlacedOrder:
        """An order with its place: level, queue position, quantity ahead.

        Raises:
            DataMissing: no such order rests in the book.
        """
        if not self._places:
            self._places.update((placed.order_id, placed) for placed in self.orders())
        try:
            return self._places[order_id]
        except (KeyError, TypeError):
            hint = "An order outside the subscribed depth is not seen"
            raise DataMissing(f"no order {order_id!r}", where=f"{self.symbol}{self._moment()}", hint=hint) from None

    def level(self, price: Decimal) -> Optional[BookLevel]:
        """The level at a price, on either side; None if nothing rests there."""
        return next((level for level in (*self.bids, *self.asks) if level.price == price), None)

    def _moment(self) -> str:
        return f" at {format_rfc3339(self.recv_ns)}" if self.recv_ns is not None else ""

    def state(self) -> str:
        """In words: "verified", "not verified", or "in a gap (network)"."""
        return f"in a gap ({self.gap})" if self.gap else "verified" if self.verified else "not verified"

    def __repr__(self) -> str:
        bid, ask = (level.price if level else "none" for level in (self.best_bid, self.best_ask))
        count = sum(len(level.orders) for level in (*self.bids, *self.asks))
        sides = f"bid {bid}, ask {ask}; {len(self.bids)} and {len(self.asks)} levels, {count:,} orders"
        return f"<Book {self.symbol}{self._moment()}: {sides}; {self.state()}>"

    def _repr_html_(self) -> str:
        when = format_rfc3339(self.recv_ns) if self.recv_ns is not None else "time unknown"
        prices = "one side is empty" if self.mid is None else f"mid {self.mid}, spread {self.spread}"
        return ladder(self.symbol, f"{when}: {prices}; {self.state()}", self.bids, self.asks)


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
