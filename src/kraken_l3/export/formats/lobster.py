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

import json
from bisect import bisect_left
from typing import Any, NamedTuple, Optional

import numpy as np

from kraken_l3.export.formats.csv_text import csv_lines, decimals, multiplied
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store, write_file
from kraken_l3.model.events import Action, Classification, Side
from kraken_l3.model.timestamps import day_start_ns

__all__ = ["export_lobster"]

_NEW, _REDUCED, _DELETED, _EXECUTED, _HALT = 1, 2, 3, 4, 7
_NO_ASK, _NO_BID = "9999999999,0", "-9999999999,0"
_LEAST_PRICE_SCALE = 4
_HALTED, _RESUMED = -1, 1
_MS_NS = 10**6


def export_lobster(source: Source, store: Store, levels: int = 10) -> Written:
    """Both files, the scales and the ids for all days of a pair; gives their names."""
    return write_days(source, lambda day: _Day(store, day, levels))


class _Lines(NamedTuple):
    """Lines of the message file in columns of one length; prices as the pair has them."""

    kind: Records
    number: Records
    side: Records
    price: Records
    size: Records


class _Side:
    """Sizes by price, and the best levels as text: cells that change little from line to line are written once.

    Args:
        sign: 1 where the lowest price is the best, else -1.
        levels: how many are shown.
        factor: of the prices shown.
        nothing: what stands for a level that is not there.
    """

    def __init__(self, sign: int, levels: int, factor: int, nothing: str) -> None:
        self._sign, self._levels, self._factor, self._nothing = sign, levels, factor * sign, nothing
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}
        self.shown = [nothing] * levels

    def change(self, price: int, by: int) -> bool:
        """Add to a level (take from it, if negative); tells whether the best levels changed."""
        key = price * self._sign
        before = self._sizes.get(key, 0)
        size = before + by
        place = bisect_left(self._keys, key)
        if size > 0:
            self._sizes[key] = size
            if not before:
                self._keys.insert(place, key)
        elif before:
            del self._sizes[key]
            del self._keys[place]
        if place >= self._levels or size == before or (size <= 0 and not before):
            return False
        if size <= 0:
            del self.shown[place]
            self.shown.append(self._text(self._levels - 1))
        elif before:
            self.shown[place] = f"{key * self._factor},{size}"
        else:
            self.shown.pop()
            self.shown.insert(place, f"{key * self._factor},{size}")
        return True

    def _text(self, place: int) -> str:
        if place >= len(self._keys):
            return self._nothing
        key = self._keys[place]
        return f"{key * self._factor},{self._sizes[key]}"


class _Day:
    def __init__(self, store: Store, day: NewDay, levels: int) -> None:
        self._store, self._levels = store, levels
        self._stem = f"lobster/{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._start_ns = day_start_ns(day.date)
        shown_scale = max(day.price_scale, _LEAST_PRICE_SCALE)
        self._factor = 10 ** (shown_scale - day.price_scale)
        self._scales = {"symbol": day.symbol, "price_scale": shown_scale, "size_scale": day.qty_scale}
        self._ids = NumberedIds(salt=day.salt, scratch=store.scratch)
        self._bids = _Side(-1, levels, self._factor, _NO_BID)
        self._asks = _Side(1, levels, self._factor, _NO_ASK)
        self._cells = [_NO_ASK, _NO_BID] * levels
        self._book = ",".join(self._cells) + "\n"
        self._first_ns: Optional[int] = None
        self._last_ns = 0
        # the names hold the time of the last line: until then they are others
        self._messages = store.begin(f"{self._stem}_message_{levels}.csv")
        try:
            self._books = store.begin(f"{self._stem}_orderbook_{levels}.csv")
        except BaseException:
            self._messages.abandon()
            raise

    def open_with(self, resting: Orders, at_ns: int) -> None:
        self._write(self._new(resting, np.arange(len(resting.price))), at_ns)

    def updates(self, updates: Updates) -> None:
        after, before = updates.after, updates.before
        new = (updates.action == Action.ADD) | ~before.rests
        gone = updates.gone & ~new
        in_place = (before.price == after.price) & (before.order_ns == after.order_ns)
        less = ~new & ~gone & in_place & (after.qty < before.qty)
        moved = ~(new | gone | less)
        traded = np.where(
            gone,
            updates.classification == Classification.FILL,
            updates.classification == Classification.PARTIAL_FILL,
        )
        event = np.repeat(np.arange(len(new)), 1 + moved)
        is_first = np.append(event[1:] == event[:-1], False)  # a moved order's delete, before its new line
        deletes = gone[event] | is_first
        kind = np.where(less, np.where(traded, _EXECUTED, _REDUCED), _NEW)[event]
        kind[deletes] = np.where(gone & traded, _EXECUTED, _DELETED)[event][deletes]
        size = np.where(less, before.qty - after.qty, after.qty)[event]
        size = np.where(deletes, before.qty[event], size)
        number = self._ids.of_orders(after, event)
        side = np.where(deletes, before.side[event], after.side[event])
        price = np.where(deletes, before.price[event], after.price[event])
        self._write(_Lines(kind, number, side, price, size), updates.recv_ns[event])

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        everything = np.arange(len(after.price))
        if not len(before.price):
            self._write(self._new(after, everything), at.recv_ns)
            return
        stays = found.rests & (found.side == after.side) & (found.price == after.price) & (after.qty <= found.qty)
        stayed = (successor >= 0) & np.append(stays, False)[successor]
        qty = np.append(after.qty, 0)[successor]
        touched = np.flatnonzero(~stayed | (qty < before.qty))
        size = np.where(stayed, before.qty - qty, before.qty)[touched]
        numbers = self._ids.of_orders(before, touched)
        kind = np.where(stayed, _REDUCED, _DELETED)[touched]
        self._special(at.recv_ns, _HALTED)
        self._write(_Lines(kind, numbers, before.side[touched], before.price[touched], size), at.recv_ns)
        self._write(self._new(after, everything[~stays]), at.recv_ns)
        self._special(at.recv_ns, _RESUMED)

    def _new(self, orders: Orders, index: Records) -> _Lines:
        numbers = self._ids.of_orders(orders, index)
        return _Lines(np.full(len(index), _NEW), numbers, orders.side[index], orders.price[index], orders.qty[index])

    def _special(self, at_ns: int, price: int) -> None:
        times = self._times(np.array([at_ns]))
        self._messages.file.write(csv_lines([times, f"{_HALT},0,0,{price},-1"]))
        self._books.file.write(self._book.encode())

    def _write(self, lines: _Lines, at_ns: Any) -> None:
        if not len(lines.kind):
            return
        times = self._times(np.broadcast_to(at_ns, len(lines.kind)))
        prices = decimals(multiplied(lines.price, self._factor), 0)
        direction = np.where(lines.side == Side.BID, 1, -1)
        self._messages.file.write(csv_lines([times, lines.kind, lines.number, lines.size, prices, direction]))
        self._books.file.write(self._book_lines(lines).encode())

    def _times(self, at_ns: Records) -> Any:
        at_ns = np.maximum(np.maximum.accumulate(at_ns), self._last_ns)
        if self._first_ns is None:
            self._first_ns = int(at_ns[0])
        self._last_ns = int(at_ns[-1])
        return decimals(at_ns - self._start_ns, 9)

    def _book_lines(self, lines: _Lines) -> str:
        """The book after each line. Most lines touch none of the best levels: theirs is the line before."""
        bids, asks, cells, book = self._bids, self._asks, self._cells, self._book
        is_bid = (lines.side == Side.BID).tolist()
        by = np.where(lines.kind == _NEW, lines.size, -lines.size).tolist()
        made = []
        for bid, price, change in zip(is_bid, lines.price.tolist(), by):
            if (bids if bid else asks).change(price, change):
                if bid:
                    cells[1::2] = bids.shown
                else:
                    cells[0::2] = asks.shown
                book = ",".join(cells) + "\n"
            made.append(book)
        self._book = book
        return "".join(made)

    def finish(self) -> Written:
        if self._first_ns is None:  # nothing but an empty snapshot
            self.abandon()
            return Written([])
        first, last = ((at_ns - self._start_ns) // _MS_NS for at_ns in (self._first_ns, self._last_ns))
        stem = f"{self._stem}_{first}_{last}"
        names = [f"{stem}_message_{self._levels}.csv", f"{stem}_orderbook_{self._levels}.csv", f"{stem}_scales.json"]
        self._messages.publish(names[0])
        self._books.publish(names[1])
        write_file(self._store, names[2], f"{json.dumps(self._scales)}\n".encode())
        return Written([*names, self._ids.write(self._store, f"{stem}_ids.csv")])

    def abandon(self) -> None:
        self._messages.abandon()
        self._books.abandon()
        self._ids.close()
