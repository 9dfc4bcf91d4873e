"""Tables without files: one symbol's rows between two moments as a stream, of records or of Arrow batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.gaps import Gap, gaps_in
from kraken_l3.archive.layout import DayPaths, Stream, parse_name
from kraken_l3.archive.opening import existing
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.export.clock import ReceiveClock
from kraken_l3.export.day_start import begins_known_day, books_at_midnight
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import RecordBuilder, Records
from kraken_l3.export.result import EngineCounts, ExportResult
from kraken_l3.export.table import SymbolDay, Table
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step, chains_in, play

__all__ = ["RecordBatch", "read_chain", "read_records", "read_table"]

_BLOCK_BYTES = 1024 * 1024


class RecordBatch(NamedTuple):
    """Some records of a table, in the order of time.

    Attributes:
        day: UTC day of the source file; None where its name has none.
        rows: turns them into Arrow rows.
        builder: what made them; it has the order ids that are too long for a record.
        records: of the table's dtype; whole messages.
        begins_day: whether they are the books at midnight (none: not known), and no messages.
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
    start_ns: int = 0,
    end_ns: Optional[int] = None,
    engine: str = "auto",
) -> pa.RecordBatchReader:
    """Rows of the one symbol that `table` names, at or after `start_ns` and before `end_ns` (None: all of them).

    Reading begins with the chain of days that holds the start, since books have to be built from its beginning.
    """
    found = read_records(archive, table, metadata, start_ns=start_ns, end_ns=end_ns, engine=engine)
    tables = (batch.rows.to_arrow(batch.records, batch.builder.overflow_ids) for batch in found)
    return pa.RecordBatchReader.from_batches(table.schema, (batch for each in tables for batch in each.to_batches()))


def read_records(
    archive: Archive,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    start_ns: int = 0,
    end_ns: Optional[int] = None,
    engine: str = "auto",
) -> Iterator[RecordBatch]:
    """As `read_table`, before they become Arrow rows."""
    for chain in chains_in(archive):
        # without receipts a file by somebody else may be called after any day
        if _has_receipts(archive, chain) and (_is_before(chain, start_ns) or _is_after(chain, end_ns)):
            continue
        for batch in read_chain(archive, chain, table, metadata, engine=engine):
            times = table.times(batch.records)
            wanted = times >= start_ns
            if end_ns is not None:
                if len(times) and times[0] >= end_ns:
                    break
                wanted &= times < end_ns
            if wanted.any():
                yield batch._replace(records=batch.rows.keep(batch.records[wanted]))


def _has_receipts(archive: Archive, chain: Chain) -> bool:
    names = [parse_name(name) for name in chain.files]
    firsts = [DayPaths(archive.directory, name.day) for name in names if name is not None and not name.part]
    return len(firsts) == len(names) and all(existing(paths.receipts(Stream.LEVEL3)) for paths in firsts)


def _day_start(name: str) -> Optional[int]:
    parsed = parse_name(name)
    return day_start_ns(parsed.day) if parsed is not None else None


def _is_before(chain: Chain, start_ns: int) -> bool:
    last_day = _day_start(chain.files[-1])
    return last_day is not None and last_day + NS_PER_DAY <= start_ns


def _is_after(chain: Chain, end_ns: Optional[int]) -> bool:
    first_day = _day_start(chain.files[0])
    return first_day is not None and end_ns is not None and first_day >= end_ns


def read_chain(
    archive: Archive,
    chain: Chain,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    engine: str = "auto",
    progress: Optional[Progress] = None,
    counted: Optional[ExportResult] = None,
) -> Iterator[RecordBatch]:
    """Records of the one symbol that `table` names, of one chain of days, before `SymbolDay.keep`.

    Args:
        archive: holds the chain.
        chain: what to read.
        table: whose records.
        metadata: see `metadata.metadata_in`.
        engine: see `engine.choose`.
        progress: called with the bytes done.
        counted: gains what was read, and damage that hides the rest of a file; without it that is raised.
    """
    engine_made = make_engine(table.engine_options(), engine)
    builder = table.builder(engine_made)
    counts = EngineCounts(engine_made)
    symbol = next(iter(table.symbols or ("",)))
    date: Optional[dt.date] = None
    day: Optional[SymbolDay] = None
    gaps = GapRows()
    played = play(
        engine_made,
        archive,
        metadata,
        gaps=gaps_in(archive, channel=Stream.LEVEL3, symbols=table.symbols),
        chain=chain,
        clock=ReceiveClock(engine_made.name, needs_times=table.grid_ns is not None),
        grid=table.grid_ns is not None,
        block_bytes=_BLOCK_BYTES,
        on_damage=counted.hide if counted is not None else None,
    )
    for each in played:
        if isinstance(each, Gap):
            gaps.add(each)
        elif isinstance(each, FileEnd) and counted is not None:
            counted.add(ExportResult([], each.lines, each.bytes, *counts.since_last()))
        elif isinstance(each, FileBegin):
            if day is None or date != each.day:
                date, day = each.day, table.day(archive, each.day, gaps)(symbol)
            if table.has_day_starts and begins_known_day(each):
                books = dict(books_at_midnight(each, engine_made, builder, gaps))
                yield RecordBatch(date, day, builder, books.get(symbol, np.zeros(0, table.dtype)), begins_day=True)
        if not isinstance(each, Step):
            continue
        counts.left_out += each.block.left_out
        if progress is not None:
            progress(len(each.block.data))
        assert day is not None
        results = builder.build(each)
        records = next((records for _, records in table.records(results)), None)
        if records is not None:
            yield RecordBatch(date, day, builder, records)
