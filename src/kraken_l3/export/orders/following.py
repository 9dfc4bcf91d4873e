"""Plays days of an archive and follows the orders of all wanted pairs."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple, Optional, Union

import numpy as np
import pyarrow as pa

from kraken_l3.archive.gaps import Gap
from kraken_l3.archive.reader import Archive
from kraken_l3.export.chain_playback import ChainPlayback
from kraken_l3.export.column_records import ColumnRecords
from kraken_l3.export.day_start import books_at_begin
from kraken_l3.export.events import EventsDay, EventsTable
from kraken_l3.export.orders.lives import OrderLives
from kraken_l3.export.orders.table import ORDERS, to_arrow
from kraken_l3.export.records import RecordBuilder, Records
from kraken_l3.export.result import EngineCounts, ExportResult
from kraken_l3.export.stream import named
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step, chains_in

__all__ = ["Lives", "follow_orders", "read_orders", "runs_in"]

_FEW_EVENTS = 1024


class Lives(NamedTuple):
    """Some lives of a pair's orders that are complete, in the order of their ends.

    Attributes:
        symbol: the pair.
        records: of `life.LIFE`.
        overflow_ids: see `records.OVERFLOW_ID`.
    """

    symbol: str
    records: Records
    overflow_ids: Sequence[str]


def runs_in(archive: Archive) -> list[Chain]:
    """The chains of an archive, those joined that follow one another: an order lives on over midnight."""
    runs: list[Chain] = []
    for chain in chains_in(archive):
        if runs and runs[-1].goes_on:
            runs[-1] = Chain(runs[-1].files + chain.files, chain.goes_on)
        else:
            runs.append(chain)
    return runs


def read_orders(
    archive: Archive,
    symbol: str,
    metadata: Sequence[SymbolMetadata],
    *,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    progress: Optional[Progress] = None,
) -> pa.RecordBatchReader:
    """Rows of one symbol's orders in each of the windows, in the order in which their lives end; see `stream.named`."""
    batches = (
        batch
        for run in runs_in(archive)
        for window in windows
        for lives in follow_orders(
            archive, run, frozenset([symbol]), metadata, window=window, engine=engine, progress=progress
        )
        if isinstance(lives, Lives)
        for batch in named(to_arrow(lives.records, lives.overflow_ids), symbol).to_batches()
    )
    return pa.RecordBatchReader.from_batches(named(ORDERS.empty_table(), symbol).schema, batches)


def follow_orders(
    archive: Archive,
    run: Chain,
    symbols: Optional[frozenset[str]],
    metadata: Sequence[SymbolMetadata],
    *,
    window: Window = EVERYTHING,
    part: tuple[int, int] = (0, 1),
    engine: str = "auto",
    hashed: bool = False,
    progress: Optional[Progress] = None,
    counted: Optional[ExportResult] = None,
    overflow_ids: Optional[list[str]] = None,
) -> Iterator[Union[Lives, FileEnd]]:
    """Lives of orders, and the ends of the files that they were read from.

    Args:
        archive: holds the run.
        run: days that follow one another (see `runs_in`).
        symbols: which pairs; None for all.
        metadata: see `metadata.metadata_in`.
        window: what of it; orders that rest where it begins are first seen then, and those that rest where it ends
            were last seen there. In a file whose lines have no receive times lives may have begun before.
        part: share of the symbols, as in `port.EngineOptions`.
        engine: see `engine.choose`.
        hashed: have `FileEnd` tell the SHA-256 of each file.
        progress: called with the bytes done.
        counted: gains what was read, and damage that hides the rest of a file; without it that is raised.
        overflow_ids: gains the ids of `Lives.overflow_ids`.
    """
    table = EventsTable(symbols)
    options = table.engine_options(part)
    playback = ChainPlayback(archive, run, table, metadata, window, options=options, engine_name=engine)
    following = _Following(archive, table, playback, window, overflow_ids)
    counts = EngineCounts(playback.engine, part[0])
    on_damage = counted.hide if counted is not None else None
    for each in playback.play(counts, hashed=hashed, progress=progress, on_damage=on_damage):
        if isinstance(each, Gap):
            following.gap(each)
        elif isinstance(each, FileBegin):
            yield from following.begin(each)
        elif isinstance(each, FileEnd):
            following.books_go_on = each.is_whole
            if counted is not None:
                counted.add(ExportResult([], each.lines, each.bytes, *counts.since_last()))
            yield each
        elif isinstance(each, Step):
            yield from following.take(each)
    yield from following.finish()


class _Following:
    """The lives of all symbols of a playback.

    Attributes:
        books_go_on: whether those of the file before go on in the next one.
    """

    def __init__(
        self,
        archive: Archive,
        table: EventsTable,
        playback: ChainPlayback,
        window: Window,
        overflow_ids: Optional[list[str]] = None,
    ) -> None:
        self._archive, self._table, self._playback, self._window = archive, table, playback, window
        self._builder = RecordBuilder(playback.engine, overflow_ids=overflow_ids)
        self._lives: dict[str, OrderLives] = defaultdict(OrderLives)
        self.books_go_on = False
        self._day: Optional[dt.date] = None
        self._waiting: dict[str, list[tuple[Records, Records]]] = defaultdict(list)
        self._rows: dict[str, EventsDay] = {}
        self._make_rows: Callable[[str], EventsDay] = lambda _: EventsDay(None)

    def gap(self, gap: Gap) -> None:
        """A gap begins."""
        self._lives[gap.symbol].gap(gap.left_ns)

    def begin(self, begin: FileBegin) -> Iterator[Lives]:
        """A file begins, with the books that the engine has where those of the file before do not go on."""
        yield from self._follow_waiting()
        self._make_rows = self._table.day(self._archive, begin.day, self._playback.gaps)
        self._day, self._rows = begin.day, {}
        if self.books_go_on:
            return
        if begin.day is not None:
            for lives in self._lives.values():
                lives.cut(day_start_ns(begin.day))
        engine, gaps = self._playback.engine, self._playback.gaps
        for symbol, records in books_at_begin(begin, engine, self._builder, gaps, self._window):
            yield from self._take(symbol, records)

    def take(self, step: Step) -> Iterator[Lives]:
        """Follow what came of a piece of a file."""
        results = self._builder.build(step)
        if self._playback.is_begun:
            for symbol, records in results.events():
                yield from self._take(symbol, records)

    def _take(self, symbol: str, records: Records) -> Iterator[Lives]:
        """Events of one pair wait until they are many: what is done with columns costs the same for a few."""
        times = self._table.times(records)
        self._builder.keep_rising(symbol, times)
        if self._window.end_ns is not None and times[-1] >= self._window.end_ns:
            count = int(np.searchsorted(times, self._window.end_ns))
            records, times = records[:count], times[:count]
        waiting = self._waiting[symbol]
        waiting.append((records, times))
        if sum(len(times) for _, times in waiting) >= _FEW_EVENTS:
            yield from self._follow(symbol)

    def _follow_waiting(self) -> Iterator[Lives]:
        for symbol in sorted(self._waiting):
            yield from self._follow(symbol)

    def _follow(self, symbol: str) -> Iterator[Lives]:
        waiting = self._waiting.pop(symbol)
        records, times = waiting[0]
        if len(waiting) > 1:
            records = np.concatenate(
                [records.packed() if isinstance(records, ColumnRecords) else records for records, _ in waiting]
            )
            times = np.concatenate([times for _, times in waiting])
        if not len(times):
            return
        rows = self._rows.get(symbol)
        if rows is None:
            rows = self._rows[symbol] = self._make_rows(symbol)
        classification, _, confidence = rows.match(records)
        followed, overflow_ids = self._lives[symbol], self._builder.overflow_ids
        yield from self._wanted(
            symbol, followed.take(records, times, classification, confidence, overflow_ids, self._day)
        )

    def finish(self) -> Iterator[Lives]:
        """The data ends."""
        yield from self._follow_waiting()
        for symbol, lives in sorted(self._lives.items()):
            yield from self._wanted(symbol, lives.finish(self._playback.now_ns))

    def _wanted(self, symbol: str, complete: Iterator[Records]) -> Iterator[Lives]:
        for lives in complete:
            wanted = lives["ts_end"] >= self._window.start_ns
            if wanted.any():
                yield Lives(symbol, lives[wanted], self._builder.overflow_ids)
