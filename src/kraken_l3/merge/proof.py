"""The books of the merged streams: every message that is taken goes through them, and a snapshot is held against them."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, SymbolTally
from kraken_l3.model.events import State
from kraken_l3.protocol.decoding import decode_level3
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["Book", "Books", "Proof"]


class Proof(enum.Enum):
    """What comes of holding a snapshot against a book."""

    SAME = enum.auto()
    DIFFERENT = enum.auto()
    UNTOLD = enum.auto()


class Books:
    """The books of all symbols, in one engine.

    Args:
        engine_name: see `engine.choose`.
    """

    def __init__(self, engine_name: str) -> None:
        self._engine_name = engine_name
        self.engine: Engine = make_engine(EngineOptions(), engine_name)
        self._lines = 0

    def tell(self, told: SymbolMetadata) -> None:
        """What holds from a symbol's next snapshot on."""
        self.engine.set_symbol(
            told.symbol, price_precision=told.price_precision, qty_precision=told.qty_precision, depth=told.depth
        )

    def feed(self, lines: Sequence[bytes]) -> None:
        """The next messages of a symbol."""
        self.engine.feed(b"\n".join(lines) + b"\n", self._lines, 1)
        self._lines += len(lines)

    def tally(self, symbol: str) -> SymbolTally:
        """Of one symbol."""
        return next((tally for tally in self.engine.tallies() if tally.symbol == symbol), SymbolTally(symbol))

    def image(self, symbol: str, snapshot: bytes) -> tuple[object, object]:
        """A symbol's book and a snapshot, in a form in which they can be compared; None for what is no book."""
        tally = self.tally(symbol)
        own = self.engine.export_book(symbol)
        if own is None:
            return None, None
        other = make_engine(EngineOptions(), self._engine_name)
        price, qty, depth = tally.parameters()
        other.set_symbol(symbol, price_precision=price, qty_precision=qty, depth=depth)
        other.feed(snapshot + b"\n", 0, 1)
        return _orders(own), _orders(other.export_book(symbol))


def _orders(image: object) -> object:
    if not isinstance(image, BookImage):
        return None
    message = decode_level3(image.message)
    assert message is not None  # an engine wrote it
    data = message.data[0]
    return [
        [(order.order_id, bytes(order.limit_price), bytes(order.order_qty), order.timestamp) for order in side or ()]
        for side in (data.bids, data.asks)
    ]


class Book:
    """The book of one symbol.

    Args:
        symbol: whose.
        books: where it is.
    """

    def __init__(self, symbol: str, books: Books) -> None:
        self._symbol = symbol
        self._books = books

    def feed(self, lines: Sequence[bytes]) -> None:
        """The next messages."""
        self._books.feed(lines)

    def is_in_step(self) -> bool:
        """Whether its last checksum came out."""
        return self._books.tally(self._symbol).state is State.SYNCED

    def compare(self, snapshot: bytes) -> Proof:
        """Hold a snapshot against the book as it stands, order by order."""
        own, other = self._books.image(self._symbol, snapshot)
        if own is None or other is None:
            return Proof.UNTOLD
        return Proof.SAME if own == other else Proof.DIFFERENT
