"""Tardis' CSV files: `incremental_book_L2` and `book_snapshot_25`, one a pair and day.

Columns and names as https://docs.tardis.dev/downloadable-csv-files has them: microseconds since 1970, exact decimals,
amount 0 removes a level. A level that leaves the recorded window is removed likewise, since nobody sees it change then.
Kraken's level2 is not made of these messages, so both are what a level2 feed of this depth would have said.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Sequence

import pyarrow as pa

from kraken_l3.export.formats.event_stream import Event, RestingOrders, Source, write_days
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import Output, Store
from kraken_l3.export.stream import read_table
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.timestamps import day_of

__all__ = ["export_tardis"]

_L2_HEAD = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
_LEVELS = 25
_Key = tuple[str, int]


def export_tardis(source: Source, store: Store) -> list[str]:
    """Both kinds of files for all days of a pair; gives their names."""
    changes = write_days(source, lambda day, price, qty: _Changes(store, source.symbol, day, price, qty))
    return changes + _snapshots(source, store)


class _CsvGz:
    """A CSV file, packed; the same rows give the same bytes."""

    def __init__(self, store: Store, name: str, head: str) -> None:
        self.name = name
        self._output: Output = store.begin(name)
        self._packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._output.file, mtime=0)
        self._text = io.TextIOWrapper(self._packed, encoding="ascii", newline="\n")
        self.write = self._text.write
        self.write(head)

    def publish(self) -> str:
        self._text.flush()
        self._packed.close()
        self._output.publish()
        return self.name


def _name(kind: str, day: dt.date, symbol: str) -> str:
    return f"tardis/kraken_{kind}_{day.isoformat()}_{escape_symbol(symbol)}.csv.gz"


class _Changes:
    """A day of `incremental_book_L2`."""

    def __init__(self, store: Store, symbol: str, day: dt.date, price_scale: int, qty_scale: int) -> None:
        self._file = _CsvGz(store, _name("incremental_book_L2", day, symbol), _L2_HEAD)
        self._symbol = symbol
        self._price_scale, self._qty_scale = price_scale, qty_scale
        self._levels: dict[_Key, int] = {}

    def open_with(self, book: RestingOrders, at_ns: int) -> None:
        for _, order in book.in_order():
            key = (order.side, order.price)
            self._levels[key] = self._levels.get(key, 0) + order.qty
        self._rows(list(self._levels), at_ns, at_ns, snapshot=True)

    def message(self, events: Sequence[Event], before: RestingOrders) -> None:
        last = events[-1]
        if events[0].action == "clear":
            self._levels.clear()
        touched: dict[_Key, int] = {}
        mine: dict[str, tuple[_Key, int]] = {}
        for event in events:
            if event.action == "clear":
                continue
            rested = before.by_id.get(event.order_id)
            default = ((rested.side, rested.price), rested.qty) if rested and events[0].action != "clear" else None
            old = mine.get(event.order_id, default)
            if old is not None and old[1]:
                self._change(touched, old[0], -old[1])
            key = (event.side, event.price)
            gone = event.action in ("delete", "evict")
            mine[event.order_id] = (key, 0 if gone else event.qty)
            if not gone:
                self._change(touched, key, event.qty)
        changed = [key for key, amount in touched.items() if self._levels.get(key, 0) != amount]
        snapshot = events[0].action == "clear"
        self._rows(list(self._levels) if snapshot else changed, last.event_ns, last.recv_ns, snapshot=snapshot)
        for key in changed:
            if not self._levels.get(key):
                self._levels.pop(key, None)

    def _change(self, touched: dict[_Key, int], key: _Key, by: int) -> None:
        touched.setdefault(key, self._levels.get(key, 0))
        self._levels[key] = self._levels.get(key, 0) + by

    def _rows(self, keys: Sequence[_Key], event_ns: int, recv_ns: int, *, snapshot: bool) -> None:
        head = f"kraken,{self._symbol},{event_ns // 1000},{recv_ns // 1000},{str(snapshot).lower()}"
        for side, price in keys:
            amount = format_scaled(self._levels.get((side, price), 0), self._qty_scale)
            self._file.write(f"{head},{side},{format_scaled(price, self._price_scale)},{amount}\n")

    def finish(self) -> list[str]:
        return [self._file.publish()]


def _snapshots(source: Source, store: Store) -> list[str]:
    """`book_snapshot_25`: a row whenever the 25 best levels change."""
    names: list[str] = []
    file: _CsvGz | None = None
    today: dt.date | None = None
    table = SnapshotsTable(levels=_LEVELS, wide=True, symbols=frozenset([source.symbol]))
    for batch in read_table(source.archive, table, source.facts, engine=source.engine):
        for local_ns, event_ns, *sides in zip(*_columns(batch)):
            day = day_of(local_ns)
            if file is None or day != today:
                if file is not None:
                    names.append(file.publish())
                today = day
                file = _CsvGz(store, _name("book_snapshot_25", day, source.symbol), _SNAPSHOT_HEAD)
            cells = [cell for asks_then_bids in _by_level(*sides) for cell in asks_then_bids]
            file.write(
                f"kraken,{source.symbol},{(event_ns or local_ns) // 1000},{local_ns // 1000},{','.join(cells)}\n"
            )
    return [*names, file.publish()] if file is not None else names


_CELLS = [
    f"{side}[{level}].{cell}" for level in range(_LEVELS) for side in ("asks", "bids") for cell in ("price", "amount")
]
_SNAPSHOT_HEAD = f"exchange,symbol,timestamp,local_timestamp,{','.join(_CELLS)}\n"


def _columns(batch: pa.RecordBatch) -> list[list]:  # type: ignore[type-arg] # of times, then of lists
    times = [batch.column(name).cast(pa.int64()).to_pylist() for name in ("timestamp", "ts_event")]
    return times + [batch.column(name).to_pylist() for name in ("ask_prices", "ask_qtys", "bid_prices", "bid_qtys")]


def _by_level(*sides: list[float]) -> list[list[str]]:
    """Ask price, ask amount, bid price, bid amount of each level; empty where there is none."""
    return [[_text(side[level]) if level < len(side) else "" for side in sides] for level in range(_LEVELS)]


def _text(number: float) -> str:
    """The shortest decimal that is this double, without an exponent."""
    text = repr(number)
    return text if "e" not in text else f"{number:.18f}".rstrip("0")
