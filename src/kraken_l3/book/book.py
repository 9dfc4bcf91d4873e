"""The level3 book of one symbol: orders by id, time priority in each level, a window of `depth` price levels a side.

A message is one transaction of Kraken's engine: it is applied as a whole, then the window is cut, and only then may
the book be judged. Orders cut off are forgotten, since Kraken sends them again when their level comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Optional

from kraken_l3.book.checksum import Checksum
from kraken_l3.book.classification import Memory, classify_delete, classify_modify
from kraken_l3.book.side import BookSide, Order
from kraken_l3.model.events import Action, Classification, OrderEvent, Side

__all__ = ["Book", "Change", "Finding"]

#: One entry of a message, read: event ("add", "modify", "delete"), order id, price, quantity, time.
Change = tuple[str, str, int, int, int]
_MAX_AHEAD = (1 << 63) - 1


class Finding(NamedTuple):
    """Something in a message that cannot be in a book in step: `kind` and, where one order is meant, its id."""

    kind: str
    order_id: str = ""


class Book:
    """A book at given precisions and depth; `trace` lists, where given, take one `OrderEvent` for each change."""

    __slots__ = ("_checksum", "asks", "bids", "depth", "memory", "orders", "price_precision", "qty_precision")

    def __init__(self, depth: int, price_precision: int, qty_precision: int) -> None:
        self.depth = depth
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.bids = BookSide()
        self.asks = BookSide()
        self.orders: dict[str, Order] = {}
        self.memory = Memory()
        self._checksum = Checksum(self.bids, self.asks)

    def checksum(self) -> int:
        """Kraken's CRC32 of the book as it stands."""
        return self._checksum.value()

    def level_count(self) -> int:
        """Levels of the longer side."""
        return max(len(self.bids.keys), len(self.asks.keys))

    def crossed(self) -> bool:
        """Whether the best bid is at or over the best ask."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids and asks) and -bids[0] >= asks[0]

    def fill(self, bids: Sequence[Change], asks: Sequence[Change], trace: Optional[list[OrderEvent]] = None) -> None:
        """Fill the empty book from a snapshot."""
        for is_bid, changes in ((True, bids), (False, asks)):
            for _, order_id, price, qty, ns in changes:
                if order_id in self.orders:
                    self._take_out(self.orders[order_id])
                self._put_in(Order(order_id, -price if is_bid else price, price, qty, ns, is_bid))
                if ns > self.memory.newest_ns:
                    self.memory.newest_ns = ns
        self._truncate(None)
        if trace is not None:
            self.tell(trace)

    def tell(self, trace: list[OrderEvent]) -> None:
        """Tell the whole book, as after a snapshot."""
        trace.append(_CLEAR)
        trace += [
            self._event(order, Action.SNAPSHOT, Classification.NONE, order.ns, order.qty, order.qty)
            for side in (self.bids, self.asks)
            for order in side
        ]

    def copy(self, depth: int) -> Book:
        """The same book, to go on from with another depth."""
        other = Book(depth, self.price_precision, self.qty_precision)
        for side in (self.bids, self.asks):
            for order in side:
                other._put_in(copy(order))
        other.memory = Memory(self.memory.newest_ns, tuple(self.memory.amending))
        return other

    def update(
        self, bids: Sequence[Change], asks: Sequence[Change], trace: Optional[list[OrderEvent]] = None
    ) -> list[Finding]:
        """Apply one update as a whole and cut the window; what could not be applied is found fault with."""
        findings: list[Finding] = []
        newest = self._apply(bids, self.bids, True, findings, trace) if bids else 0
        if asks:
            newest = max(newest, self._apply(asks, self.asks, False, findings, trace))
        if len(self.bids.keys) > self.depth or len(self.asks.keys) > self.depth:
            self._truncate(trace)
        if newest > self.memory.newest_ns:
            self.memory.newest_ns = newest
        return findings

    def _apply(
        self,
        changes: Sequence[Change],
        side: BookSide,
        is_bid: bool,
        findings: list[Finding],
        trace: Optional[list[OrderEvent]],
    ) -> int:
        """Apply the changes of one side; gives the latest time that they state."""
        orders, amending = self.orders, self.memory.amending
        newest = 0
        for event, order_id, price, qty, ns in changes:
            if ns > newest:
                newest = ns
            order = orders.get(order_id)
            if event == "add":
                new = Order(order_id, -price if is_bid else price, price, qty, ns, is_bid)
                if order is not None:
                    self._replace(order, trace)
                orders[order_id] = new
                side.insert(new)
                if trace is None:
                    amending.pop(order_id, None)
                else:
                    classification = self.memory.classify_add(order_id, ns, replaces=order is not None)
                    trace.append(self._event(new, Action.ADD, classification, ns, qty, qty))
            elif order is None:
                findings.append(Finding("unknown_id", order_id))
            elif order.is_bid is not is_bid:
                findings.append(Finding("wrong_side", order_id))
            elif event == "delete":
                if trace is not None or ns == order.ns:
                    self._classify_delete(order, qty, ns, trace)
                side.remove(order)
                del orders[order_id]
            else:
                new = Order(order_id, -price if is_bid else price, price, qty, ns, is_bid)
                self._modify(order, new, side, changes, trace)
        return newest

    def _replace(self, old: Order, trace: Optional[list[OrderEvent]]) -> None:
        """An id is added that rests already."""
        if trace is not None:
            trace.append(self._event(old, Action.EVICT, Classification.NONE, 0, -old.qty, 0))
        self._take_out(old)

    def _classify_delete(
        self, order: Order, stated_qty: int, stated_ns: int, trace: Optional[list[OrderEvent]]
    ) -> None:
        classification = classify_delete(stated_qty, stated_ns, order.ns)
        if classification is Classification.AMEND:
            self.memory.remember_amend(order.order_id)
        if trace is not None:
            trace.append(self._event(order, Action.DELETE, classification, stated_ns, -order.qty, stated_qty))

    def _modify(
        self,
        order: Order,
        new: Order,
        side: BookSide,
        changes: Sequence[Change],
        trace: Optional[list[OrderEvent]],
    ) -> None:
        change = new.qty - order.qty
        requeued = order.key != new.key or (new.ns != 0 and new.ns != order.ns)
        stated_ns = new.ns
        if requeued:
            new.ns = new.ns or order.ns
            self._take_out(order)
            self._put_in(new)
            order = new
        else:
            side.resize(order, new.qty)
        if trace is not None:
            fills = any(event == "delete" and qty == 0 for event, _, _, qty, _ in changes)
            classification = classify_modify(change=change, requeued=requeued, array_fills=fills)
            trace.append(self._event(order, Action.MODIFY, classification, stated_ns, change, new.qty))

    def _truncate(self, trace: Optional[list[OrderEvent]]) -> None:
        for side in (self.bids, self.asks):
            while len(side.keys) > self.depth:
                if trace is not None:
                    trace += [
                        self._event(order, Action.EVICT, Classification.NONE, 0, -order.qty, 0)
                        for order in side.levels[side.keys[-1]]
                    ]
                for order in side.pop_worst():
                    del self.orders[order.order_id]

    def _put_in(self, order: Order) -> None:
        self.orders[order.order_id] = order
        (self.bids if order.is_bid else self.asks).insert(order)

    def _take_out(self, order: Order) -> None:
        (self.bids if order.is_bid else self.asks).remove(order)
        del self.orders[order.order_id]

    def _event(
        self, order: Order, action: Action, classification: Classification, stated_ns: int, change: int, stated_qty: int
    ) -> OrderEvent:
        level, queue_position, qty_ahead = (self.bids if order.is_bid else self.asks).place(order)
        return OrderEvent(
            Side.BID if order.is_bid else Side.ASK,
            action,
            classification,
            order.order_id,
            order.ns,
            stated_ns,
            order.price,
            order.qty,
            change,
            stated_qty,
            level,
            queue_position,
            min(qty_ahead, _MAX_AHEAD),
        )


_CLEAR = OrderEvent(Side.NONE, Action.CLEAR, Classification.NONE, "", 0, 0, 0, 0, 0, 0, -1, -1, -1)
