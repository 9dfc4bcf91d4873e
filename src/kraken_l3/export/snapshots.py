"""The table `snapshots`: the best levels of the book, on a grid of time or at every change, as doubles."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Callable, ClassVar, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine, EngineOptions, RowOptions
from kraken_l3.export.arrow import array_of, bitmap_of, bools_of, times_of, to_doubles, words_of
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import RecordBuilder, Records, ResultRecords, row_dtype
from kraken_l3.export.row_flow import FlowBuilder
from kraken_l3.export.schema import SNAPSHOTS_VERSION, VERDICTS, snapshots_schema
from kraken_l3.export.table import SymbolDay
from kraken_l3.export.top_of_book import imbalance, top_of_book
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["SnapshotsTable"]


@dataclass(frozen=True)
class SnapshotsTable:
    """Book snapshots; see `table.Table`.

    Attributes:
        levels: price levels a side.
        grid_ns: spacing of the rows; None for one at every change.
        wide: more columns.
        keep_gaps: keep rows over gaps, with a column that says so.
        symbols: only these; None for all.
    """

    levels: int = 10
    grid_ns: Optional[int] = None
    wide: bool = False
    keep_gaps: bool = False
    symbols: Optional[frozenset[str]] = None
    name: ClassVar[str] = "snapshots"
    has_bars: ClassVar[bool] = False
    has_day_starts: ClassVar[bool] = False

    @property
    def schema(self) -> pa.Schema:
        """See `Table.schema`."""
        return snapshots_schema(wide=self.wide, over_gap=self.keep_gaps)

    @property
    def dtype(self) -> Any:
        """See `Table.dtype`."""
        return row_dtype(self.levels, orders=self.wide, flow=self.wide)

    def description(self) -> dict[str, str]:
        """See `Table.description`."""
        every = "change" if self.grid_ns is None else f"{self.grid_ns} ns"
        return {
            "table": self.name,
            "schema_version": SNAPSHOTS_VERSION,
            "every": every,
            "levels": str(self.levels),
        }

    def options(self) -> dict[str, Any]:
        """See `Table.options`."""
        symbols = sorted(self.symbols) if self.symbols is not None else None
        return {"table": self.name, **asdict(self), "symbols": symbols}

    def engine_options(self, part: tuple[int, int] = (0, 1), metadata: Sequence[SymbolMetadata] = ()) -> EngineOptions:
        """See `Table.engine_options`."""
        rows = RowOptions(self.levels, self.grid_ns, orders=self.wide)
        best = self.wide and self.grid_ns is not None  # rows at every change have the best changes among them
        return EngineOptions(messages=True, rows=rows, part=part, only=self.symbols, best=best)

    def builder(self, engine: Engine) -> RecordBuilder:
        """See `Table.builder`."""
        if self.wide:
            return FlowBuilder(engine, self.levels, self.grid_ns)
        return RecordBuilder(engine, self.levels, grid=self.grid_ns is not None)

    def records(self, results: ResultRecords) -> Iterator[tuple[str, Records]]:
        """See `Table.records`."""
        return results.rows()

    def times(self, records: Records) -> Records:
        """See `Table.times`."""
        return records["timestamp"]

    def day(self, archive: Archive, day: Optional[dt.date], gaps: GapRows) -> Callable[[str], SymbolDay]:
        """See `Table.day`."""
        return lambda symbol: _SymbolDay(self, symbol, gaps)

    def depends_on(self, archive: Archive, day: dt.date, before_ns: int) -> list[Any]:
        """Gaps: their rows are left out or marked."""
        gaps = gaps_in(archive, channel=Stream.LEVEL3, symbols=self.symbols)
        # Cut at the end of the rows: a gap that closes on another day is the same gap for this one.
        return [[gap.symbol, gap.left_ns, min(gap.end_ns, before_ns)] for gap in gaps if gap.left_ns < before_ns]


class _SymbolDay:
    def __init__(self, table: SnapshotsTable, symbol: str, gaps: GapRows) -> None:
        self._table, self._symbol, self._gaps = table, symbol, gaps
        self.left_out = self.suspect = 0

    def keep(self, records: Records) -> Records:
        over = self._gaps.over(self._symbol, records["timestamp"])
        if self._table.keep_gaps:
            records["over_gap"] = over
        elif over.any():
            self.left_out += int(np.count_nonzero(over))
            records = records[~over]
        self.suspect += int(np.count_nonzero(records["suspect"]))
        return records

    def to_arrow(self, records: Records, overflow_ids: Sequence[str]) -> pa.Table:
        columns: dict[str, Any] = {"timestamp": times_of(records["timestamp"])}
        for side in ("bid", "ask"):
            prices = records[f"{side}_price"]
            there = prices >= 0
            columns[f"{side}_prices"] = _lists(prices, records["price_scale"], there)
            columns[f"{side}_qtys"] = _lists(records[f"{side}_qty"], records["qty_scale"], there)
        if self._table.wide:
            columns.update(_wide_columns(records))
        if self._table.keep_gaps:
            columns["over_gap"] = bools_of(records["over_gap"])
        schema = self._table.schema
        return pa.table([columns[name] for name in schema.names], schema)


def _lists(mantissas: Records, scales: Records, there: Records) -> pa.Array:
    if there.all():
        # one scale for all rows is the rule, and divides fastest
        same = len(scales) and (scales == scales[0]).all()
        doubles = to_doubles(np.ascontiguousarray(mantissas), scales[0] if same else scales.reshape(-1, 1))
    else:
        doubles = to_doubles(mantissas[there], np.repeat(scales, there.sum(axis=1)))
    return pa.ListArray.from_arrays(_ends(there), array_of(pa.float64(), doubles.reshape(-1)))


def _ends(there: Records) -> pa.Array:
    """Where each row's levels end."""
    if there.all():
        return array_of(pa.int32(), np.arange(len(there) + 1, dtype=np.int32) * np.int32(there.shape[1]))
    return array_of(pa.int32(), np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32))


def _order_counts(records: Records, side: str) -> pa.Array:
    there = records[f"{side}_price"] >= 0
    return pa.ListArray.from_arrays(_ends(there), array_of(pa.uint32(), records[f"{side}_orders"][there]))


def _wide_columns(records: Records) -> dict[str, pa.Array]:
    bid, ask = records["bid_price"][:, 0], records["ask_price"][:, 0]
    bid_qty, ask_qty = records["bid_qty"][:, 0], records["ask_qty"][:, 0]
    return {
        "ts_event": times_of(records["ts_event"]),
        "line": array_of(pa.int64(), records["line"]),
        "verdict": words_of(VERDICTS, records["verdict"]),
        "suspect": bools_of(records["suspect"]),
        **top_of_book(bid, ask, bid_qty, ask_qty, records["price_scale"]),
        "imbalance": imbalance(bid_qty, ask_qty, (bid >= 0) & (ask >= 0)),
        "ofi": array_of(pa.float64(), to_doubles(records["ofi"], records["ofi_scale"]), bitmap_of(records["has_ofi"])),
        "bid_orders": _order_counts(records, "bid"),
        "ask_orders": _order_counts(records, "ask"),
    }
