"""The books of the merged streams: every message that is taken goes through them, snapshots are held against them."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Optional

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import BookImage, Engine, EngineOptions, SymbolTally
from kraken_l3.model.events import State
from kraken_l3.protocol.alignment import time_of
from kraken_l3.protocol.decoding import decode_level3
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["REMEMBERED", "Book", "Books", "Proof"]


#: Updates of a symbol that a source may have lost directly behind its snapshot, so that the snapshot is understood.
REMEMBERED = 1_000


#: So much waits to be fed at most.
_FED_AT_ONCE_BYTES = 1024 * 1024


#: Price precision, quantity precision and depth.
Parameters = tuple[Optional[int], Optional[int], Optional[int]]


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
        self._waiting: list[bytes] = []
        self._waiting_lines = self._waiting_bytes = 0

    def tell(self, told: SymbolMetadata) -> None:
        """What holds from a symbol's next snapshot on."""
        self.engine.set_symbol(
            told.symbol, price_precision=told.price_precision, qty_precision=told.qty_precision, depth=told.depth
        )

    def feed(self, text: bytes, lines: int) -> None:
        """The next messages: so many lines, each with its newline. They wait for more: each feed has its price."""
        self._waiting.append(text)
        self._waiting_lines += lines
        self._waiting_bytes += len(text)
        if self._waiting_bytes > _FED_AT_ONCE_BYTES:
            self.catch_up()

    def catch_up(self) -> None:
        """Feed what waits."""
        if self._waiting:
            self.engine.feed(b"".join(self._waiting), self._lines, 1)
            self._lines += self._waiting_lines
            self._waiting.clear()
            self._waiting_lines = self._waiting_bytes = 0

    def tallies(self) -> list[SymbolTally]:
        """Of all symbols."""
        self.catch_up()
        return self.engine.tallies()

    def tally(self, symbol: str) -> SymbolTally:
        """Of one symbol."""
        self.catch_up()
        return next((tally for tally in self.engine.tallies() if tally.symbol == symbol), SymbolTally(symbol))

    def compare(self, symbol: str, parameters: Parameters, lines: Sequence[bytes]) -> Proof:
        """Hold a symbol's book against the one that a snapshot and the updates behind it lead to, order by order."""
        self.catch_up()
        own = self.engine.export_book(symbol)
        if own is None:
            return Proof.UNTOLD
        if len(lines) == 1 and _sides(own.message) == _sides(lines[0]):  # as engines write them; others take longer
            return Proof.SAME
        other = make_engine(EngineOptions(), self._engine_name)
        price, qty, depth = parameters
        other.set_symbol(symbol, price_precision=price, qty_precision=qty, depth=depth)
        other.feed(b"\n".join(lines) + b"\n", 0, 1)
        image = other.export_book(symbol)
        if image is None:
            return Proof.UNTOLD
        is_same = _sides(own.message) == _sides(image.message) or _orders(own) == _orders(image)
        return Proof.SAME if is_same else Proof.DIFFERENT


def _sides(snapshot: bytes) -> bytes:
    """The text of both sides' orders, which is the same for the same orders in the same form."""
    begin = snapshot.find(b'"bids":')
    return snapshot[begin : snapshot.rfind(b"]", 0, snapshot.rfind(b"]")) + 1] if begin >= 0 else snapshot


def _orders(image: BookImage) -> list[list[tuple[str, bytes, bytes, Optional[str]]]]:
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
        self._parameters: Optional[Parameters] = None
        self._texts: deque[tuple[bytes, int]] = deque()
        self._remembered = 0

    @property
    def recent(self) -> list[bytes]:
        """The last lines that went through it."""
        return b"".join(text for text, _ in self._texts).split(b"\n")[:-1][-REMEMBERED:]

    def feed(self, lines: Sequence[bytes]) -> None:
        """The next messages."""
        text = b"\n".join(lines) + b"\n"
        self._books.feed(text, len(lines))
        self.remember(text, len(lines))

    def remember(self, text: bytes, lines: int) -> None:
        """Messages of it, of which its last ones are remembered, went through the books."""
        self._texts.append((text, lines))
        self._remembered += lines
        while self._remembered - self._texts[0][1] >= REMEMBERED:
            self._remembered -= self._texts.popleft()[1]

    def begin(self, snapshot: bytes) -> None:
        """The book begins anew."""
        self._parameters = None
        self.feed([snapshot])

    def _known_parameters(self) -> Parameters:
        """Told ones hold until the next snapshot; inferred ones may change before."""
        if self._parameters is not None:
            return self._parameters
        tally = self._books.tally(self._symbol)
        if not tally.depth_inferred and not tally.precision_inferred:
            self._parameters = tally.parameters()
        return tally.parameters()

    def is_in_step(self) -> bool:
        """Whether its last checksum came out."""
        return self._books.tally(self._symbol).state is State.SYNCED

    def compare(self, snapshot: bytes) -> Proof:
        """Whether the stream leads to a snapshot, order by order.

        It does where the book is the snapshot's, and where the updates later than the snapshot make it the book: then
        its source has lost those directly behind it.
        """
        parameters = self._known_parameters()
        proof = self._books.compare(self._symbol, parameters, [snapshot])
        if proof is not Proof.DIFFERENT:
            return proof
        at_ns = time_of(snapshot)
        later = list(takewhile(lambda line: time_of(line) > at_ns, reversed(self.recent)))
        if not at_ns or not later or len(later) == REMEMBERED:
            return proof
        return self._books.compare(self._symbol, parameters, [snapshot, *reversed(later)])
