"""All that the Python engine keeps of one symbol: what is known of it, its book, its state and its counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import msgspec

from kraken_l3.book.book import Book
from kraken_l3.book.tracker import Tracker
from kraken_l3.engine.depth import InferredWindow, smallest_depth
from kraken_l3.engine.parse import Precision
from kraken_l3.engine.port import MAX_PRECISION, Bad, BookImage, SymbolTally
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import State, Verdict
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["BookParameters", "SymbolBook"]


class BookParameters:
    """Precision and depth of a symbol's books, where they were told."""

    __slots__ = ("depth", "price_precision", "qty_precision")

    def __init__(self) -> None:
        self.price_precision: Optional[int] = None
        self.qty_precision: Optional[int] = None
        self.depth: Optional[int] = None

    def set(self, price_precision: Optional[int], qty_precision: Optional[int], depth: Optional[int]) -> None:
        """See `Engine.set_symbol`."""
        for precision in (price_precision, qty_precision):
            if precision is not None and not 0 <= precision <= MAX_PRECISION:
                raise ValueError(f"precision {precision} is not in 0..{MAX_PRECISION}")
        if depth is not None and depth < 1:
            raise ValueError(f"depth {depth} is not positive")
        self.price_precision = self.price_precision if price_precision is None else price_precision
        self.qty_precision = self.qty_precision if qty_precision is None else qty_precision
        self.depth = self.depth if depth is None else depth

    @property
    def need_precision(self) -> bool:
        """Whether a precision has to be inferred."""
        return self.price_precision is None or self.qty_precision is None

    def precision(self, inferred: Precision) -> Precision:
        """What was told, and where nothing was told what was inferred."""
        return Precision(
            inferred.price if self.price_precision is None else self.price_precision,
            inferred.qty if self.qty_precision is None else self.qty_precision,
        )

    def depth_for(self, levels: int) -> int:
        """The depth that holds from a snapshot with so many levels on its longer side."""
        return smallest_depth(levels) if self.depth is None else self.depth


class SymbolBook:
    """One symbol in the engine.

    Attributes:
        book: None while there is none; `after_gap` says that a gap took it.
        precision: of the book's numbers; `open` says that nothing told it and no number was seen since the snapshot.
        window: None when the depth was told, or the data has told it since the snapshot.
    """

    __slots__ = (
        "after_gap",
        "book",
        "index",
        "last_line",
        "last_msg_ns",
        "last_top",
        "last_verdict",
        "open",
        "parameters",
        "precision",
        "symbol",
        "tally",
        "tracker",
        "window",
    )

    def __init__(self, symbol: str, index: int) -> None:
        self.symbol = symbol
        self.index = index
        self.parameters = BookParameters()
        self.tally = SymbolTally(symbol)
        self.tracker = Tracker()
        self.book: Optional[Book] = None
        self.precision = Precision(0, 0)
        self.open = False
        self.window: Optional[InferredWindow] = None
        self.after_gap = False
        self.last_line = -1
        self.last_msg_ns = 0
        self.last_verdict = Verdict.OK
        self.last_top: Optional[tuple[Sequence[int], ...]] = None

    def blame(self, bad: Bad) -> None:
        """Keep the first bad thing."""
        if self.tally.first_bad is None:
            self.tally.first_bad = bad

    def up_to_date_tally(self) -> SymbolTally:
        """The tally with what stands elsewhere filled in."""
        tally = self.tally
        tally.state = self.tracker.state
        tally.incidents = self.tracker.incidents
        tally.orders = len(self.book.orders) if self.book else 0
        return tally

    def drop(self, *, gap: bool) -> bool:
        """The book is gone; True when that closed an incident."""
        self.book = None
        self.last_top = None
        self.after_gap = gap
        return self.tracker.lose()

    def top(self, levels: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Prices and quantities of the best levels, filled up with -1 and 0."""
        assert self.book is not None
        columns: list[list[int]] = []
        for side, sign in ((self.book.bids, -1), (self.book.asks, 1)):
            keys = side.keys[:levels]
            missing = levels - len(keys)
            columns.append([sign * key for key in keys] + [-1] * missing)
            quantities = [min(sum([o.qty for o in side.levels[key]]), (1 << 63) - 1) for key in keys]
            columns.append(quantities + [0] * missing)
        return columns[0], columns[1], columns[2], columns[3]

    def order_counts(self, levels: int) -> tuple[list[int], list[int]]:
        """How many orders the best bid and ask levels have, filled up with 0."""
        assert self.book is not None
        bids, asks = (
            [len(side.levels[key]) for key in side.keys[:levels]] for side in (self.book.bids, self.book.asks)
        )
        return bids + [0] * (levels - len(bids)), asks + [0] * (levels - len(asks))

    def image(self) -> Optional[BookImage]:
        """The book in the shape of a Kraken snapshot."""
        book = self.book
        if book is None or self.tracker.state is State.AWAITING_SNAPSHOT:
            return None
        return BookImage(
            self.symbol,
            _snapshot_text(self.symbol, book, self.last_msg_ns).encode(),
            book.memory.newest_ns,
            tuple(book.memory.amending),
        )


def _snapshot_text(symbol: str, book: Book, msg_ns: int) -> str:
    sides = []
    for side in (book.bids, book.asks):
        entries = []
        for order in side:
            price = format_scaled(order.price, book.price_precision)
            qty = format_scaled(order.qty, book.qty_precision)
            time = f',"timestamp":"{format_rfc3339(order.ns)}"' if order.ns else ""
            entries.append(f'{{"order_id":{_quote(order.order_id)},"limit_price":{price},"order_qty":{qty}{time}}}')
        sides.append(",".join(entries))
    time = f',"timestamp":"{format_rfc3339(msg_ns)}"' if msg_ns else ""
    return (
        f'{{"channel":"level3","type":"snapshot","data":[{{"symbol":{_quote(symbol)},"checksum":{book.checksum()},'
        f'"bids":[{sides[0]}],"asks":[{sides[1]}]{time}}}]}}'
    )


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()
