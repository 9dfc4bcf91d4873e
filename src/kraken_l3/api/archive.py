"""An archive opened for research: what it holds, its messages, books, events and snapshots."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional, Union

from kraken_l3.api.arguments import Days, Moment, bar_ns, count, moment_ns, one_of, span_ns, symbol_among, windows
from kraken_l3.api.books import Book, Ladder, as_book
from kraken_l3.api.coverage import DayCoverage, Gap, coverage_of, gaps_of, stretches, verdicts_of
from kraken_l3.api.display import coverage_bar
from kraken_l3.api.progress import notebook_progress
from kraken_l3.api.tables import Rows, Table
from kraken_l3.archive.companions import journal_damage
from kraken_l3.archive.datafile import Line, Skipped
from kraken_l3.archive.layout import Stream, parse_name
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive as Files
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.archive.unread import Unread, unread_in
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.protocol.decoding import latest_time_ns
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import play
from kraken_l3.rebuild.verification import Verification
from kraken_l3.rebuild.verify import verify

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from kraken_l3.export.table import Table as TableKind
    from kraken_l3.rebuild.metadata import SymbolMetadata
    from kraken_l3.rebuild.parallel import Progress

__all__ = ["Archive", "open_for_research"]

MOST_LEVELS = 1000
MOST_JOBS = 1024
_SHOWN_SYMBOLS = 5


def open_for_research(path: Union[str, Path]) -> Archive:
    """Open an archive directory, or an NDJSON file of level3 messages by any recorder; a path or a URL (s3://...).

    From a URL only the ranges that are needed are read.

    Raises:
        UsageError: there is no such file or directory.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"path must be a text or a path, got {type(path).__name__}")
    return Archive(path_of(path))


class Archive:
    """An archive of any size; nothing is read until it is asked for.

    Attributes:
        path: what was opened.
        days: UTC days that have data, oldest first (empty for a file whose name has no day).
    """

    def __init__(self, path: Path, *, engine: str = "auto") -> None:
        self.path = path
        self._files: Files = open_archive(path)
        self._engine = engine
        self._metadata: Optional[list[SymbolMetadata]] = None
        self._symbols: Optional[list[str]] = None

    def __repr__(self) -> str:
        days, symbols = self.days, self._told_symbols()
        when = f"; {days[0]}" + (f" to {days[-1]}, {len(days)} days" if len(days) > 1 else "") if days else ""
        some = ", ".join(symbols[:_SHOWN_SYMBOLS]) + (
            f", ... ({len(symbols)} in all)" if symbols[_SHOWN_SYMBOLS:] else ""
        )
        return f"<Archive {self.path}{f': {some}' if some else ''}{when}>"

    def _repr_html_(self) -> str:
        known = stretches(self._files, self._told_symbols())
        if not known:
            return f"<code>{escape(repr(self))}</code>"
        edges = [edge for each in known.values() for stretch in each for edge in stretch[:2]]
        return f"<div><b>{escape(str(self.path))}</b></div>{coverage_bar(known, min(edges), max(edges))}"

    @property
    def days(self) -> list[dt.date]:
        """UTC days that have data."""
        return sorted(self._files.days)

    @property
    def symbols(self) -> list[str]:
        """The symbols, sorted. They come from the journal; if it is missing or damaged, the data is read, once."""
        if self._symbols is None:
            told = self._told_symbols()
            is_whole = told and not journal_damage(self._files)
            self._symbols = told if is_whole else sorted({*told, *self._symbols_in_data()})
        return self._symbols

    def _told_symbols(self) -> list[str]:
        """Those that are known without reading data."""
        if self._symbols is not None:
            return self._symbols
        return sorted({entry.symbol for entry in self._told() if entry.depth is not None})

    def _told(self) -> list[SymbolMetadata]:
        if self._metadata is None:
            self._metadata = metadata_in(self._files)
        return self._metadata

    def _symbols_in_data(self) -> set[str]:
        engine = make_engine(EngineOptions(), self._engine)
        for _ in play(engine, self._files, ()):
            pass
        return set(engine.symbols())

    def gaps(self, symbol: Optional[str] = None) -> Rows[Gap]:
        """Every gap of all symbols or of one, with its cause and both edges, from the journals.

        The end of the recording is not a gap. Files of other recorders have no journal, so their gaps are not known.

        Raises:
            DataMissing: the archive does not have the symbol.
        """
        if symbol is not None:
            symbol_among(symbol, self.symbols, str(self.path))
        return Rows("gaps", Gap, gaps_of(self._files, symbol))

    def coverage(self, *, verify: bool = True) -> Rows[DayCoverage]:
        """How much of each symbol's day was recorded, and how much of that agrees with Kraken's checksums.

        Args:
            verify: read and verify all data. If false, `messages` and `verified` are None, and no data is read.

        Raises:
            UsageError: numpy is not installed.
        """
        if not verify:
            return Rows("days of a symbol", DayCoverage, coverage_of(self._files, self.symbols, None))
        with _research_libraries(), notebook_progress("verifying", self._size()) as progress:
            verdicts = verdicts_of(self._files, self._told(), self._engine, progress)
        return Rows("days of a symbol", DayCoverage, coverage_of(self._files, self.symbols, verdicts))

    def messages(
        self,
        stream: str = "level3",
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Iterator[Line]:
        """Messages as they were received: `payload` (bytes), `number`, `offset`, and `receipt` if there is one.

        Args:
            stream: "level3", "trade" or "instrument".
            start: first receive time.
            end: receive time before which to stop.
            day: only these UTC days: "2026-11-22", a date, or several.

        Without receipts, the latest of the messages' own times so far stands for the receive time. Lines before the
        first message with a time are returned only if there is no `start`.

        Raises:
            UsageError: the stream is unknown, `start` or `end` is no moment, or `day` no day.
        """
        stream = one_of(stream, "stream", [each.value for each in Stream])
        return chain.from_iterable(self._lines(Stream(stream), window) for window in windows(start, end, day))

    def _lines(self, stream: Stream, window: Window) -> Iterator[Line]:
        latest_ns = 0
        for line in self._files.lines(stream, start_ns=window.start_ns or None, skipped=Skipped()):
            if line.receipt is not None:
                latest_ns = line.receipt.recv_ns
            elif window != EVERYTHING:
                latest_ns = max(latest_ns, latest_time_ns(line.payload))
                if latest_ns < window.start_ns:
                    continue
            if window.end_ns is not None and latest_ns >= window.end_ns:
                return
            yield line

    def book(self, symbol: str, at: Optional[Moment] = None) -> Book:
        """The book after everything received at or before `at` (default: the end), from the nearest checkpoint.

        Raises:
            DataMissing: the symbol has no book there.
            UsageError: `at` is no moment.
        """
        at_ns = None if at is None else moment_ns(at, "at")
        if not isinstance(symbol, str):
            raise UsageError(f"a symbol is a text such as BTC/USD, got {symbol!r}")
        try:
            return as_book(symbol, book_at(self.path, symbol, at_ns=at_ns, engine_name=self._engine))
        except DataMissing:
            # only now: without a journal, looking for the symbols reads the whole file
            symbol_among(symbol, self.symbols, str(self.path))
            raise

    def books(
        self,
        symbol: str,
        every: str = "1s",
        levels: int = 10,
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Iterator[Ladder]:
        """The rows of `snapshots`, one by one."""
        return _ladders(self.snapshots(symbol, every, levels, start=start, end=end, day=day))

    def events(
        self,
        symbol: str,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Table:
        """Order events of a symbol, in order; docs/export.md describes the columns.

        Args:
            symbol: such as BTC/USD.
            start: first receive time.
            end: receive time before which to stop.
            day: only these UTC days: "2026-11-22", a date, or several.

        Raises:
            DataMissing: the archive does not have the symbol.
            UsageError: numpy and pyarrow are not installed, or `start` or `end` is no moment.
        """
        with _research_libraries():
            from kraken_l3.export.events import EventsTable
        return self._read(lambda: EventsTable(frozenset([symbol])), symbol, windows(start, end, day))

    def orders(
        self,
        symbol: str,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Table:
        """One row for each life of an order, in the order in which they end; docs/export.md describes the columns.

        Args:
            symbol: such as BTC/USD.
            start: first receive time; orders that already rest then count as first seen then.
            end: receive time before which to stop; orders that still rest then count as last seen then.
            day: only these UTC days: "2026-11-22", a date, or several.

        Raises:
            DataMissing: the archive does not have the symbol.
            UsageError: numpy and pyarrow are not installed, or `start` or `end` is no moment.
        """
        with _research_libraries():
            from kraken_l3.export.orders.following import read_orders
            from kraken_l3.export.orders.table import ORDERS
            from kraken_l3.export.stream import named
        wanted = windows(start, end, day)
        symbol_among(symbol, self.symbols, str(self.path))

        def read(progress: Optional[Progress]) -> pa.RecordBatchReader:
            return read_orders(
                self._files, symbol, self._told(), windows=wanted, engine=self._engine, progress=progress
            )

        return Table("orders", symbol, named(ORDERS.empty_table(), symbol).schema, read, lambda: self._size(wanted))

    def trades(
        self,
        symbol: str,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Table:
        """The recorded trades of a symbol, each once, in order; docs/export.md describes the columns.

        Args:
            symbol: such as BTC/USD.
            start: first receive time (without receipts, the trades' own).
            end: time before which to stop.
            day: only these UTC days: "2026-11-22", a date, or several.

        Raises:
            DamageFound: when it is read: a trade file is damaged; the trades in front of that came before.
            DataMissing: the archive does not have the symbol.
            UsageError: numpy and pyarrow are not installed, or `start` or `end` is no moment.
        """
        with _research_libraries():
            import pyarrow as pa

            from kraken_l3.export.schema import TRADES
            from kraken_l3.export.stream import named
            from kraken_l3.export.trades import read_trades
        wanted = windows(start, end, day)
        symbol_among(symbol, self.symbols, str(self.path))
        schema = named(TRADES.empty_table(), symbol).schema

        def read(_: Optional[Progress]) -> pa.RecordBatchReader:
            batches = (batch for table in read_trades(self._files, symbol, wanted) for batch in table.to_batches())
            return pa.RecordBatchReader.from_batches(schema, batches)

        return Table("trades", symbol, schema, read, lambda: 0)

    def features(
        self,
        symbol: str,
        every: str = "1s",
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
    ) -> Table:
        """Feature bars: prices, depth, order flow, trades, variance, lag; docs/export.md describes the columns.

        Args:
            symbol: such as BTC/USD.
            every: length of a bar ("1s", "100ms", "5m", ...); must divide a day.
            start: first moment.
            end: moment before which to stop.
            day: only these UTC days: "2026-11-22", a date, or several.

        Raises:
            DataMissing: the archive does not have the symbol.
            UsageError: numpy and pyarrow are not installed, or an argument is out of its range.
        """
        bar = bar_ns(every)
        with _research_libraries():
            from kraken_l3.export.features import FeaturesTable
        return self._read(lambda: FeaturesTable(bar, frozenset([symbol])), symbol, windows(start, end, day))

    def snapshots(
        self,
        symbol: str,
        every: str = "1s",
        levels: int = 10,
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        day: Optional[Days] = None,
        wide: bool = False,
        keep_gaps: bool = False,
    ) -> Table:
        """Book snapshots of a symbol: timestamp, bid_prices, bid_qtys, ask_prices, ask_qtys; best level first.

        Args:
            symbol: such as BTC/USD.
            every: spacing on the receive clock ("1s", "100ms", ...), or "change".
            levels: price levels a side, 1 to 1000.
            start: first moment.
            end: moment before which to stop.
            day: only these UTC days: "2026-11-22", a date, or several.
            wide: add the columns that docs/export.md lists.
            keep_gaps: keep rows over gaps, marked in a column `over_gap`.

        Raises:
            DataMissing: the archive does not have the symbol.
            UsageError: numpy and pyarrow are not installed, or an argument is out of its range.
        """
        levels = count(levels, "levels", most=MOST_LEVELS)
        how = levels, span_ns(every), bool(wide), bool(keep_gaps)
        with _research_libraries():
            from kraken_l3.export.snapshots import SnapshotsTable
        return self._read(lambda: SnapshotsTable(*how, frozenset([symbol])), symbol, windows(start, end, day))

    def _read(self, kind: Callable[[], TableKind], symbol: str, wanted: list[Window]) -> Table:
        from kraken_l3.export.stream import named, read_table

        symbol_among(symbol, self.symbols, str(self.path))
        table = kind()

        def read(progress: Optional[Progress]) -> pa.RecordBatchReader:
            return read_table(self._files, table, self._told(), windows=wanted, engine=self._engine, progress=progress)

        schema = named(table.schema.empty_table(), symbol).schema
        return Table(table.name, symbol, schema, read, lambda: self._size(wanted))

    def _size(self, wanted: Iterable[Window] = (EVERYTHING,)) -> int:
        """Bytes of the days that windows touch."""
        return sum(
            content_size(path)
            for path, name in ((path, parse_name(path.name)) for path in self._files.files())
            if name is None or any(_touches(window, name.day) for window in wanted)
        )

    def duckdb(self, tables: Optional[Iterable[str]] = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views `snapshots`, `events`, `orders`, `features`, `trades`, `gaps` and `verdicts`.

        The tables are exported first, to a directory beside the archive ("data.tables"); what has not changed is not
        exported again. Snapshots and features have one row a second.

        Args:
            tables: only these; None for all of them.

        Raises:
            DataMissing: a table that is named has no rows.
            UsageError: duckdb, numpy or pyarrow is not installed, or there is no such table.
        """
        with _research_libraries():
            from kraken_l3.export.sql import connect
        return connect(str(self.path), tables, engine=self._engine)

    def unread(self) -> list[Unread]:
        """Level3 data that is not read: `file`, `what` (why, and what to do), and `lines` (None: the whole file).

        These are files whose names are not those of an archive, and lines in a form that this program does not know.
        Files of other recorders are read from end to end to find such lines.
        """
        return unread_in(self._files)

    def verify(self, jobs: int = 1) -> Verification:
        """Compare every checksum.

        The result's `exit_code()` is 0 if everything is verified; its `symbols` have the counts, its `unread` has what
        was not read.

        Raises:
            UsageError: `jobs` is out of its range.
        """
        jobs = count(jobs, "jobs", most=MOST_JOBS)
        with notebook_progress("verifying", self._size()) as progress:
            return verify(self.path, engine_name=self._engine, jobs=jobs, progress=progress)


@contextmanager
def _research_libraries() -> Iterator[None]:
    """For imports that need numpy and pyarrow."""
    try:
        yield
    except ImportError:
        raise UsageError("tables need numpy and pyarrow", hint="pip install numpy pyarrow") from None


def _touches(window: Window, day: dt.date) -> bool:
    start_ns = day_start_ns(day)
    return window.start_ns < start_ns + NS_PER_DAY and (window.end_ns is None or start_ns < window.end_ns)


def _ladders(batches: Table) -> Iterator[Ladder]:
    for batch in batches:
        _symbol, times, *sides = batch.columns
        columns = (times.cast("int64").to_pylist(), *(side.to_pylist() for side in sides))
        for at_ns, bid_prices, bid_qtys, ask_prices, ask_qtys in zip(*columns):
            yield Ladder(at_ns, list(zip(bid_prices, bid_qtys)), list(zip(ask_prices, ask_qtys)))
