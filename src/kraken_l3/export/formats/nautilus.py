"""NautilusTrader's ParquetDataCatalog: order book deltas, trade ticks and the instrument.

The installed nautilus_trader gives the schemas, the file names and the instrument's file; `nautilus_library` writes its
encoding from columns, which takes a tenth of the time and bounded memory.

A snapshot is a Clear and Adds with F_SNAPSHOT; an eviction is a Delete. `ts_event` is Kraken's time of the message,
`ts_init` the receive time. A 64-bit number stands for the order id; `order_ids` beside the catalog leads back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pyarrow.parquet as pq

from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.increments import Increments, increments
from kraken_l3.export.formats.nautilus_library import (
    ADD,
    AGGRESSORS,
    BUY,
    CLEAR,
    DELETE,
    DELTA,
    SELL,
    TRADE_TICK,
    UPDATE,
    Deltas,
    Encoding,
    Pair,
    TradeTicks,
    currency_pair,
    library_schema,
    table_of,
)
from kraken_l3.export.formats.numbered_ids import NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.formats.trade_stream import StreamedTrades
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.records import Records
from kraken_l3.export.storage import LocalStore
from kraken_l3.model.events import Action, Side

__all__ = ["export_nautilus"]

_LAST, _SNAPSHOT = 128, 32
_SAMPLE_ROWS = 64
#: Columns of few values; dictionaries of the others cost time and save next to nothing.
_DICTIONARIES = ["action", "side", "flags", "sequence", "aggressor_side"]


def export_nautilus(source: Source, directory: Path) -> Written:
    """The catalog's files for all days of a pair, below `directory`/nautilus.

    Raises:
        UsageError: nautilus_trader 1.x is not installed, or encodes data in a way that this export does not know.
    """
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ImportError:
        raise UsageError(
            "this export writes through nautilus_trader 1.x",
            hint="pip install 'nautilus_trader<2' (Python 3.12 or later)",
        ) from None
    root = directory / "nautilus"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFault(f"cannot write: {error.strerror}", where=str(root)) from error
    # The library names its files, and would write into one that is there already: it works beside the catalog.
    with tempfile.TemporaryDirectory(prefix="kraken-l3-") as beside:
        library = _Catalog(ParquetDataCatalog(beside), Path(beside), root)
        days: list[_Day] = []

        def make_day(day: NewDay) -> _Day:
            days.append(_Day(library, day, increments(source.archive, day)))
            return days[-1]

        written = write_days(source, make_day)
        pair = _define(library, days) if written.names else Written([])
    names = [f"nautilus/{name}" for name in (*written.names, *pair.names)]
    return Written(names, [*written.notes, *pair.notes])


class _Catalog:
    """The library's catalog, in a directory beside the one that its files go to."""

    def __init__(self, catalog: Any, beside: Path, root: Path) -> None:
        self.root = root
        self.group_rows: int = catalog.max_rows_per_group
        self._catalog, self._beside = catalog, beside

    def write(self, objects: list[Any], instead: Optional[Path] = None) -> str:
        """What the library writes of these, or another file in its place; gives its name."""
        self._catalog.write_data(objects)
        [written] = self._beside.rglob("*.parquet")
        name = written.relative_to(self._beside)
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        content = written.read_bytes()
        written.unlink()
        if instead is None:
            instead = self.root / f".{name.name}.tmp"
            instead.write_bytes(content)
        instead.replace(self.root / name)
        return name.as_posix()


class _Day:
    def __init__(self, library: _Catalog, day: NewDay, steps: Increments) -> None:
        self.pair, self.steps = Pair(day.symbol, day.price_scale, day.qty_scale), steps
        self._root = library.root
        stem = f"{escape_symbol(day.symbol)}_{day.date.isoformat()}"
        self._ids_name = f"order_ids/{stem}.csv"
        self.deltas = _Rows(library, self.pair, Deltas(self.pair), self._root / f".{stem}.deltas.tmp")
        self._trades = _Rows(library, self.pair, TradeTicks(self.pair), self._root / f".{stem}.trades.tmp")
        self._ids = NumberedIds(64, salt=day.salt, scratch=self._root)

    def open_with(self, resting: Orders, at_ns: int) -> None:
        self._fill(resting, at_ns, at_ns)

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        self._fill(after, at.event_ns or at.recv_ns, at.recv_ns)

    def _fill(self, orders: Orders, event_ns: int, init_ns: int) -> None:
        everything = np.arange(len(orders.price))
        rows = np.append(np.zeros(1, DELTA), self._rows(orders, everything, ADD))
        rows["action"][0] = CLEAR
        rows["flags"][1:] = _SNAPSHOT
        rows["flags"][1:][-1:] |= _LAST
        self.deltas.take(rows, event_ns, init_ns)

    def updates(self, updates: Updates) -> None:
        if len(updates.trades.records):
            self._take_trades(updates.trades)
        if not len(updates.action):
            return
        modified = ~updates.gone & (updates.action == Action.MODIFY)
        start = _at_message_start(updates)
        rests, rested_ns = updates.before.rests[start], updates.before.order_ns[start]
        moved = modified & rests & (rested_ns != updates.after.order_ns)  # it lost its place: deleted, then added
        action = np.where(updates.gone | moved, DELETE, np.where(modified, UPDATE, ADD))
        event = np.repeat(np.arange(len(action)), 1 + moved)
        is_second = np.append(False, event[1:] == event[:-1])
        rows = self._rows(updates.after, event, np.where(is_second, ADD, action[event]))
        message = updates.message[event]
        rows["flags"][np.append(message[1:] != message[:-1], True)] = _LAST
        event_ns = np.where(updates.event_ns != 0, updates.event_ns, updates.recv_ns)
        self.deltas.take(rows, event_ns[event], updates.recv_ns[event])

    def _take_trades(self, trades: StreamedTrades) -> None:
        new = ~trades.records["is_recent"]  # what Kraken repeats at a subscription had happened before
        records = trades.records[new]
        rows = np.zeros(len(records), TRADE_TICK)
        rows["price"], rows["size"], rows["trade_id"] = (records[name] for name in ("price", "qty", "trade_id"))
        rows["aggressor_side"] = AGGRESSORS[records["taker_side"]]
        self._trades.take(rows, records["ts_event"], trades.recv_ns[new])

    def _rows(self, orders: Orders, index: Records, action: Any) -> Records:
        rows = np.zeros(len(index), DELTA)
        rows["action"] = action
        rows["side"] = np.where(orders.side[index] == Side.BID, BUY, SELL)
        rows["price"], rows["size"] = orders.price[index], orders.qty[index]
        rows["order_id"] = self._ids.of_orders(orders, index)
        return rows

    def finish(self) -> Written:
        files = [rows.finish() for rows in (self.deltas, self._trades)]
        names = [name for name in files if name is not None]
        if names:
            names.append(self._ids.write(LocalStore(self._root), self._ids_name))
        self._ids.close()
        return Written(names)

    def abandon(self) -> None:
        self.deltas.abandon()
        self._trades.abandon()
        self._ids.close()


def _define(library: _Catalog, days: list[_Day]) -> Written:
    """The file with the instrument, as of the first delta."""
    last = days[-1].pair  # days that were begun with fewer decimals were written again
    if not all(last.symbol.partition("/")):
        return Written([], [f"{last.symbol}: no instrument is defined: the name does not tell base and quote currency"])
    for day in days:
        if day.pair == last and day.deltas.first is not None:
            instrument = currency_pair(last, day.steps, int(day.deltas.first["ts_init"][0]))
            return Written([library.write([instrument])])
    return Written([])


def _at_message_start(updates: Updates) -> Records:
    """For each event, the first event of its message with the same order."""
    both = updates.message * len(updates.after.ids) + updates.after.order_id
    _, first, group = np.unique(both, return_index=True, return_inverse=True)
    return first[group]


class _Rows:
    """One file of a day in the making.

    Attributes:
        first: its first row, once there is one.
    """

    def __init__(self, library: _Catalog, pair: Pair, encoding: Encoding, temporary: Path) -> None:
        self.first: Optional[Records] = None
        self._library, self._pair, self._encoding, self._temporary = library, pair, encoding, temporary
        self._writer: Optional[pq.ParquetWriter] = None
        self._held = np.zeros(0, encoding.dtype)
        self._last_init_ns = 0

    def take(self, rows: Records, event_ns: Any, init_ns: Any) -> None:
        """Some more rows, which get these times."""
        if not len(rows):
            return
        rows["ts_event"], rows["ts_init"] = event_ns, init_ns
        rows["ts_init"] = np.maximum(np.maximum.accumulate(rows["ts_init"]), np.uint64(self._last_init_ns))
        self._last_init_ns = int(rows["ts_init"][-1])
        if self.first is None:
            self.first = rows[:1].copy()
        self._held = np.append(self._held, rows)
        if self._writer is None and (self._held["price"] != 0).any():
            self._begin()
        if self._writer is not None:
            # the library's files have row groups of this size from end to end
            whole = len(self._held) - len(self._held) % self._library.group_rows
            self._write(self._held[:whole])
            self._held = self._held[whole:].copy()

    def _begin(self) -> None:
        """Open the file with the library's schema, which has the precisions of the first row with a price."""
        sample = self._held[:_SAMPLE_ROWS] if len(self._held) > 1 else self._held
        schema = library_schema(self._encoding, self._pair, sample)
        dictionaries = [name for name in _DICTIONARIES if name in schema.names]
        self._writer = pq.ParquetWriter(self._temporary, schema, use_dictionary=dictionaries)

    def _write(self, rows: Records) -> None:
        if len(rows) and self._writer is not None:
            table = table_of(self._encoding, self._pair, rows, self._writer.schema)
            self._writer.write_table(table, row_group_size=self._library.group_rows)

    def finish(self) -> Optional[str]:
        """Publish; gives the file's name, None where there is no row."""
        if self.first is None:
            return None
        if self._writer is None:
            self._begin()
        self._write(self._held)
        self._close()
        # the library names the file after its first and last row
        last = self.first.copy()
        last["ts_init"] = self._last_init_ns
        return self._library.write(self._encoding.objects(np.append(self.first, last)), self._temporary)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Remove what is half written."""
        self._close()
        self._temporary.unlink(missing_ok=True)
