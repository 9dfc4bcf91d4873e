"""Tables without files: one symbol's rows between two moments as a stream of Arrow batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Optional

import pyarrow as pa

from kraken_l3.archive.layout import parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.export.table import SymbolDay, Table
from kraken_l3.export.walking import Chain, FileEnd, chains_in, walk_chain
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["read_table"]

_LAST_NS = (1 << 63) - 1


def read_table(
    archive: Archive,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    *,
    start_ns: int = 0,
    end_ns: int = _LAST_NS,
    engine: str = "auto",
) -> pa.RecordBatchReader:
    """Rows of the one symbol that `table` names, at or after `start_ns` and before `end_ns`.

    Reading begins with the chain of days that holds the start, since books have to be built from its beginning.
    """
    batches = _batches(archive, table, metadata, start_ns, end_ns, engine)
    return pa.RecordBatchReader.from_batches(table.schema, batches)


def _batches(
    archive: Archive,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    start_ns: int,
    end_ns: int,
    engine_name: str,
) -> Iterator[pa.RecordBatch]:
    for chain in chains_in(archive):
        if not _is_before(chain, start_ns) and not _is_after(chain, end_ns):
            yield from _chain_batches(archive, chain, table, metadata, start_ns, end_ns, engine_name)


def _day_start(name: str) -> Optional[int]:
    parsed = parse_name(name)
    return day_start_ns(parsed.day) if parsed is not None else None


def _is_before(chain: Chain, start_ns: int) -> bool:
    last_day = _day_start(chain.files[-1])
    return last_day is not None and last_day + NS_PER_DAY <= start_ns


def _is_after(chain: Chain, end_ns: int) -> bool:
    first_day = _day_start(chain.files[0])
    return first_day is not None and first_day >= end_ns


def _chain_batches(
    archive: Archive,
    chain: Chain,
    table: Table,
    metadata: Sequence[SymbolMetadata],
    start_ns: int,
    end_ns: int,
    engine_name: str,
) -> Iterator[pa.RecordBatch]:
    engine = make_engine(table.engine_options(), engine_name)
    builder = table.builder(engine)
    symbol = next(iter(table.symbols or ("",)))
    date: Optional[dt.date] = None
    day: Optional[SymbolDay] = None
    for step in walk_chain(engine, archive, chain, metadata, grid_ns=table.grid_ns):
        if isinstance(step, FileEnd):
            continue
        if day is None or date != step.day:
            date, day = step.day, table.day(archive, step.day)(symbol)
        results = builder.build(step.result, step.times, new_snapshots=step.new_snapshots)
        records = next((records for _, records in table.records(results)), None)
        if records is None:
            continue
        times = table.times(records)
        if times[0] >= end_ns:
            return
        wanted = (times >= start_ns) & (times < end_ns)
        if wanted.any():
            yield from day.to_arrow(day.keep(records[wanted]), builder.overflow_ids).to_batches()
