"""The depth that nothing told: two books until the data says which is right ("Depth" on the port's page)."""

from __future__ import annotations

from typing import Optional

from kraken_l3.book.book import Book, Finding
from kraken_l3.engine.parse import Content
from kraken_l3.engine.port import MAX_ORDERS
from kraken_l3.model.events import OrderEvent

__all__ = ["InferredWindow", "smallest_depth"]

#: Those that Kraken serves. Source: https://docs.kraken.com/api/docs/websocket-v2/level3
DEPTHS = (10, 100, 1000)


def smallest_depth(levels: int) -> int:
    """The smallest depth of Kraken's that holds so many levels a side."""
    return next((depth for depth in DEPTHS if levels <= depth), DEPTHS[-1])


class InferredWindow:
    """Whether a book's window may be larger than what its snapshot showed.

    Attributes:
        open: no message has told yet.
    """

    __slots__ = ("_wide", "open")

    def __init__(self, depth: int) -> None:
        self.open = depth < DEPTHS[-1]
        self._wide: Optional[Book] = None  # the same book, not cut; None while nothing was ever cut from the other

    def update(self, book: Book, content: Content, trace: Optional[list[OrderEvent]]) -> tuple[Book, list[Finding]]:
        """Apply an update; gives the book that it leaves, this one or a wider one, and what could not be applied."""
        bids, asks = content.bids, content.asks
        if self._wide is None:
            most = max(len(book.bids.keys) + len(bids), len(book.asks.keys) + len(asks))
            if most <= book.depth:
                return book, book.update(bids, asks, trace)
            self._wide = book.copy(DEPTHS[-1])
        wide = self._wide
        came_back = any(
            event == "add" and order_id in wide.orders and order_id not in book.orders
            for event, order_id, _, _, _ in (*bids, *asks)
        )
        findings, wide_findings = book.update(bids, asks, trace), wide.update(bids, asks)
        fits, wide_fits = (content.checksum < 0 or each.checksum() == content.checksum for each in (book, wide))
        if wide_fits and (not fits or len(wide_findings) < len(findings)):
            wide.depth = max(smallest_depth(wide.level_count()), smallest_depth(book.depth + 1))
            self.open, self._wide = wide.depth < DEPTHS[-1], None  # the next larger window may be the right one
            if trace is not None:
                wide.tell(trace)
            return wide, wide_findings
        if (fits and (not wide_fits or came_back)) or len(wide.orders) > MAX_ORDERS:
            self.open, self._wide = False, None
        return book, findings
