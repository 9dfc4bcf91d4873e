"""The table `features`: feature bars from the book, its events, trades and gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, ClassVar, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import content_size, existing
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.port import Engine, EngineOptions, RowOptions
from kraken_l3.export.arrow import array_of, bitmap_of, bools_of, times_of, to_doubles
from kraken_l3.export.bars import ARRIVAL, CANCEL, FILL, FLOW, Bars
from kraken_l3.export.column_records import ColumnRecords
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.fills import Matcher
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import EVENT, RecordBuilder, Records, ResultRecords
from kraken_l3.export.schema import DEPTH_BPS, FEATURES, FEATURES_VERSION, IMBALANCE_LEVELS
from kraken_l3.export.table import SymbolDay
from kraken_l3.export.top_of_book import imbalance, top_of_book
from kraken_l3.export.trade_bars import TRADES, TradeBars
from kraken_l3.export.windows import WINDOW, windows
from kraken_l3.model.events import Classification
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.playback import Step

__all__ = ["FeaturesTable"]

#: Levels a side that Kraken sends at most: so many are looked at where no depth was told.
_MOST_LEVELS = 1_000
#: One bar: the book at its end, and what happened in it.
_BAR = np.dtype(
    [
        ("timestamp", "<i8"),
        ("suspect", "?"),
        ("over_gap", "?"),
        ("window", WINDOW),
        ("flow", FLOW),
        ("trades", TRADES),
    ]
)


@dataclass(frozen=True)
class FeaturesTable:
    """Bars; see `table.Table`.

    Attributes:
        grid_ns: how long a bar is; a day has a whole number of them.
        symbols: only these; None for all.
    """

    grid_ns: int = 1_000_000_000
    symbols: Optional[frozenset[str]] = None
    name: ClassVar[str] = "features"
    has_bars: ClassVar[bool] = True
    has_day_starts: ClassVar[bool] = False
    schema: ClassVar[pa.Schema] = FEATURES
    dtype: ClassVar[Any] = _BAR

    def description(self) -> dict[str, str]:
        """See `Table.description`."""
        return {"table": self.name, "schema_version": FEATURES_VERSION, "every": f"{self.grid_ns} ns"}

    def options(self) -> dict[str, Any]:
        """See `Table.options`."""
        symbols = sorted(self.symbols) if self.symbols is not None else None
        return {**self.description(), "symbols": symbols}

    def engine_options(self, part: tuple[int, int] = (0, 1), metadata: Sequence[SymbolMetadata] = ()) -> EngineOptions:
        """See `Table.engine_options`."""
        told = [each.depth for each in metadata if each.depth is not None]
        rows = RowOptions(min(_MOST_LEVELS, max(told, default=_MOST_LEVELS)), self.grid_ns, orders=True)
        return EngineOptions(messages=True, events=True, rows=rows, part=part, only=self.symbols, best=True)

    def builder(self, engine: Engine) -> RecordBuilder:
        """See `Table.builder`."""
        return _BarBuilder(engine, self)

    def records(self, results: ResultRecords) -> Iterator[tuple[str, Records]]:
        """See `Table.records`."""
        assert isinstance(results, _BarResults)
        return results.by_symbol(results.symbol, results.bars)

    def times(self, records: Records) -> Records:
        """A moment within each bar, so that one at midnight is of the day that ends there."""
        return records["timestamp"] - 1

    def day(self, archive: Archive, day: Optional[dt.date], gaps: GapRows) -> Callable[[str], SymbolDay]:
        """See `Table.day`."""
        return lambda symbol: _SymbolDay(self, symbol, gaps)

    def depends_on(self, archive: Archive, day: dt.date, before_ns: int) -> list[Any]:
        """Trades, and gaps, whose bars are marked."""
        trades = existing(DayPaths(archive.directory, day).data(Stream.TRADE))
        gaps = gaps_in(archive, channel=Stream.LEVEL3, symbols=self.symbols)
        edges = [[gap.symbol, gap.left_ns, min(gap.end_ns, before_ns)] for gap in gaps if gap.left_ns < before_ns]
        return [content_size(trades) if trades is not None else None, edges]


class _BarResults(ResultRecords):
    """Results with the bars that end in them, and the symbol of each."""

    def __init__(self, results: ResultRecords, symbol: Records, bars: Records) -> None:
        self.__dict__.update(results.__dict__)
        self.symbol, self.bars = symbol, bars


class _FileTrades:
    """The trades of one source file's day, and what its events are in their light, as the table `events` says it."""

    def __init__(self, table: FeaturesTable, path: Path, day: Optional[dt.date]) -> None:
        trades = DayTrades(open_archive(path.parent), day, table.symbols) if day is not None else None
        self._trades = trades if trades is not None and trades.recorded else None
        self._span_ns = table.grid_ns
        self._day = day
        self._bars: dict[str, TradeBars] = {}
        self._matchers: dict[str, Matcher] = {}

    def ending(self, symbol: str, at_ns: Records) -> Records:
        """`TRADES` of the bars that end at these times."""
        if symbol not in self._bars:
            earliest_ns = day_start_ns(self._day) + self._span_ns if self._day is not None else 0
            trades = self._trades.of(symbol) if self._trades is not None else None
            self._bars[symbol] = TradeBars(trades, self._span_ns, earliest_ns)
        return self._bars[symbol].ending(at_ns)

    def classify(self, results: ResultRecords, names: Sequence[str]) -> Records:
        """The classification of a result's events."""
        columns, messages = results.events_of_all, results.messages
        asking = np.flatnonzero(np.isin(columns["classification"], _MAYBE_FILLS)) if self._trades is not None else ()
        if not len(asking):
            return columns["classification"]
        classification = columns["classification"].copy()
        message = columns["message"][asking]
        symbol = messages.symbol[message]
        price_scale, qty_scale, _ = results.parameters_at(symbol, messages.line[message])
        wanted = {name: columns[name][asking] for name in ("side", "price", "change", "classification")}
        wanted.update(price_scale=price_scale, qty_scale=qty_scale, ts_event=np.maximum(messages.msg_ns[message], 0))
        for index in np.unique(symbol).tolist():
            of_symbol = symbol == index
            records = ColumnRecords(_ASKING, {name: column[of_symbol] for name, column in wanted.items()})
            classification[asking[of_symbol]], _, _ = self._matcher(names[index]).match(records)
        return classification

    def _matcher(self, symbol: str) -> Matcher:
        if symbol not in self._matchers:
            assert self._trades is not None
            self._matchers[symbol] = Matcher(self._trades.of(symbol))
        return self._matchers[symbol]


_MAYBE_FILLS = (Classification.FILL, Classification.PARTIAL_FILL, Classification.REDUCTION)
#: What `Matcher.match` reads of an event.
_ASKING = np.dtype(
    [
        (name, EVENT[name])
        for name in ("side", "price", "change", "classification", "price_scale", "qty_scale", "ts_event")
    ]
)


class _BarBuilder(RecordBuilder):
    def __init__(self, engine: Engine, table: FeaturesTable) -> None:
        super().__init__(engine, orders=True, grid=True)
        self._table = table
        self._sums = Bars(table.grid_ns)
        self._file: Optional[Path] = None
        self._trades = _FileTrades(table, Path(), None)

    def build(self, step: Step) -> ResultRecords:
        """See `RecordBuilder.build`. The bars are made at once: each goes on from what came before."""
        results = super().build(step)
        if step.path != self._file:
            self._file, self._trades = step.path, _FileTrades(self._table, step.path, step.day)
        symbol, rows = results.rows_of_all()
        earliest_ns = 0
        if step.day is not None and results.times.recv_ns is not None:
            earliest_ns = day_start_ns(step.day) + self._table.grid_ns
        flows = self._sums.take(
            results,
            symbol,
            rows["timestamp"],
            classification=self._trades.classify(results, self.symbols),
            earliest_ns=earliest_ns,
        )
        # the bar that ends when the day begins was shown by the day before
        kept = rows["timestamp"] != day_start_ns(step.day) if step.day is not None else np.ones(len(symbol), bool)
        symbol, rows, flows = symbol[kept], rows[kept], flows[kept]
        bars = np.zeros(len(symbol), _BAR)
        bars["timestamp"], bars["suspect"], bars["flow"] = rows["timestamp"], rows["suspect"], flows
        if len(bars):
            _, _, depth = results.parameters_at(symbol, rows["line"])
            bars["window"] = windows(rows, depth)
        for index in np.unique(symbol).tolist():
            of_symbol = symbol == index
            bars["trades"][of_symbol] = self._trades.ending(self.symbols[index], bars["timestamp"][of_symbol])
        return _BarResults(results, symbol, bars)


class _SymbolDay:
    def __init__(self, table: FeaturesTable, symbol: str, gaps: GapRows) -> None:
        self._table, self._symbol, self._gaps = table, symbol, gaps
        self.left_out = self.suspect = 0

    def keep(self, records: Records) -> Records:
        records["over_gap"] = self._gaps.over(self._symbol, records["timestamp"], self._table.grid_ns)
        self.suspect += int(np.count_nonzero(records["suspect"]))
        return records

    def to_arrow(self, records: Records, overflow_ids: Sequence[str]) -> pa.Table:
        window, flow, trades = records["window"], records["flow"], records["trades"]
        columns = {
            "timestamp": times_of(records["timestamp"]),
            **_of_window(window),
            **_of_flow(flow),
            **_of_trades(trades),
            "suspect": bools_of(records["suspect"]),
            "over_gap": bools_of(records["over_gap"]),
        }
        return pa.table([columns[name] for name in FEATURES.names], FEATURES)


_SIDES = ("bid", "ask")


def _of_window(window: Records) -> dict[str, pa.Array]:
    bid, ask = window["best"].T
    both = (bid >= 0) & (ask >= 0)
    price_scale, qty_scale = window["price_scale"], window["qty_scale"]
    levels = window["levels"]
    columns = top_of_book(bid, ask, levels[:, 0, 0], levels[:, 0, 1], price_scale)
    for index, count in enumerate(IMBALANCE_LEVELS):
        columns[f"imbalance_{count}"] = imbalance(levels[:, index, 0], levels[:, index, 1], both)
    for side, name in enumerate(_SIDES):
        for index, bps in enumerate(DEPTH_BPS):
            depth = window["depth"][:, index, side]
            columns[f"{name}_depth_{bps}bps"] = _doubles(np.maximum(depth, 0), qty_scale, depth >= 0)
        edge = window["edge"][:, side]
        is_cut = both & (edge >= 0)
        distance = np.abs(2.0 * edge - (bid + ask)) / np.where(both, bid + ask, 1) * 10_000
        columns[f"{name}_window_bps"] = array_of(pa.float64(), distance, bitmap_of(is_cut))
        columns[f"{name}_window_qty"] = _doubles(window["total"][:, side], qty_scale)
        columns[f"{name}_orders"] = array_of(pa.uint32(), window["orders"][:, side].astype(np.uint32))
    return columns


def _of_flow(flow: Records) -> dict[str, pa.Array]:
    scale, messages, lagged = flow["qty_scale"], flow["messages"], flow["lagged"]
    columns = {
        "ofi": _doubles(flow["amounts"][:, -1], scale),
        "realised_variance": array_of(pa.float64(), flow["variance"]),
        "messages": array_of(pa.uint32(), messages.astype(np.uint32)),
        "verified": array_of(pa.float64(), flow["verified"] / np.maximum(messages, 1), bitmap_of(messages > 0)),
        "mean_lag_ns": array_of(pa.float64(), flow["lag_ns"] / np.maximum(lagged, 1), bitmap_of(lagged > 0)),
    }
    for kind, name in ((ARRIVAL, "arrival"), (CANCEL, "cancel"), (FILL, "fill")):
        for side, side_name in enumerate(_SIDES):
            which = 2 * kind + side
            counts = flow["counts"][:, which].astype(np.uint32)
            columns[f"{side_name}_{name}s"] = array_of(pa.uint32(), counts)
            columns[f"{side_name}_{name}_qty"] = _doubles(flow["amounts"][:, which], scale)
    return columns


def _of_trades(trades: Records) -> dict[str, pa.Array]:
    recorded = bitmap_of(trades["count"] >= 0)
    columns = {"trades": array_of(pa.uint32(), np.maximum(trades["count"], 0).astype(np.uint32), recorded)}
    for name in ("volume", "signed_volume"):
        columns[name] = array_of(pa.float64(), trades[name], recorded)
    columns["vwap"] = array_of(pa.float64(), trades["vwap"], bitmap_of(~np.isnan(trades["vwap"])))
    return columns


def _doubles(values: Records, scales: Records, there: Optional[Records] = None) -> pa.Array:
    return array_of(pa.float64(), to_doubles(values, scales), bitmap_of(there) if there is not None else None)
