"""NautilusTrader's ParquetDataCatalog of OrderBookDelta.

The installed nautilus_trader gives the schema, the file names and the encoding: the first deltas of each file are
encoded by it too, and must come out the same. The rest goes straight from columns to Parquet, which takes a tenth of
the time and bounded memory.

A snapshot is a Clear and Adds with F_SNAPSHOT; an eviction is a Delete. `ts_event` is Kraken's time of the message,
`ts_init` the receive time. A 64-bit number stands for the order id; `order_ids` beside the catalog leads back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import LocalStore
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import Action, Side

__all__ = ["DELTA", "export_nautilus", "fixed_point"]

_ADD, _UPDATE, _DELETE, _CLEAR = 1, 2, 3, 4
_BUY, _SELL = 1, 2
_LAST, _SNAPSHOT = 128, 32
_VENUE = "KRAKEN"
_SAMPLE_ROWS = 64

#: A delta before prices and sizes are brought to the library's fixed point.
DELTA = np.dtype(
    [
        ("action", "u1"),
        ("side", "u1"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("order_id", "<u8"),
        ("flags", "u1"),
        ("ts_event", "<u8"),
        ("ts_init", "<u8"),
    ]
)


def export_nautilus(source: Source, directory: Path) -> Written:
    """The catalog's files for all days of a pair, below `directory`/nautilus.

    Raises:
        UsageError: nautilus_trader is not installed, or encodes deltas in a way that this export does not know.
    """
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ImportError:
        raise UsageError(
            "this export writes through nautilus_trader", hint="pip install nautilus_trader (Python 3.12 or later)"
        ) from None
    root = directory / "nautilus"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFault(f"cannot write: {error.strerror}", where=str(root)) from error
    # The library names its files, and would write into one that is there already: it works beside the catalog.
    with tempfile.TemporaryDirectory(prefix="kraken-l3-") as beside:
        catalog = ParquetDataCatalog(beside)
        written = write_days(source, lambda day: _Day(catalog, Path(beside), root, day))
    return written._replace(names=[f"nautilus/{name}" for name in written.names])


class _Day:
    def __init__(self, catalog: Any, beside: Path, root: Path, day: NewDay) -> None:
        self._catalog, self._beside, self._root = catalog, beside, root
        self._library = _Library(f"{day.symbol}.{_VENUE}", day.price_scale, day.qty_scale)
        stem = f"{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._ids_name = f"order_ids/{stem}.csv"
        self._temporary = root / f".{stem}.tmp"
        self._group_rows: int = catalog.max_rows_per_group
        self._writer: Optional[pq.ParquetWriter] = None
        self._held = np.zeros(0, DELTA)
        self._ids = NumberedIds(64, salt=day.salt, scratch=root)
        self._first: Optional[Records] = None
        self._last_init_ns = 0

    def open_with(self, resting: Orders, at_ns: int) -> None:
        self._fill(resting, at_ns, at_ns)

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        self._fill(after, at.event_ns or at.recv_ns, at.recv_ns)

    def _fill(self, orders: Orders, event_ns: int, init_ns: int) -> None:
        everything = np.arange(len(orders.price))
        rows = np.append(np.zeros(1, DELTA), self._rows(orders, everything, _ADD))
        rows["action"][0] = _CLEAR
        rows["flags"][1:] = _SNAPSHOT
        rows["flags"][1:][-1:] |= _LAST
        self._take(rows, event_ns, init_ns)

    def updates(self, updates: Updates) -> None:
        modified = ~updates.gone & (updates.action == Action.MODIFY)
        start = _at_message_start(updates)
        rests, rested_ns = updates.before.rests[start], updates.before.order_ns[start]
        moved = modified & rests & (rested_ns != updates.after.order_ns)  # it lost its place: deleted, then added
        action = np.where(updates.gone | moved, _DELETE, np.where(modified, _UPDATE, _ADD))
        event = np.repeat(np.arange(len(action)), 1 + moved)
        is_second = np.append(False, event[1:] == event[:-1])
        rows = self._rows(updates.after, event, np.where(is_second, _ADD, action[event]))
        message = updates.message[event]
        rows["flags"][np.append(message[1:] != message[:-1], True)] = _LAST
        event_ns = np.where(updates.event_ns != 0, updates.event_ns, updates.recv_ns)
        self._take(rows, event_ns[event], updates.recv_ns[event])

    def _rows(self, orders: Orders, index: Records, action: Any) -> Records:
        rows = np.zeros(len(index), DELTA)
        rows["action"] = action
        rows["side"] = np.where(orders.side[index] == Side.BID, _BUY, _SELL)
        rows["price"], rows["size"] = orders.price[index], orders.qty[index]
        rows["order_id"] = self._ids.of_orders(orders, index)
        return rows

    def _take(self, rows: Records, event_ns: Any, init_ns: Any) -> None:
        rows["ts_event"], rows["ts_init"] = event_ns, init_ns
        rows["ts_init"] = np.maximum(np.maximum.accumulate(rows["ts_init"]), np.uint64(self._last_init_ns))
        self._last_init_ns = int(rows["ts_init"][-1])
        if self._first is None:
            self._first = rows[:1].copy()
        self._held = np.append(self._held, rows)
        if self._writer is None and (self._held["action"] != _CLEAR).any():
            self._begin()
        if self._writer is not None:
            # the library's files have row groups of this size from end to end
            whole = len(self._held) - len(self._held) % self._group_rows
            self._write(self._held[:whole])
            self._held = self._held[whole:].copy()

    def _begin(self) -> None:
        """Open the file with the library's schema, which has the precisions of the first orders."""
        schema = self._library.check(self._held[:_SAMPLE_ROWS] if len(self._held) > 1 else self._held)
        self._writer = pq.ParquetWriter(self._temporary, schema)

    def _write(self, rows: Records) -> None:
        if len(rows) and self._writer is not None:
            self._writer.write_table(self._library.table(rows), row_group_size=self._group_rows)

    def finish(self) -> Written:
        if self._first is None:
            return Written([])
        if self._writer is None:
            self._begin()
        self._write(self._held)
        self._close()
        # the library names the file after its first and last delta
        last = self._first.copy()
        last["ts_init"] = self._last_init_ns
        self._catalog.write_data(self._library.objects(np.append(self._first, last)))
        [sample] = self._beside.rglob("*.parquet")
        name = sample.relative_to(self._beside)
        sample.unlink()
        (self._root / name).parent.mkdir(parents=True, exist_ok=True)
        self._temporary.replace(self._root / name)
        return Written([name.as_posix(), self._ids.write(LocalStore(self._root), self._ids_name)])

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)
        self._ids.close()


def _at_message_start(updates: Updates) -> Records:
    """For each event, the first event of its message with the same order."""
    both = updates.message * len(updates.after.ids) + updates.after.order_id
    _, first, group = np.unique(both, return_index=True, return_inverse=True)
    return first[group]


class _Library:
    """nautilus_trader's own encoding of deltas, and ours, which must be the same."""

    def __init__(self, instrument: str, price_scale: int, qty_scale: int) -> None:
        from nautilus_trader.model.identifiers import InstrumentId
        from nautilus_trader.model.objects import FIXED_PRECISION

        self._instrument = InstrumentId.from_str(instrument)
        self._price_scale, self._qty_scale = price_scale, qty_scale
        self._price_factor, self._qty_factor = (
            10 ** (FIXED_PRECISION - price_scale),
            10 ** (FIXED_PRECISION - qty_scale),
        )
        self._schema: Optional[pa.Schema] = None

    def objects(self, rows: Records) -> list[Any]:
        """Rows as the library's objects, which checks them."""
        from nautilus_trader.model.data import BookOrder, OrderBookDelta
        from nautilus_trader.model.enums import BookAction, OrderSide
        from nautilus_trader.model.objects import Price, Quantity

        actions = {_ADD: BookAction.ADD, _UPDATE: BookAction.UPDATE, _DELETE: BookAction.DELETE}
        made = []
        for action, side, price, size, order_id, flags, event_ns, init_ns in rows.tolist():
            if action == _CLEAR:
                made.append(OrderBookDelta.clear(self._instrument, 0, event_ns, init_ns))
                continue
            order = BookOrder(
                side=OrderSide.BUY if side == _BUY else OrderSide.SELL,
                price=Price.from_str(format_scaled(price, self._price_scale)),
                size=Quantity.from_str(format_scaled(size, self._qty_scale)),
                order_id=order_id,
            )
            delta = OrderBookDelta(self._instrument, actions[action], order, flags, 0, event_ns, init_ns)
            made.append(delta)
        return made

    def check(self, rows: Records) -> pa.Schema:
        """The library's schema.

        Raises:
            UsageError: it encodes these rows otherwise than we do.
        """
        from nautilus_trader import __version__
        from nautilus_trader.model.data import OrderBookDelta
        from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

        encoded = ArrowSerializer.serialize_batch(self.objects(rows), data_cls=OrderBookDelta)
        theirs = pa.Table.from_batches([encoded]) if isinstance(encoded, pa.RecordBatch) else encoded
        self._schema = theirs.schema
        if not theirs.equals(self.table(rows)):
            raise UsageError(
                f"nautilus_trader {__version__} encodes order book deltas in a way that this export does not know",
                hint="pip install 'nautilus_trader<=1.231'",
            )
        return theirs.schema

    def table(self, rows: Records) -> pa.Table:
        """Rows in the library's schema."""
        assert self._schema is not None
        price, size = self._schema.field("price").type, self._schema.field("size").type
        columns = {
            "price": fixed_point(rows["price"], self._price_factor, price),
            "size": fixed_point(rows["size"], self._qty_factor, size),
            "sequence": pa.array(np.zeros(len(rows), np.uint64)),
            **{n: pa.array(rows[n]) for n in ("action", "side", "order_id", "flags", "ts_event", "ts_init")},
        }
        return pa.table([columns[name] for name in self._schema.names], self._schema)


def fixed_point(values: Records, factor: int, kind: pa.DataType) -> pa.Array:
    """values * factor as little-endian integers of 8 or 16 bytes; neither is negative, and factor is below 2**54."""
    values = values.astype(np.uint64)
    low32 = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    factor_low, factor_high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    value_low, value_high = values & low32, values >> shift
    # schoolbook multiplication of 32-bit digits; the middle sum stays below 2**64
    low = value_low * factor_low
    middle = (low >> shift) + value_low * factor_high + value_high * factor_low
    words = np.empty((len(values), kind.byte_width // 8), np.uint64)
    words[:, 0] = (middle << shift) | (low & low32)
    words[:, 1:] = (value_high * factor_high + (middle >> shift)).reshape(-1, 1)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)])
