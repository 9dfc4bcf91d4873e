"""Tables without files: one symbol's rows between two moments as a stream, of records or of Arrow batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.reader import Archive
from kraken_l3.export.arrow import array_of
from kraken_l3.export.chain_playback import ChainPlayback
from kraken_l3.export.day_start import begins_known_day, books_at_begin
from kraken_l3.export.naming import printable
from kraken_l3.export.records import RecordBuilder, Records
from kraken_l3.export.result import EngineCounts, ExportResult
from kraken_l3.export.table import SymbolDay, Table, records_in
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step, chains_in

__all__ = ["RecordBatch", "named", "read_chain", "read_records", "read_table"]


class RecordBatch(NamedTuple):
    """Some records of a table, in the order of time.

    Attributes:
        day: UTC day of the source file; None where its name has none.
        rows: turns them into Arrow rows.
        builder: what made them; it has the order ids that are too long for a record.
        records: of the table's dtype; whole messages.
        begins_day: whether they are the books at midnight, or where a window begins (none: not known), and no messages.
    """

    day: Optional[dt.date]
    rows: SymbolDay
    builder: RecordBuilder
    records: Records
    begins_day: bool = False


def read_table(
    archive: Archive,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    progress: Optional[Progress] = None,
) -> pa.RecordBatchReader:
    """Rows of the one symbol that `table` names, with a column that says so, in any of the windows.

    They are in order, and do not overlap.
    """
    found = read_records(archive, table, metadata, windows=windows, engine=engine, progress=progress)
    symbol = next(iter(table.symbols or ("",)))
    tables = (named(batch.rows.to_arrow(batch.records, batch.builder.overflow_ids), symbol) for batch in found)
    schema = named(table.schema.empty_table(), symbol).schema
    return pa.RecordBatchReader.from_batches(schema, (batch for each in tables for batch in each.to_batches()))


def named(table: pa.Table, symbol: str) -> pa.Table:
    """Rows with a first column that says whose they are.

    In files it is the directory that says so: a column of the same name is taken for it by some readers, and refused by
    others.
    """
    word = pa.array([printable(symbol)])
    column = pa.DictionaryArray.from_arrays(array_of(pa.int8(), np.zeros(len(table), np.int8)), word)
    return table.add_column(0, pa.field("symbol", column.type, nullable=False), column)


def read_records(
    archive: Archive,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    progress: Optional[Progress] = None,
) -> Iterator[RecordBatch]:
    """As `read_table`, before they become Arrow rows."""
    for chain in chains_in(archive):
        for window in windows:
            played = read_chain(archive, chain, table, metadata, window=window, engine=engine, progress=progress)
            for batch in played:
                if batch.begins_day and batch.day is not None and window.within(batch.day).start_ns:
                    continue  # the books where the window begins are no rows of the table
                records = records_in(window, table, batch.records)
                if len(records):
                    yield batch._replace(records=batch.rows.keep(records))


def read_chain(
    archive: Archive,
    chain: Chain,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    window: Window = EVERYTHING,
    engine: str = "auto",
    progress: Optional[Progress] = None,
    counted: Optional[ExportResult] = None,
) -> Iterator[RecordBatch]:
    """Records of the one symbol that `table` names, of one chain of days, before `SymbolDay.keep`.

    Of a file whose lines have no receive times come those outside of the window too.

    Args:
        archive: holds the chain.
        chain: what to read.
        table: whose records.
        metadata: see `metadata.metadata_in`.
        window: what of it.
        engine: see `engine.choose`.
        progress: called with the bytes done.
        counted: gains what was read, and damage that hides the rest of a file; without it that is raised.
    """
    playback = ChainPlayback(archive, chain, table, metadata, window, engine_name=engine)
    builder = table.builder(playback.engine)
    counts = EngineCounts(playback.engine)
    symbol = next(iter(table.symbols or ("",)))
    date: Optional[dt.date] = None
    day: Optional[SymbolDay] = None
    for each in playback.play(counts, progress=progress, on_damage=counted.hide if counted is not None else None):
        if isinstance(each, FileEnd) and counted is not None:
            counted.add(ExportResult([], each.lines, each.bytes, *counts.since_last()))
        elif isinstance(each, FileBegin):
            if day is None or date != each.day:
                date, day = each.day, table.day(archive, each.day, playback.gaps)(symbol)
            if table.has_day_starts and begins_known_day(each):
                books = dict(books_at_begin(each, playback.engine, builder, playback.gaps, window))
                yield RecordBatch(date, day, builder, books.get(symbol, np.zeros(0, table.dtype)), begins_day=True)
        elif isinstance(each, Step):
            results = builder.build(each)
            if day is None:  # it leads up to the window
                continue
            records = next((records for _, records in table.records(results)), None)
            if records is not None:
                yield RecordBatch(date, day, builder, records)
