"""hftbacktest's event arrays (npz, key `data`) with its level 3 events, one a pair and day.

An add of a live id and a cancel of an unknown one are errors there (https://hftbacktest.readthedocs.io), so an order
that leaves the window is cancelled (eviction) and one that comes back is added. A fill stands before the cancel or
modify of the same order. A snapshot within a day is a clear and adds, or the difference to the book before (`resync`):
a clear would expire the user's own simulated orders too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from kraken_l3.export.arrow import to_doubles
from kraken_l3.export.formats.event_stream import BUY, Event, NumberedIds, Resting, RestingOrders, Source, write_days
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store

__all__ = ["EVENT", "RESYNCS", "export_hftbacktest"]

RESYNCS = ("diff", "clear")
EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ],
    align=True,
)
_CLEAR, _ADD, _CANCEL, _MODIFY, _FILL = 3, 10, 11, 12, 13
_EXCH_AND_LOCAL = 1 << 31 | 1 << 30
_BUY, _SELL = 1 << 29, 1 << 28


def export_hftbacktest(source: Source, store: Store, resync: str = "diff") -> list[str]:
    """Events and the map of their ids for all days of a pair; gives the files' names."""
    return write_days(source, lambda day, price, qty: _Day(store, source.symbol, day, price, qty, resync))


class _Day:
    def __init__(self, store: Store, symbol: str, day: dt.date, price_scale: int, qty_scale: int, resync: str) -> None:
        self._store, self._resync = store, resync
        self._stem = f"hftbacktest/{escape_symbol(symbol)}_{day.isoformat()}"
        self._price_scale, self._qty_scale = price_scale, qty_scale
        self._ids = NumberedIds(64)
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._at = (0, 0)

    def open_with(self, book: RestingOrders, at_ns: int) -> None:
        self._at = (at_ns, at_ns)
        self._put(_CLEAR)
        for order_id, order in book.in_order():
            self._order(_ADD, order_id, order.side, order.price, order.qty)

    def message(self, events: Sequence[Event], before: RestingOrders) -> None:
        last = events[-1]
        self._at = (last.event_ns or last.recv_ns, last.recv_ns)
        if events[0].action != "clear":
            for event in events:
                self._change(event)
            return
        if not before.by_id or self._resync == "clear":
            self._put(_CLEAR)
            stays: set[str] = set()
        else:
            stays = self._cancel_all_but(events[1:], before)
        for event in events[1:]:
            if event.order_id not in stays:
                self._order(_ADD, event.order_id, event.side, event.price, event.qty)

    def _cancel_all_but(self, after: Sequence[Event], before: RestingOrders) -> set[str]:
        """Cancel what is gone or has another place; gives the ids that may stay."""
        stays = set()
        wanted = {event.order_id: event for event in after}
        for order_id, order in before.by_id.items():
            event = wanted.get(order_id)
            if event is None or not _keeps_place(order, event):
                self._order(_CANCEL, order_id, order.side, order.price, order.qty)
                continue
            stays.add(order_id)
            if event.qty < order.qty:
                self._order(_MODIFY, order_id, order.side, order.price, event.qty)
        return stays

    def _change(self, event: Event) -> None:
        gone = event.action in ("delete", "evict")
        if event.classification in ("fill", "partial_fill"):
            self._order(_FILL, event.order_id, event.side, event.price, -event.change)
        kind = _CANCEL if gone else _MODIFY if event.action == "modify" else _ADD
        self._order(kind, event.order_id, event.side, event.price, event.qty)

    def _order(self, kind: int, order_id: str, side: str, price: int, qty: int) -> None:
        self._put(kind | (_BUY if side == BUY else _SELL), price, qty, self._ids[order_id])

    def _put(self, kind: int, price: int = 0, qty: int = 0, order_id: int = 0) -> None:
        self._rows.append((kind | _EXCH_AND_LOCAL, *self._at, price, qty, order_id))

    def finish(self) -> list[str]:
        name = f"{self._stem}.npz"
        output = self._store.begin(name)
        with ZipFile(output.file, "w", ZIP_DEFLATED) as packed, packed.open(ZipInfo("data.npy"), "w") as file:
            np.lib.format.write_array(file, self._array())
        output.publish()
        return [name, self._ids.write(self._store, f"{self._stem}_ids.csv")]

    def _array(self) -> Records:
        columns = list(zip(*self._rows))
        events = np.zeros(len(self._rows), EVENT)
        events["ev"], events["order_id"] = columns[0], np.array(columns[5], np.uint64)
        exch_ns = np.maximum.accumulate(np.array(columns[1], np.int64))
        local_ns = np.maximum.accumulate(np.array(columns[2], np.int64))
        # a clock that is behind Kraken's makes latencies negative, which the backtest refuses: shift it for all alike
        events["exch_ts"], events["local_ts"] = exch_ns, local_ns + max(0, int((exch_ns - local_ns).max()))
        events["px"] = to_doubles(np.array(columns[3], np.int64), np.int8(self._price_scale))
        events["qty"] = to_doubles(np.array(columns[4], np.int64), np.int8(self._qty_scale))
        return events


def _keeps_place(order: Resting, event: Event) -> bool:
    same = (order.side, order.price, order.order_ns) == (event.side, event.price, event.order_ns)
    return same and event.qty <= order.qty
