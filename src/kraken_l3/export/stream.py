"""Tables without files: one symbol's rows between two moments as a stream of Arrow batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.layout import parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.export.fills import DayTrades, Matcher
from kraken_l3.export.gaps import Gaps
from kraken_l3.export.job import EVENTS_TABLE, TableOptions
from kraken_l3.export.records import Recorder
from kraken_l3.export.spool import Rows
from kraken_l3.export.tables import events_table, snapshots_table
from kraken_l3.export.walking import Chain, FileEnd, Piece, chains_in, walk_chain
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["read_table"]

_LAST_NS = (1 << 63) - 1


def read_table(
    archive: Archive,
    options: TableOptions,
    facts: Sequence[SymbolMetadata],
    *,
    start_ns: int = 0,
    end_ns: int = _LAST_NS,
    engine: str = "auto",
) -> pa.RecordBatchReader:
    """Rows of the one symbol that `options` names, at or after `start_ns` and before `end_ns`.

    Reading begins with the chain of days that holds the start, since books have to be built from its beginning.
    """
    batches = _batches(archive, options, facts, start_ns, end_ns, engine)
    return pa.RecordBatchReader.from_batches(options.schema(), batches)


def _batches(
    archive: Archive,
    options: TableOptions,
    facts: Sequence[SymbolMetadata],
    start_ns: int,
    end_ns: int,
    engine_name: str,
) -> Iterator[pa.RecordBatch]:
    for chain in chains_in(archive):
        if not _is_before(chain, start_ns) and not _is_after(chain, end_ns):
            yield from _chain_batches(archive, chain, options, facts, start_ns, end_ns, engine_name)


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
    options: TableOptions,
    facts: Sequence[SymbolMetadata],
    start_ns: int,
    end_ns: int,
    engine_name: str,
) -> Iterator[pa.RecordBatch]:
    engine = make_engine(options.engine_options((0, 1)), engine_name)
    recorder = Recorder(engine, options.levels, orders=options.wide)
    day = _Day(archive, None, options)
    steps = walk_chain(engine, archive, chain, facts, grid_ns=options.grid_ns)
    for step in steps:
        if isinstance(step, FileEnd):
            continue
        if day.date != step.day:
            day = _Day(archive, step.day, options)
        records = _records(recorder, step, options)
        if records is None:
            continue
        times = _times(records, options)
        if times[0] >= end_ns:
            return
        wanted = (times >= start_ns) & (times < end_ns)
        if wanted.any():
            yield from day.table(recorder, records[wanted]).to_batches()


def _records(recorder: Recorder, piece: Piece, options: TableOptions) -> Any:
    taken = recorder.take(piece.result, piece.times, new_snapshots=piece.new_snapshots)
    found = taken.events() if options.table == EVENTS_TABLE else taken.rows()
    return next((records for _, records in found), None)


def _times(records: Any, options: TableOptions) -> Any:
    if options.table != EVENTS_TABLE:
        return records["timestamp"]
    return np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])


class _Day:
    """What is known of one day besides its lines."""

    def __init__(self, archive: Archive, date: Optional[dt.date], options: TableOptions) -> None:
        self.date = date
        self._options = options
        self._symbol = next(iter(options.symbols or ("",)))
        self._gaps = Gaps(archive, date)
        self._matcher: Optional[Matcher] = None
        if options.table == EVENTS_TABLE and date is not None:
            trades = DayTrades(archive, date)
            self._matcher = trades.matcher(self._symbol) if trades.recorded else None

    def table(self, recorder: Recorder, records: Any) -> pa.Table:
        options = self._options
        if options.table == EVENTS_TABLE:
            return events_table(Rows([records]), recorder.overflow_ids, self._matcher)
        over = self._gaps.over(self._symbol, records["timestamp"])
        if options.keep_gaps:
            records["over_gap"] = over
        else:
            records = records[~over]
        return snapshots_table(records, wide=options.wide, over_gap=options.keep_gaps)
