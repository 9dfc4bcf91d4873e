"""The orders of one symbol as the engine's events tell them: what a subscriber of a smaller depth is sent of each
message, and the price levels that `book` and `ticker` show.

The checksum covers the ten best levels, so it is the same for every depth
(https://docs.kraken.com/api/docs/guides/spot-ws-l3-v2).
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.engine.port import BookImage
from kraken_l3.model.decimals import format_scaled, parse_scaled
from kraken_l3.model.events import Action, Side
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339

__all__ = ["Entry", "Window"]


class Entry(NamedTuple):
    """One row of the engine's event columns, of one message."""

    side: int
    action: int
    order_id: str
    order_ns: int
    stated_ns: int
    price: int
    qty: int
    stated_qty: int
    queue_position: int


class _Order(NamedTuple):
    order_id: str
    qty: int
    order_ns: int


class _ImageOrder(msgspec.Struct):
    order_id: str
    limit_price: msgspec.Raw
    order_qty: msgspec.Raw
    timestamp: str = ""


class _ImageBook(msgspec.Struct):
    bids: list[_ImageOrder]
    asks: list[_ImageOrder]
    checksum: int
    timestamp: str = ""


class _Image(msgspec.Struct):
    data: list[_ImageBook]


_snapshot = msgspec.json.Decoder(_Image)


class _Half:
    """One side: levels by price, `keys` sorted so that the best comes first."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self.levels: dict[int, list[_Order]] = {}

    def prices(self, depth: int) -> list[int]:
        """The best prices."""
        return [key * self._sign for key in self._keys[:depth]]

    def is_beyond(self, prices: Iterable[int], depth: int) -> bool:
        """Whether all of these prices are worse than what so many levels show."""
        if len(self._keys) < depth:
            return False
        worst = self._keys[depth - 1]
        return all(price * self._sign > worst for price in prices)

    def insert(self, price: int, place: int, order: _Order) -> None:
        """Puts an order into its level."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = []
            insort(self._keys, price * self._sign)
        level.insert(place, order)

    def remove(self, price: int, order_id: str) -> None:
        """Takes an order out of its level."""
        level = self.levels[price]
        level[:] = [order for order in level if order.order_id != order_id]
        if not level:
            del self.levels[price]
            del self._keys[bisect_left(self._keys, price * self._sign)]


class Window:
    """See the module.

    Args:
        symbol: whose orders.

    Attributes:
        precisions: decimals of prices and quantities; to be set before a book comes.
        is_known: whether there is a book.
        at_ns: Kraken's time of the last message.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.precisions = (0, 0)
        self.is_known = False
        self.at_ns = 0
        self._clear()

    def _clear(self) -> None:
        self._halves = {Side.BID: _Half(-1), Side.ASK: _Half(1)}
        self._resting: dict[str, tuple[int, int]] = {}

    def load(self, image: BookImage, precisions: tuple[int, int]) -> None:
        """Begin with a book."""
        self._clear()
        self.precisions, self.is_known = precisions, True
        book = _snapshot.decode(image.message).data[0]
        self.at_ns = parse_rfc3339(book.timestamp) if book.timestamp else 0
        for side, orders in ((Side.BID, book.bids), (Side.ASK, book.asks)):
            for place, order in enumerate(orders):
                price, qty = (
                    parse_scaled(bytes(n), p) for n, p in zip((order.limit_price, order.order_qty), precisions)
                )
                time_ns = parse_rfc3339(order.timestamp) if order.timestamp else 0
                self._insert(side, price, place, _Order(order.order_id, qty, time_ns))

    def _insert(self, side: int, price: int, place: int, order: _Order) -> None:
        self._resting[order.order_id] = side, price
        self._halves[Side(side)].insert(price, place, order)

    def _apply(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.action == Action.CLEAR:
                self._clear()
                self.is_known = True
                continue
            if entry.action != Action.ADD and entry.order_id in self._resting:
                side, price = self._resting.pop(entry.order_id)
                self._halves[Side(side)].remove(price, entry.order_id)
            if entry.action in (Action.ADD, Action.MODIFY, Action.SNAPSHOT):
                order = _Order(entry.order_id, entry.qty, entry.order_ns)
                self._insert(entry.side, entry.price, entry.queue_position, order)

    def levels(self, side: Side, depth: int) -> list[tuple[int, int]]:
        """The best price levels of a side: (price, quantity), both scaled."""
        half = self._halves[side]
        return [(price, sum(order.qty for order in half.levels[price])) for price in half.prices(depth)]

    def snapshot_like(self, image: BookImage, depth: int) -> bytes:
        """The snapshot message of so many levels; the checksum is that of the whole book."""
        return self._snapshot(depth, _snapshot.decode(image.message).data[0].checksum, self.at_ns)

    def _snapshot(self, depth: int, checksum: int, at_ns: int) -> bytes:
        sides = {
            side: [self._text("", order, price) for price in half.prices(depth) for order in half.levels[price]]
            for side, half in self._halves.items()
        }
        return self._message("snapshot", sides, checksum, at_ns)

    def follow(self, depths: list[int], entries: list[Entry], checksum: int, at_ns: int) -> list[bytes]:
        """Follow the events of one message, and give what subscribers of each depth are sent of it; b"": nothing."""
        self.at_ns = at_ns or self.at_ns
        if entries and entries[0].action == Action.CLEAR:
            self._apply(entries)
            return [self._snapshot(depth, checksum, at_ns) for depth in depths]
        left = {entry.order_id: self._resting.get(entry.order_id) for entry in entries if entry.action == Action.MODIFY}
        before = [self._seen_before(depth, entries, left) for depth in depths]
        self._apply(entries)
        texts = []
        for depth, seen in zip(depths, before):
            sides = {side: list(self._seen(side, depth, prices, entries, left)) for side, prices in seen.items()}
            texts.append(self._message("update", sides, checksum, at_ns) if any(sides.values()) else b"")
        return texts

    def _seen_before(
        self, depth: int, entries: list[Entry], left: dict[str, Optional[tuple[int, int]]]
    ) -> dict[Side, set[int]]:
        """The prices that each side shows, where the entries can change what it shows."""
        found = {}
        for side, half in self._halves.items():
            touched = [entry.price for entry in entries if entry.side == side]
            touched += [rested[1] for rested in left.values() if rested is not None and rested[0] == side]
            if touched and not half.is_beyond(touched, depth):
                found[side] = set(half.prices(depth))
        return found

    def _seen(
        self, side: Side, depth: int, before: set[int], entries: list[Entry], left: dict[str, Optional[tuple[int, int]]]
    ) -> Iterator[str]:
        """The entries of one side: deletes, adds, modifies, as Kraken groups them."""
        half = self._halves[side]
        after = half.prices(depth)
        revealed = [price for price in after if price not in before]
        shown = set(after) - set(revealed)
        own = [entry for entry in entries if entry.side == side]
        for entry in own:
            is_gone = entry.action == Action.DELETE and entry.price in before
            if is_gone:
                stated = _Order(entry.order_id, entry.stated_qty, entry.stated_ns or entry.order_ns)
                yield self._text("delete", stated, entry.price)
            elif entry.action == Action.MODIFY and entry.price not in after:
                old = left.get(entry.order_id)
                if old is not None and old[1] in before:  # it moved out of sight
                    yield self._text("delete", _Order(entry.order_id, entry.qty, entry.order_ns), old[1])
        for entry in own:
            if entry.action == Action.ADD and entry.price in shown:
                yield self._text("add", _Order(entry.order_id, entry.qty, entry.order_ns), entry.price)
        for price in revealed:
            for order in half.levels[price]:
                yield self._text("add", order, price)
        for entry in own:
            if entry.action == Action.MODIFY and entry.price in shown:
                yield self._text("modify", _Order(entry.order_id, entry.qty, entry.order_ns), entry.price)

    def _text(self, event: str, order: _Order, price: int) -> str:
        head = f'{{"event":"{event}",' if event else "{"
        numbers = f'"limit_price":{format_scaled(price, self.precisions[0])}'
        numbers += f',"order_qty":{format_scaled(order.qty, self.precisions[1])}'
        time = f',"timestamp":"{format_rfc3339(order.order_ns)}"' if order.order_ns else ""
        return f'{head}"order_id":{_quoted(order.order_id)},{numbers}{time}}}'

    def _message(self, kind: str, sides: dict[Side, list[str]], checksum: int, at_ns: int) -> bytes:
        bids, asks = (",".join(sides.get(side, ())) for side in (Side.BID, Side.ASK))
        body = f'"symbol":{_quoted(self.symbol)},"bids":[{bids}],"asks":[{asks}],"checksum":{checksum}'
        time = f',"timestamp":"{format_rfc3339(at_ns)}"' if at_ns else ""
        return f'{{"channel":"level3","type":"{kind}","data":[{{{body}{time}}}]}}'.encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
