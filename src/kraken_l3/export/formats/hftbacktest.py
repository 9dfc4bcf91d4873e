"""hftbacktest's event arrays (npz, key `data`) with its level 3 events, one a pair and day.

An add of a live id and a cancel of an unknown one are errors there (https://hftbacktest.readthedocs.io), so an order
that leaves the window is cancelled (eviction) and one that comes back is added. A fill stands before the cancel or
modify of the same order. A snapshot within a day is a clear and adds, or the difference to the book before (`resync`):
a clear would expire the user's own simulated orders too.

Recorded trades stand where they were received. The library wants the rows of the exchange in the order of `exch_ts`
and those of the local side in that of `local_ts`: a trade that was received before events that happened earlier, or
after some that happened later, is a row of the local side alone. The library's level 3 exchange fills by the FILLs, and
looks at no trade.

Latencies must not be negative there. Where the receiving clock was behind Kraken's, all local times of the day are
shifted by the largest lag; the JSON beside the file says by how much, and all else that `BacktestAsset` asks for.
"""

from __future__ import annotations

import json
import tempfile
from typing import Any, BinaryIO, Optional
from zipfile import ZipFile, ZipInfo

import numpy as np

from kraken_l3.export.arrow import to_doubles
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.increments import increments
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.formats.trade_stream import NO_TRADES, StreamedTrades
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import Store, write_file
from kraken_l3.model.events import Action, Classification
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
_TRADE, _CLEAR, _ADD, _CANCEL, _MODIFY, _FILL = 2, 3, 10, 11, 12, 13
_KINDS = {"trade": _TRADE, "clear": _CLEAR, "add": _ADD, "cancel": _CANCEL, "modify": _MODIFY, "fill": _FILL}
_EXCH, _LOCAL = 1 << 31, 1 << 30
_BUY, _SELL = 1 << 29, 1 << 28
_SIDES = np.array([_BUY, _SELL, 0], np.uint64)  # by `Side`
_READ_BYTES = 1 << 22
_ZIP64_BYTES = 1 << 30  # well below the 2 GiB that a file of an older zip may have


def export_hftbacktest(source: Source, store: Store, resync: str = "diff") -> Written:
    """Events, what a backtest must know of them, and the map of their ids for all days of a pair; gives the names."""
    return write_days(source, lambda day: _Day(source, store, day, resync))


class _Day:
    """Rows wait in a temporary file: how many there are, and how far the clocks lie apart, is known at the end."""

    def __init__(self, source: Source, store: Store, day: NewDay, resync: str) -> None:
        self._store, self._resync = store, resync
        self._stem = f"hftbacktest/{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._price_scale, self._qty_scale = np.int8(day.price_scale), np.int8(day.qty_scale)
        self._steps = increments(source.archive, day)
        self._told: dict[str, Any] = {"symbol": day.symbol, "day": day.date.isoformat(), "opening_rows": 0}
        self._ids = NumberedIds(64, salt=day.salt, scratch=store.scratch)
        self._rows = tempfile.TemporaryFile(dir=store.scratch, prefix=".rows-")  # noqa: SIM115 - closed at the end
        self._exch_ns = self._local_ns = -(1 << 63)
        self._counts = np.zeros(256, np.int64)
        self._prices = (np.inf, 0.0)
        self._latency = _Latency()

    def open_with(self, resting: Orders, at_ns: int) -> None:
        adds = self._of_orders(_ADD, resting, np.arange(len(resting.price)), resting.qty)
        self._told["opening_rows"] = 1 + len(adds)
        self._write(np.concatenate([self._clear(), adds]), at_ns, at_ns)

    def updates(self, updates: Updates) -> None:
        after = updates.after
        fills = (updates.classification == Classification.FILL) | (
            updates.classification == Classification.PARTIAL_FILL
        )
        kind = np.where(updates.gone, _CANCEL, np.where(updates.action == Action.MODIFY, _MODIFY, _ADD))
        event = np.repeat(np.arange(len(kind)), 1 + fills)
        is_fill = np.append(event[1:] == event[:-1], False)[: len(event)]  # the first of two rows
        qty = np.where(is_fill, -updates.change[event], after.qty[event])
        rows = self._of_orders(np.where(is_fill, _FILL, kind[event]), after, event, qty)
        rows["ival"] = np.where(is_fill, np.maximum(updates.trade_id[event], 0), 0)
        exch_ns = np.where(updates.event_ns != 0, updates.event_ns, updates.recv_ns)
        self._write(
            rows, exch_ns[event], updates.recv_ns[event], updates.trades, np.searchsorted(event, updates.trades.place)
        )

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
        rows["ev"] = _CLEAR | _EXCH | _LOCAL
        return rows

    def _of_orders(self, kind: Any, orders: Orders, index: Records, qty: Records) -> Records:
        rows = np.zeros(len(index), EVENT)
        rows["ev"] = _SIDES[orders.side[index]] | np.uint64(_EXCH | _LOCAL) | np.asarray(kind, np.uint64)
        rows["px"] = to_doubles(orders.price[index], self._price_scale)
        rows["qty"] = to_doubles(qty, self._qty_scale)
        rows["order_id"] = self._ids.of_orders(orders, index)
        return rows

    def _write(
        self, rows: Records, exch_ns: Any, local_ns: Any, trades: StreamedTrades = NO_TRADES, places: Any = ()
    ) -> None:
        """Rows with their times, and trades between them: each before the row with its place."""
        rows["exch_ts"], rows["local_ts"] = exch_ns, local_ns
        rows["exch_ts"] = np.maximum(np.maximum.accumulate(rows["exch_ts"]), self._exch_ns)
        if len(trades.records):
            rows = self._with_trades(rows, trades, np.asarray(places))
        if not len(rows):
            return
        rows["local_ts"] = np.maximum(np.maximum.accumulate(rows["local_ts"]), self._local_ns)
        self._local_ns = int(rows["local_ts"][-1])
        ordered = rows["exch_ts"][(rows["ev"] & np.uint64(_EXCH)) != 0]
        self._exch_ns = max(self._exch_ns, int(ordered[-1]) if len(ordered) else self._exch_ns)
        self._counts += np.bincount(rows["ev"].astype(np.uint8), minlength=256)
        if not np.array_equal(exch_ns, local_ns):  # the opening book has no latency
            self._latency.add(rows["local_ts"] - rows["exch_ts"])
        priced = rows["px"][rows["px"] > 0]
        if len(priced):
            self._prices = min(self._prices[0], float(priced.min())), max(self._prices[1], float(priced.max()))
        self._rows.write(rows.view(np.uint8))

    def _with_trades(self, rows: Records, trades: StreamedTrades, places: Records) -> Records:
        new = ~trades.records["is_recent"]  # what Kraken repeats at a subscription had happened before
        records, places = trades.records[new], places[new]
        own_ns = records["ts_event"]
        before = np.append(self._exch_ns, rows["exch_ts"])[places]
        behind = np.append(rows["exch_ts"], np.iinfo(np.int64).max)[places]
        fits = (before <= own_ns) & (own_ns <= behind)
        fits &= own_ns == np.maximum.accumulate(np.where(fits, own_ns, 0))
        traded = np.zeros(len(records), EVENT)
        sides = _SIDES[records["taker_side"]]
        traded["ev"] = sides | np.where(fits, np.uint64(_EXCH | _LOCAL), np.uint64(_LOCAL)) | np.uint64(_TRADE)
        traded["exch_ts"], traded["local_ts"], traded["ival"] = own_ns, trades.recv_ns[new], records["trade_id"]
        traded["px"] = to_doubles(records["price"], self._price_scale)
        traded["qty"] = to_doubles(records["qty"], self._qty_scale)
        return np.insert(rows, places, traded)

    def finish(self) -> Written:
        if not self._counts.any():  # a day that begins with a snapshot which changes nothing
            self.abandon()
            return Written([])
        output = self._store.begin(f"{self._stem}.npz")
        try:
            self._copy_to(output.file)
            output.publish()
        except BaseException:
            output.abandon()
            raise
        told = json.dumps(self._describe(), indent=2)
        names = [f"{self._stem}.npz", write_file(self._store, f"{self._stem}.json", f"{told}\n".encode())]
        names.append(self._ids.write(self._store, f"{self._stem}_ids.csv"))
        self.abandon()
        notes = []
        if self._latency.shift_ns:
            shift = f"all local times are {self._latency.shift_ns / NS_PER_S:.9f} s later than received"
            why = "the receiving clock was behind Kraken's by up to that, and hftbacktest refuses negative latencies"
            notes.append(f"{self._stem}.npz: {shift}: {why}")
        return Written(names, notes)

    def _describe(self) -> dict[str, Any]:
        """What the JSON beside the events says; docs/export.md has the meaning of each entry."""
        return {
            **self._told,
            "rows": int(self._counts.sum()),
            "events": {name: int(self._counts[kind]) for name, kind in _KINDS.items()},
            "tick_size": float(self._steps.price),
            "lot_size": float(self._steps.qty),
            "roi_lb": self._prices[0] if self._prices[1] else None,
            "roi_ub": self._prices[1] or None,
            "local_ts_shift_ns": self._latency.shift_ns,
            "feed_latency_ns": self._latency.describe(),
        }

    def _copy_to(self, target: BinaryIO) -> None:
        self._rows.seek(0)
        count, shift_ns = int(self._counts.sum()), self._latency.shift_ns
        large = count * EVENT.itemsize > _ZIP64_BYTES
        buffer = bytearray(_READ_BYTES)
        with ZipFile(target, "w") as packed, packed.open(ZipInfo("data.npy"), "w", force_zip64=large) as file:
            header = {"descr": np.lib.format.dtype_to_descr(EVENT), "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(file, header)
            while size := self._rows.readinto(buffer):
                if shift_ns:
                    np.frombuffer(buffer, EVENT, size // EVENT.itemsize)["local_ts"] += shift_ns
                file.write(memoryview(buffer)[:size])

    def abandon(self) -> None:
        self._rows.close()
        self._ids.close()


class _Latency:
    """How long events took from Kraken to the receiver, and the shift that makes none of them negative."""

    def __init__(self) -> None:
        self._least = self._most = self._sum = self._count = 0

    def add(self, latency_ns: Records) -> None:
        least, most = int(latency_ns.min()), int(latency_ns.max())
        if self._count:
            least, most = min(least, self._least), max(most, self._most)
        self._least, self._most = least, most
        self._sum += int(latency_ns.sum())
        self._count += len(latency_ns)

    @property
    def shift_ns(self) -> int:
        return max(0, -self._least)

    def describe(self) -> Optional[dict[str, int]]:
        """After the shift; None where nothing was received."""
        if not self._count:
            return None
        mean = self._sum // self._count
        return {name: ns + self.shift_ns for name, ns in (("least", self._least), ("mean", mean), ("most", self._most))}
