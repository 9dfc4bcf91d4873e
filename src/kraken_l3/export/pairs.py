"""Order events of many pairs by one reading of a chain of days: batches of one pair or another, as they come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Optional

import numpy as np

from kraken_l3.archive.reader import Archive
from kraken_l3.errors import DamageFound
from kraken_l3.export.chain_playback import ChainPlayback
from kraken_l3.export.column_records import ColumnRecords
from kraken_l3.export.day_start import begins_known_day, books_at_begin
from kraken_l3.export.events import EventsDay, EventsTable
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import RecordBuilder, Records
from kraken_l3.export.result import ExportResult, SymbolCounts
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step

__all__ = ["EventBatch", "in_larger_batches", "read_pairs"]

#: Columns are worked on in batches of about so many events: smaller ones cost more than their rows do.
_BATCH_ROWS = 1 << 15


class EventBatch(NamedTuple):
    """Some order events of one pair, in the order of time.

    Attributes:
        day: UTC day of the source file; None where its name has none.
        rows: gives fills their trades.
        overflow_ids: the order ids that are too long for a record.
        records: `records.EVENT`; whole messages.
        book: rows of the book at the changes that these messages make, if they are wanted.
        begins_day: whether the records are the book at midnight, or where a window begins (none: not known), and no
            messages.
    """

    symbol: str
    day: Optional[dt.date]
    rows: EventsDay
    overflow_ids: Sequence[str]
    records: Records
    book: Optional[Records] = None
    begins_day: bool = False


def read_pairs(
    archive: Archive,
    chain: Chain,
    symbols: Sequence[str],
    metadata: Sequence[SymbolMetadata],
    counted: Mapping[str, ExportResult],
    *,
    book: Optional[SnapshotsTable] = None,
    window: Window = EVERYTHING,
    engine: str = "auto",
    progress: Optional[Progress] = None,
) -> Iterator[EventBatch]:
    """The events of some pairs of one chain of days.

    Of a file whose lines have no receive times come those outside of the window too.

    Args:
        archive: holds the chain.
        chain: what to read.
        symbols: which pairs.
        metadata: see `metadata.metadata_in`.
        counted: each gains what was read of its pair, and damage that hides the rest of a file.
        book: the rows wanted beside the events, at every change; those over gaps are left out.
        window: what of it.
        engine: see `engine.choose`.
        progress: called with the bytes done.
    """
    table = EventsTable(frozenset(symbols))
    options = table.engine_options()
    if book is not None:
        options = replace(options, rows=book.engine_options().rows)
    playback = ChainPlayback(archive, chain, table, metadata, window, options=options, engine_name=engine)
    builder = RecordBuilder(playback.engine, book.levels if book is not None else 0)
    counts = SymbolCounts(playback.engine, symbols)
    day = _Day(archive, None, table, book, playback.gaps)

    def hide(damage: DamageFound) -> None:
        for result in counted.values():
            result.hide(damage)

    for each in playback.play(counts, progress=progress, on_damage=hide):
        if isinstance(each, FileEnd):
            for symbol, counted_now in counts.since_last().items():
                counted[symbol].add(ExportResult([], each.lines, each.bytes, *counted_now))
        elif isinstance(each, FileBegin):
            if each.day is None or day.date != each.day:
                day = _Day(archive, each.day, table, book, playback.gaps)
            if begins_known_day(each):
                books = dict(books_at_begin(each, playback.engine, builder, playback.gaps, window))
                for symbol in symbols:
                    records = books.get(symbol, np.zeros(0, table.dtype))
                    yield day.batch(symbol, builder.overflow_ids, records, begins_day=True)
        elif isinstance(each, Step):
            results = builder.build(each)
            if not playback.is_begun:
                continue
            rows = dict(results.rows()) if book is not None else {}
            for symbol, records in results.events():
                yield day.batch(symbol, builder.overflow_ids, records, rows.get(symbol))


class _Day:
    """What is known of each pair's day."""

    def __init__(
        self,
        archive: Archive,
        date: Optional[dt.date],
        table: EventsTable,
        book: Optional[SnapshotsTable],
        gaps: GapRows,
    ) -> None:
        self.date = date
        self._events = table.day(archive, date, gaps)
        self._book = book.day(archive, date, gaps) if book is not None else None
        self._of: dict[str, EventsDay] = {}

    def batch(
        self,
        symbol: str,
        overflow_ids: Sequence[str],
        records: Records,
        book: Optional[Records] = None,
        *,
        begins_day: bool = False,
    ) -> EventBatch:
        rows = self._of.get(symbol)
        if rows is None:
            made = self._events(symbol)
            assert isinstance(made, EventsDay)
            rows = self._of[symbol] = made
        if self._book is not None and book is not None:
            book = self._book(symbol).keep(book)
        return EventBatch(symbol, self.date, rows, overflow_ids, records, book, begins_day)


def in_larger_batches(batches: Iterable[EventBatch], rows: int = _BATCH_ROWS) -> Iterator[EventBatch]:
    """The same events of one pair, in batches of about so many where they can be put together."""
    waiting: list[EventBatch] = []
    count = 0
    for batch in batches:
        if waiting and (batch.begins_day or batch.rows is not waiting[0].rows or count >= rows):
            yield _together(waiting)
            waiting, count = [], 0
        if batch.begins_day:
            yield batch
        else:
            waiting.append(batch)
            count += len(batch.records)
    if waiting:
        yield _together(waiting)


def _together(batches: Sequence[EventBatch]) -> EventBatch:
    if len(batches) == 1:
        return batches[0]
    books = [batch.book for batch in batches if batch.book is not None]
    records = _concatenated([batch.records for batch in batches])
    return batches[0]._replace(records=records, book=_concatenated(books) if books else None)


def _concatenated(pieces: Sequence[Records]) -> Records:
    if all(isinstance(piece, ColumnRecords) for piece in pieces):
        names = pieces[0].dtype.names
        columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
        return ColumnRecords(pieces[0].dtype, columns)
    return np.concatenate([piece.packed() if isinstance(piece, ColumnRecords) else piece for piece in pieces])
