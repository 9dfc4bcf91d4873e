"""LOBSTER's files for a pair and day: `message`, `orderbook` and, beside them, `kinds`, as many lines each.

Columns as https://lobsterdata.com/info/DataStructure.php has them. What does not fit is stated in `..._scales.json`
beside them: prices are multiplied by 10**4 or, where a pair has more decimals, by as many; sizes by the power of ten
that makes them whole.
Order ids are numbers of 63 bits, and `..._ids.csv` leads back.

    what happened                     type                     kind
    a new order                       1                        arrival
    an order comes into the window    1                        reentry
    the book that the file begins with  1                      opening
    reduction; cancel                 2; 3                     cancel
    an order leaves the window        3                        evict
    fill, partial fill                4                        execution
    trade without a fill in sight     5, order 0               hidden
    amend, place lost                 3, then 1                amend
    new snapshot within a day         7 price -1               halt
        the difference to it          3, 2 and 1               resync
                                      7 price 1                halt
    a time or id tells too little     1 or 3                   unknown

A row of `orderbook` is the book after the line beside it, whatever happened before. Of arrivals only, the lines that
are neither orders that arrived nor what became of orders (`reentry`, `opening`, `evict`, `resync`) are left out, but
they count in the book: a row then differs from the one before by them, too.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.export.formats.csv_text import csv_lines, decimals, multiplied
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.lobster_book import BookRows
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.formats.trade_stream import StreamedTrades, TradeMatch
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Output, Store, write_file
from kraken_l3.model.events import Action, Classification, Side
from kraken_l3.model.timestamps import day_start_ns

__all__ = ["export_lobster"]

_NEW, _REDUCED, _DELETED, _EXECUTED, _HIDDEN, _HALT = 1, 2, 3, 4, 5, 7
_LEAST_PRICE_SCALE = 4
_HALTED, _RESUMED = -1, 1
_MS_NS = 10**6

#: The kinds, by their numbers.
_KINDS = pa.array(
    [
        *("arrival", "cancel", "execution", "hidden", "amend", "unknown", "halt"),
        *("reentry", "opening", "evict", "resync"),
    ]
)
_ARRIVAL, _CANCEL, _EXECUTION, _HIDDEN_TRADE, _AMEND, _UNKNOWN, _HALT_LINE = range(7)
_REENTRY, _OPENING, _EVICT, _RESYNC = range(7, 11)
_KIND_OF_ADD = {Classification.NEW: _ARRIVAL, Classification.REENTRY: _REENTRY, Classification.AMEND: _AMEND}
_KIND_OF_DELETE = {Classification.FILL: _EXECUTION, Classification.CANCEL: _CANCEL, Classification.AMEND: _AMEND}


def export_lobster(source: Source, store: Store, levels: int = 10, *, arrivals_only: bool = False) -> Written:
    """All files of all days of a pair; gives their names."""
    return write_days(source, lambda day: _Day(store, day, levels, arrivals_only=arrivals_only))


class _Lines(NamedTuple):
    """Lines of the message file in columns of one length; prices as the pair has them.

    Attributes:
        type: LOBSTER's.
        kind: index into `_KINDS`.
        side: of the order that rests (or rested).
    """

    recv_ns: Records
    type: Records
    kind: Records
    number: Records
    side: Records
    price: Records
    size: Records


class _Day:
    def __init__(self, store: Store, day: NewDay, levels: int, *, arrivals_only: bool) -> None:
        self._store, self._levels, self._arrivals_only = store, levels, arrivals_only
        self._stem = f"lobster/{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._start_ns = day_start_ns(day.date)
        shown_scale = max(day.price_scale, _LEAST_PRICE_SCALE)
        self._factor = 10 ** (shown_scale - day.price_scale)
        self._scales = {"symbol": day.symbol, "price_scale": shown_scale, "size_scale": day.qty_scale}
        self._ids = NumberedIds(salt=day.salt, scratch=store.scratch)
        self._book = BookRows(levels, self._factor)
        self._first_ns: Optional[int] = None
        self._last_ns = 0
        self._thread = ThreadPoolExecutor(1)  # makes text of a batch while the next is worked on
        self._writing: Optional[Future[None]] = None
        # the names hold the time of the last line: until then they are others
        self._files: dict[str, Output] = {}
        try:
            for name in ("message", "orderbook", "kinds"):
                self._files[name] = store.begin(f"{self._stem}_{name}_{levels}.csv")
        except BaseException:
            self.abandon()
            raise

    def open_with(self, resting: Orders, at_ns: int) -> None:
        self._write(self._new(resting, np.arange(len(resting.price)), _OPENING, at_ns))

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
        type_ = np.where(less, np.where(traded, _EXECUTED, _REDUCED), _NEW)[event]
        type_[deletes] = np.where(gone & traded, _EXECUTED, _DELETED)[event][deletes]
        size = np.where(less, before.qty - after.qty, after.qty)[event]
        size = np.where(deletes, before.qty[event], size)
        number = self._ids.of_orders(after, event)
        side = np.where(deletes, before.side[event], after.side[event])
        price = np.where(deletes, before.price[event], after.price[event])
        kind = np.where(less & traded, _EXECUTION, np.where(less, _CANCEL, _AMEND))
        kind = np.where(new | gone, _kinds(updates), kind)[event]
        lines = _Lines(updates.recv_ns[event], type_, kind, number, side, price, size)
        self._write(_with_hidden(lines, event, updates.trades))

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        everything = np.arange(len(after.price))
        if not len(before.price):
            self._write(self._new(after, everything, _OPENING, at.recv_ns))
            return
        stays = found.rests & (found.side == after.side) & (found.price == after.price) & (after.qty <= found.qty)
        stayed = (successor >= 0) & np.append(stays, False)[successor]
        qty = np.append(after.qty, 0)[successor]
        touched = np.flatnonzero(~stayed | (qty < before.qty))
        size = np.where(stayed, before.qty - qty, before.qty)[touched]
        numbers = self._ids.of_orders(before, touched)
        type_ = np.where(stayed, _REDUCED, _DELETED)[touched]
        times, kinds = (np.full(len(touched), each) for each in (at.recv_ns, _RESYNC))
        self._halt(at.recv_ns, _HALTED)
        self._write(_Lines(times, type_, kinds, numbers, before.side[touched], before.price[touched], size))
        self._write(self._new(after, everything[~stays], _RESYNC, at.recv_ns))
        self._halt(at.recv_ns, _RESUMED)

    def _new(self, orders: Orders, index: Records, kind: int, at_ns: int) -> _Lines:
        times, types, kinds = (np.full(len(index), each) for each in (at_ns, _NEW, kind))
        numbers = self._ids.of_orders(orders, index)
        return _Lines(times, types, kinds, numbers, orders.side[index], orders.price[index], orders.qty[index])

    def _halt(self, at_ns: int, price: int) -> None:
        times = self._times(np.array([at_ns]))
        nothing = np.zeros(1, np.int64)
        rows = self._book.after(nothing, nothing, nothing, np.ones(1, bool))
        self._write_beside([times, f"{_HALT},0,0,{price},-1"], np.array([_HALT_LINE]), rows)

    def _write(self, lines: _Lines) -> None:
        if not len(lines.type):
            return
        shown = lines.kind < _REENTRY if self._arrivals_only else np.ones(len(lines.type), bool)
        by = np.where(lines.type == _NEW, lines.size, np.where(lines.type == _HIDDEN, 0, -lines.size))
        rows = self._book.after(lines.side == Side.BID, lines.price, by, shown)
        lines = lines if shown.all() else _Lines(*(column[shown] for column in lines))
        if not len(lines.type):
            return
        times = self._times(lines.recv_ns)
        prices = multiplied(lines.price, self._factor)
        self._write_beside(
            [times, lines.type, lines.number, lines.size, prices, _DIRECTION[lines.side]], lines.kind, rows
        )

    def _write_beside(self, columns: list[Any], kinds: Records, rows: bytes) -> None:
        self._finish_writing()  # one batch at a time: each holds its rows until they are written
        self._writing = self._thread.submit(self._write_lines, columns, kinds, rows)

    def _finish_writing(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write_lines(self, columns: list[Any], kinds: Records, rows: bytes) -> None:
        times, *others = columns
        large = [isinstance(each, np.ndarray) and each.dtype == object for each in others]  # more than 64 bits
        others = [decimals(each, 0) if is_large else each for each, is_large in zip(others, large)]
        self._files["message"].file.write(csv_lines([decimals(times, 9), *others]))
        self._files["kinds"].file.write(csv_lines([_KINDS.take(pa.array(kinds))]))
        self._files["orderbook"].file.write(rows)

    def _times(self, at_ns: Records) -> Records:
        at_ns = np.maximum(np.maximum.accumulate(at_ns), self._last_ns)
        if self._first_ns is None:
            self._first_ns = int(at_ns[0])
        self._last_ns = int(at_ns[-1])
        return at_ns - self._start_ns

    def finish(self) -> Written:
        self._finish_writing()
        if self._first_ns is None:  # nothing but an empty snapshot
            self.abandon()
            return Written([])
        self._thread.shutdown()
        first, last = ((at_ns - self._start_ns) // _MS_NS for at_ns in (self._first_ns, self._last_ns))
        stem = f"{self._stem}_{first}_{last}"
        names = []
        for name, output in self._files.items():
            names.append(f"{stem}_{name}_{self._levels}.csv")
            output.publish(names[-1])
        names.append(write_file(self._store, f"{stem}_scales.json", f"{json.dumps(self._scales)}\n".encode()))
        return Written([*names, self._ids.write(self._store, f"{stem}_ids.csv")])

    def abandon(self) -> None:
        self._thread.shutdown()
        for output in self._files.values():
            output.abandon()
        self._ids.close()


#: LOBSTER's direction, by the side of the order that rests.
_DIRECTION = np.zeros(max(Side) + 1, np.int64)
_DIRECTION[Side.BID], _DIRECTION[Side.ASK] = 1, -1


def _kinds(updates: Updates) -> Records:
    """The kinds of events that bring an order or take one."""
    kinds = np.full(len(updates.action), _UNKNOWN)
    for action, meant in ((Action.ADD, _KIND_OF_ADD), (Action.DELETE, _KIND_OF_DELETE)):
        for classification, kind in meant.items():
            kinds[(updates.action == action) & (updates.classification == classification)] = kind
    kinds[updates.action == Action.EVICT] = _EVICT
    order, message = updates.after.order_id, updates.message
    replaced = (updates.action[:-1] == Action.EVICT) & (updates.action[1:] == Action.ADD)
    kinds[:-1][replaced & (order[1:] == order[:-1]) & (message[1:] == message[:-1])] = _AMEND
    return kinds


def _with_hidden(lines: _Lines, event: Records, trades: StreamedTrades) -> _Lines:
    """The lines with trades between them that filled no order in sight: an order that was not shown."""
    # what Kraken repeats at a subscription had happened before
    hidden = np.flatnonzero((trades.match == TradeMatch.NO_FILL) & ~trades.records["is_recent"])
    if not len(hidden):
        return lines
    records, place = trades.records[hidden], np.searchsorted(event, trades.place[hidden])
    taker = records["taker_side"]
    maker = np.where(taker == Side.BID, Side.ASK, np.where(taker == Side.ASK, Side.BID, Side.NONE))
    columns = (trades.recv_ns[hidden], _HIDDEN, _HIDDEN_TRADE, 0, maker, records["price"], records["qty"])
    return _Lines(*(np.insert(column, place, values) for column, values in zip(lines, columns)))
