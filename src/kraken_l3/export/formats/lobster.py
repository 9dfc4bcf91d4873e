"""LOBSTER's pair of files for a pair and day: `message` and `orderbook`, as many lines each.

Columns as https://lobsterdata.com/info/DataStructure.php has them. What does not fit is stated in `..._scales.json`
beside them: prices are multiplied by 10**4 or, where a pair has more decimals, by as many; sizes by the power of ten
that makes them whole.
Order ids are numbers of 63 bits, and `..._ids.csv` leads back.

    add                                    type 1 (re-entries too: the order was not visible before)
    delete as fill, partial fill           type 4
    reduction                              type 2
    delete as cancel or amend, eviction    type 3 (an evicted order is not visible any more)
    place lost (requeued)                  type 3, then type 1
    new snapshot within a day              type 7 price -1, the difference as 3, 2 and 1, type 7 price 1
"""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kraken_l3.export.formats.event_stream import BUY, SELL, Event, NumberedIds, RestingOrders, Source, write_days
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.storage import Store
from kraken_l3.model.timestamps import day_start_ns

__all__ = ["export_lobster"]

_NEW, _REDUCED, _DELETED, _EXECUTED, _HALT = 1, 2, 3, 4, 7
_NO_ASK, _NO_BID = 9_999_999_999, -9_999_999_999
_LEAST_PRICE_SCALE = 4
_HALTED, _RESUMED = -1, 1


def export_lobster(source: Source, store: Store, levels: int = 10) -> list[str]:
    """Both files, the scales and the ids for all days of a pair; gives their names."""
    return write_days(source, lambda day, price, qty: _Day(store, source.symbol, day, price, qty, levels))


class _Change(NamedTuple):
    """One line of the message file, and what it does to the book."""

    kind: int
    order_id: str
    side: str
    price: int
    size: int


class _Side:
    """Sizes by price, and the prices in order."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}

    def change(self, price: int, by: int) -> None:
        key = price * self._sign
        size = self._sizes.get(key, 0) + by
        if key not in self._sizes:
            insort(self._keys, key)
        self._sizes[key] = size
        if size <= 0:
            del self._sizes[key]
            del self._keys[bisect_left(self._keys, key)]

    def best(self, count: int) -> Iterator[tuple[int, int]]:
        return ((key * self._sign, self._sizes[key]) for key in self._keys[:count])


class _Day:
    def __init__(self, store: Store, symbol: str, day: dt.date, price_scale: int, qty_scale: int, levels: int) -> None:
        self._store, self._levels = store, levels
        self._ticker, self._day, self._start_ns = escape_symbol(symbol), day, day_start_ns(day)
        self._shown_scale = max(price_scale, _LEAST_PRICE_SCALE)
        self._factor = 10 ** (self._shown_scale - price_scale)
        self._scales = {"symbol": symbol, "price_scale": self._shown_scale, "size_scale": qty_scale}
        self._ids = NumberedIds()
        self._sides = {BUY: _Side(-1), SELL: _Side(1)}
        self._times: list[int] = []
        self._messages: list[str] = []
        self._books: list[str] = []

    def open_with(self, book: RestingOrders, at_ns: int) -> None:
        for order_id, order in book.in_order():
            self._line(at_ns, _Change(_NEW, order_id, order.side, order.price, order.qty))

    def message(self, events: Sequence[Event], before: RestingOrders) -> None:
        at_ns = max(events[-1].recv_ns, self._times[-1] if self._times else 0)
        if events[0].action != "clear":
            book = RestingOrders()
            ids = {event.order_id for event in events}
            book.by_id = {order_id: before.by_id[order_id] for order_id in ids if order_id in before.by_id}
            for event in events:
                for change in _changes(event, book):
                    self._line(at_ns, change)
                book.apply(event)
        elif not before.by_id:
            for event in events[1:]:
                self._line(at_ns, _Change(_NEW, event.order_id, event.side, event.price, event.qty))
        else:
            self._special(at_ns, _HALTED)
            for change in _difference(before, events[1:]):
                self._line(at_ns, change)
            self._special(at_ns, _RESUMED)

    def _special(self, at_ns: int, price: int) -> None:
        self._append(at_ns, f"{_HALT},0,0,{price},-1")

    def _line(self, at_ns: int, change: _Change) -> None:
        by = change.size if change.kind == _NEW else -change.size
        self._sides[change.side].change(change.price, by)
        direction = 1 if change.side == BUY else -1
        price = change.price * self._factor
        self._append(at_ns, f"{change.kind},{self._ids[change.order_id]},{change.size},{price},{direction}")

    def _append(self, at_ns: int, rest: str) -> None:
        seconds, ns = divmod(at_ns - self._start_ns, 10**9)
        self._times.append(at_ns)
        self._messages.append(f"{seconds}.{ns:09d},{rest}\n")
        self._books.append(self._book_line())

    def _book_line(self) -> str:
        asks = list(self._sides[SELL].best(self._levels))
        bids = list(self._sides[BUY].best(self._levels))
        cells: list[int] = []
        for level in range(self._levels):
            for side, nothing in ((asks, _NO_ASK), (bids, _NO_BID)):
                price, size = side[level] if level < len(side) else (None, 0)
                cells += [nothing if price is None else price * self._factor, size]
        return ",".join(map(str, cells)) + "\n"

    def finish(self) -> list[str]:
        first, last = ((at_ns - self._start_ns) // 10**6 for at_ns in (self._times[0], self._times[-1]))
        stem = f"lobster/{self._ticker}_{self._day.isoformat()}_{first}_{last}"
        names = []
        for kind, lines in (("message", self._messages), ("orderbook", self._books)):
            names.append(f"{stem}_{kind}_{self._levels}.csv")
            self._publish(names[-1], "".join(lines))
        names.append(f"{stem}_scales.json")
        self._publish(names[-1], json.dumps(self._scales) + "\n")
        return [*names, self._ids.write(self._store, f"{stem}_ids.csv")]

    def _publish(self, name: str, text: str) -> None:
        output = self._store.begin(name)
        output.file.write(text.encode())
        output.publish()


def _changes(event: Event, before: RestingOrders) -> Iterator[_Change]:
    order_id, side, price = event.order_id, event.side, event.price
    rested = before.by_id.get(order_id)
    if event.action == "add" or rested is None:
        yield _Change(_NEW, order_id, side, price, event.qty)
    elif event.action in ("delete", "evict"):
        kind = _EXECUTED if event.classification == "fill" else _DELETED
        yield _Change(kind, order_id, rested.side, rested.price, rested.qty)
    elif (rested.price, rested.order_ns) == (price, event.order_ns) and event.qty < rested.qty:
        kind = _EXECUTED if event.classification == "partial_fill" else _REDUCED
        yield _Change(kind, order_id, side, price, rested.qty - event.qty)
    else:
        yield _Change(_DELETED, order_id, rested.side, rested.price, rested.qty)
        yield _Change(_NEW, order_id, side, price, event.qty)


def _difference(before: RestingOrders, after: Sequence[Event]) -> Iterator[_Change]:
    """What leads from one book to the other."""
    wanted = {event.order_id: event for event in after}
    for order_id, order in before.by_id.items():
        event = wanted.get(order_id)
        stays = event is not None and (event.side, event.price) == (order.side, order.price)
        if event is None or not stays or event.qty > order.qty:
            yield _Change(_DELETED, order_id, order.side, order.price, order.qty)
        else:
            wanted.pop(order_id)
            if event.qty < order.qty:
                yield _Change(_REDUCED, order_id, order.side, order.price, order.qty - event.qty)
    for event in wanted.values():
        yield _Change(_NEW, event.order_id, event.side, event.price, event.qty)
