"""The table `trades`: the recorded trade channel, each trade once, exactly.

One job a day; done markers, files and windows are those of the other tables.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import pyarrow as pa

from kraken_l3._version import __version__
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import content_size, existing
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.export.arrow import array_of, bitmap_of, bools_of, times_of
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.naming import part_path, printable
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.records import Records
from kraken_l3.export.result import ExportedFile, ExportResult
from kraken_l3.export.resume import DoneMarker
from kraken_l3.export.schema import TAKERS, TRADES, TRADES_VERSION
from kraken_l3.export.storage import Store, open_store
from kraken_l3.export.stream import named
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.parallel import Progress, run_in_processes

__all__ = ["TradesJob", "export_trades", "read_trades", "run_trades_job", "trade_times", "trades_table"]


@dataclass(frozen=True)
class TradesJob:
    """What one process does: the trades of a day. `source` and `target` are paths or URLs."""

    source: str
    target: str
    day: dt.date
    symbols: Optional[frozenset[str]] = None
    window: Window = EVERYTHING


def export_trades(
    source: str,
    target: str,
    symbols: Optional[frozenset[str]] = None,
    *,
    jobs: int = 1,
    windows: Sequence[Window] = (EVERYTHING,),
    progress: Optional[Progress] = None,
) -> ExportResult:
    """Export the recorded trades of an archive; arguments as of `bulk.export_table`. No file: none were recorded."""
    days = sorted(open_archive(path_of(source)).days)
    planned = [
        TradesJob(source, target, day, symbols, window) for day in days for window in windows if window.touches(day)
    ]
    if jobs > 1 and len(planned) > 1:
        results = run_in_processes(run_trades_job, planned, jobs, progress)
    else:
        results = [run_trades_job(job, progress) for job in planned]
    result = ExportResult()
    for each in results:
        result.add(each)
    result.files.sort(key=lambda file: (file.symbol, file.date or ""))
    return result


def run_trades_job(job: TradesJob, progress: Optional[Progress] = None) -> ExportResult:
    """Do a job, unless its done marker still holds."""
    store = open_store(job.target)
    archive = open_archive(path_of(job.source))
    file = existing(DayPaths(archive.directory, job.day).data(Stream.TRADE))
    if file is None:
        return ExportResult()
    size = content_size(file)
    marker = DoneMarker(store, f"trades-{job.day}", _key(job, size))
    result = marker.result
    if result is None:
        result = _write(job, archive, store)
        result.bytes = size
        if not result.hidden:  # else it is to be done again from a copy that is whole
            marker.write(result)
    if progress is not None:
        progress(size)
    return result


def _key(job: TradesJob, size: int) -> Any:
    symbols = sorted(job.symbols) if job.symbols is not None else None
    key = [__version__, TRADES_VERSION, size, symbols, job.window.within(job.day)]
    return json.loads(json.dumps(key))


def _write(job: TradesJob, archive: Archive, store: Store) -> ExportResult:
    result = ExportResult()
    trades = DayTrades(archive, job.day, job.symbols)
    result.unverified = trades.unreadable
    if trades.damage is not None:
        result.hide(trades.damage)
    for symbol in trades.symbols:
        records = _within(trades.of(symbol), job.window.within(job.day))
        if not len(records):
            continue
        name = part_path("trades", symbol, job.day)
        described = {
            "table": "trades",
            "schema_version": TRADES_VERSION,
            "symbol": printable(symbol),
            "date": str(job.day),
        }
        output = ParquetOutput(store.begin(name), TRADES, described)
        try:
            output.write(trades_table(records))
            size = output.publish()
        except BaseException:
            output.abandon()
            raise
        result.files.append(ExportedFile(symbol, str(job.day), name, len(records), size))
    return result


def trade_times(records: Records) -> Records:
    """When each trade was received; Kraken's own time where nothing tells."""
    return np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])


def _within(records: Records, window: Window) -> Records:
    times = trade_times(records)
    wanted = times >= window.start_ns
    if window.end_ns is not None:
        wanted &= times < window.end_ns
    return records[wanted]


def read_trades(archive: Archive, symbol: str, windows: Sequence[Window] = (EVERYTHING,)) -> Iterator[pa.Table]:
    """The trades of a pair, a table for each day that has some, in the order in which they came.

    Raises:
        DamageFound: some of a trade file cannot be read; the trades in front of it came before.
        DataMissing: a trade file is packed in a way that is not read.
    """
    for day in sorted(archive.days):
        wanted = [window.within(day) for window in windows if window.touches(day)]
        if not wanted:
            continue
        trades = DayTrades(archive, day, [symbol])
        records = trades.of(symbol)
        for window in wanted:
            part = _within(records, window)
            if len(part):
                yield named(trades_table(part), symbol)
        if trades.damage is not None:
            raise trades.damage


def trades_table(records: Records) -> pa.Table:
    """Rows of the table (`schema.TRADES`) from records of dtype `day_trades.TRADE`."""
    side = records["taker_side"]
    known = side < len(TAKERS)
    taker = array_of(pa.int8(), np.where(known, side, 0).astype(np.int8), bitmap_of(known))
    columns = {
        "ts_recv": times_of(records["ts_recv"]),
        "ts_event": times_of(records["ts_event"]),
        "line": array_of(pa.int64(), records["line"]),
        "trade_id": array_of(pa.int64(), records["trade_id"]),
        "taker_side": pa.DictionaryArray.from_arrays(taker, TAKERS),
        "price": array_of(pa.int64(), records["price"]),
        "price_scale": array_of(pa.int8(), records["price_scale"]),
        "qty": array_of(pa.int64(), records["qty"]),
        "qty_scale": array_of(pa.int8(), records["qty_scale"]),
        "is_recent": bools_of(records["is_recent"]),
    }
    return pa.table([columns[name] for name in TRADES.names], TRADES)
