"""hftbacktest's event arrays (npz, key `data`) with its level 3 events, one a pair and day.

An add of a live id and a cancel of an unknown one are errors there (https://hftbacktest.readthedocs.io), so an order
that leaves the window is cancelled (eviction) and one that comes back is added. A fill stands before the cancel or
modify of the same order. A snapshot within a day is a clear and adds, or the difference to the book before (`resync`):
a clear would expire the user's own simulated orders too.

Latencies must not be negative there. Where the receiving clock was behind Kraken's, all local times of the day are
shifted by the largest lag; `..._clock.json` beside the file says by how much.
"""

from __future__ import annotations

import json
import tempfile
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np

from kraken_l3.export.arrow import to_doubles
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store, write_file
from kraken_l3.model.events import Action, Classification, Side
from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["EVENT", "export_hftbacktest"]

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
_READ_ROWS = 1 << 16
_ZIP64_BYTES = 1 << 30  # well below the 2 GiB that a file of an older zip may have


def export_hftbacktest(source: Source, store: Store, resync: str = "diff") -> Written:
    """Events, the shift of their clock and the map of their ids for all days of a pair; gives the files' names."""
    return write_days(source, lambda day: _Day(store, day, resync))


class _Day:
    """Rows wait in a temporary file: how many there are, and how far the clocks lie apart, is known at the end."""

    def __init__(self, store: Store, day: NewDay, resync: str) -> None:
        self._store, self._resync = store, resync
        self._stem = f"hftbacktest/{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._price_scale, self._qty_scale = np.int8(day.price_scale), np.int8(day.qty_scale)
        self._ids = NumberedIds(64, salt=day.salt, scratch=store.scratch)
        self._rows = tempfile.TemporaryFile(dir=store.scratch, prefix=".rows-")  # noqa: SIM115 - closed at the end
        self._count = 0
        self._exch_ns = self._local_ns = -(1 << 63)
        # a clock that is behind Kraken's makes latencies negative, which the backtest refuses: all local times are
        # shifted alike, by the worst of them
        self._shift_ns = 0

    def open_with(self, resting: Orders, at_ns: int) -> None:
        clear = self._clear()
        adds = self._of_orders(_ADD, resting, np.arange(len(resting.price)), resting.qty)
        self._write(np.concatenate([clear, adds]), at_ns, at_ns)

    def updates(self, updates: Updates) -> None:
        after = updates.after
        fills = (updates.classification == Classification.FILL) | (
            updates.classification == Classification.PARTIAL_FILL
        )
        kind = np.where(updates.gone, _CANCEL, np.where(updates.action == Action.MODIFY, _MODIFY, _ADD))
        event = np.repeat(np.arange(len(kind)), 1 + fills)
        is_fill = np.append(event[1:] == event[:-1], False)  # the first of two rows
        qty = np.where(is_fill, -updates.change[event], after.qty[event])
        rows = self._of_orders(np.where(is_fill, _FILL, kind[event]), after, event, qty)
        exch_ns = np.where(updates.event_ns != 0, updates.event_ns, updates.recv_ns)
        self._write(rows, exch_ns[event], updates.recv_ns[event])

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        everything = np.arange(len(after.price))
        if not len(before.price) or self._resync == "clear":
            rows = [self._clear(), self._of_orders(_ADD, after, everything, after.qty)]
        else:
            # an order that stays keeps its place in the backtest's queues: so does the user's order behind it
            same = (found.side == after.side) & (found.price == after.price) & (found.order_ns == after.order_ns)
            stays = found.rests & same & (after.qty <= found.qty)
            stayed = (successor >= 0) & np.append(stays, False)[successor]
            less = stayed & (np.append(after.qty, 0)[successor] < before.qty)
            touched = np.flatnonzero(~stayed | less)
            kind = np.where(stayed, _MODIFY, _CANCEL)[touched]
            qty = np.where(stayed, np.append(after.qty, 0)[successor], before.qty)[touched]
            rows = [
                self._of_orders(kind, before, touched, qty),
                self._of_orders(_ADD, after, everything[~stays], after.qty[~stays]),
            ]
        self._write(np.concatenate(rows), at.event_ns or at.recv_ns, at.recv_ns)

    def _clear(self) -> Records:
        rows = np.zeros(1, EVENT)
        rows["ev"] = _CLEAR | _EXCH_AND_LOCAL
        return rows

    def _of_orders(self, kind: Any, orders: Orders, index: Records, qty: Records) -> Records:
        rows = np.zeros(len(index), EVENT)
        side = np.where(orders.side[index] == Side.BID, _BUY, _SELL)
        rows["ev"] = kind | side | _EXCH_AND_LOCAL
        rows["px"] = to_doubles(orders.price[index], self._price_scale)
        rows["qty"] = to_doubles(qty, self._qty_scale)
        rows["order_id"] = self._ids.of_orders(orders, index)
        return rows

    def _write(self, rows: Records, exch_ns: Any, local_ns: Any) -> None:
        if not len(rows):
            return
        rows["exch_ts"], rows["local_ts"] = exch_ns, local_ns
        rows["exch_ts"] = np.maximum(np.maximum.accumulate(rows["exch_ts"]), self._exch_ns)
        rows["local_ts"] = np.maximum(np.maximum.accumulate(rows["local_ts"]), self._local_ns)
        self._exch_ns, self._local_ns = int(rows["exch_ts"][-1]), int(rows["local_ts"][-1])
        self._shift_ns = max(self._shift_ns, int((rows["exch_ts"] - rows["local_ts"]).max()))
        self._rows.write(rows.tobytes())
        self._count += len(rows)

    def finish(self) -> Written:
        if not self._count:  # a day that begins with a snapshot which changes nothing
            self.abandon()
            return Written([])
        output = self._store.begin(f"{self._stem}.npz")
        try:
            self._copy_to(output.file)
            output.publish()
        except BaseException:
            output.abandon()
            raise
        clock = {"local_ts_shift_ns": self._shift_ns}
        described = write_file(self._store, f"{self._stem}_clock.json", f"{json.dumps(clock)}\n".encode())
        notes = []
        if self._shift_ns:
            shift = f"all local times are {self._shift_ns / NS_PER_S:.9f} s later than received"
            why = "the receiving clock was behind Kraken's by up to that, and hftbacktest refuses negative latencies"
            notes.append(f"{self._stem}.npz: {shift}: {why}")
        ids = self._ids.write(self._store, f"{self._stem}_ids.csv")
        self.abandon()
        return Written([f"{self._stem}.npz", described, ids], notes)

    def _copy_to(self, target: BinaryIO) -> None:
        self._rows.seek(0)
        large = self._count * EVENT.itemsize > _ZIP64_BYTES
        with ZipFile(target, "w") as packed, packed.open(ZipInfo("data.npy"), "w", force_zip64=large) as file:
            header = {"descr": np.lib.format.dtype_to_descr(EVENT), "fortran_order": False, "shape": (self._count,)}
            np.lib.format.write_array_header_1_0(file, header)
            while data := self._rows.read(_READ_ROWS * EVENT.itemsize):
                rows = np.frombuffer(bytearray(data), EVENT)
                rows["local_ts"] += self._shift_ns
                file.write(rows.tobytes())

    def abandon(self) -> None:
        self._rows.close()
        self._ids.close()
