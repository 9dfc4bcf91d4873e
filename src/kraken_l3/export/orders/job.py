"""One job: days that follow one another, or some of their symbols, to the Parquet files of `orders`.

A life belongs to the day on which it began and may end many days later, so that all files of a job appear at its end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.layout import SEALED_SUFFIX, parse_name
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.export.events import EventsTable
from kraken_l3.export.job import allow_many_files
from kraken_l3.export.orders.following import follow_orders
from kraken_l3.export.orders.life import LIFE, NO_DAY
from kraken_l3.export.orders.table import ORDERS, ORDERS_VERSION, to_arrow
from kraken_l3.export.records import Records
from kraken_l3.export.result import ExportResult
from kraken_l3.export.resume import DoneMarker, depends_on
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import Store, open_store
from kraken_l3.export.table_files import Memory, RowFiles
from kraken_l3.model.timestamps import NS_PER_DAY, day_of
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileEnd
from kraken_l3.rebuild.window import files_in

__all__ = ["OrdersJob", "run_orders_job"]


@dataclass(frozen=True)
class OrdersJob:
    """What one process does; see `export.job.Job`. `chain` has days that follow one another (`following.runs_in`)."""

    source: str
    target: str
    symbols: Optional[frozenset[str]]
    chain: Chain
    metadata: tuple[SymbolMetadata, ...] = ()
    part: tuple[int, int] = (0, 1)
    engine: str = "auto"
    window: Window = EVERYTHING


def run_orders_job(job: OrdersJob, progress: Optional[Progress] = None) -> ExportResult:
    """Do a job, unless its done marker still holds."""
    allow_many_files()
    store = open_store(job.target)
    archive = open_archive(path_of(job.source))
    names = files_in(archive, job.chain, job.window)
    marker = DoneMarker(store, _marker_name(job, names[0]), _key(job, archive, names))
    if marker.result is not None:
        if progress is not None:
            progress(marker.result.bytes)
        return marker.result
    result = _run(job, archive, store, names[0], progress)
    if not result.hidden:  # else it is to be done again from a copy that is whole
        marker.write(result)
    return result


def _marker_name(job: OrdersJob, first: str) -> str:
    share, shares = job.part
    suffix = "" if shares == 1 else f".{share}-of-{shares}"
    return f"orders-{first.removesuffix(SEALED_SUFFIX)}{suffix}"


def _key(job: OrdersJob, archive: Archive, names: list[str]) -> Any:
    tables = EventsTable(job.symbols), SnapshotsTable(symbols=job.symbols)  # gaps count for the second
    rows = [
        depends_on(archive, archive.directory / name, job.chain, table, job.part, job.metadata, job.window)
        for table in tables
        for name in names
    ]
    return [_OrdersTable().description(), rows]


def _run(job: OrdersJob, archive: Archive, store: Store, first: str, progress: Optional[Progress]) -> ExportResult:
    result = ExportResult()
    ends: list[FileEnd] = []
    overflow_ids: list[str] = []
    files = RowFiles(store, _OrdersTable(), overflow_ids, Memory())
    name = parse_name(first)
    first_part: dict[Optional[dt.date], int] = {name.day: name.part} if name is not None else {}
    followed = follow_orders(
        archive,
        job.chain,
        job.symbols,
        job.metadata,
        window=job.window,
        part=job.part,
        engine=job.engine,
        hashed=True,
        progress=progress,
        counted=result,
        overflow_ids=overflow_ids,
    )
    try:
        for each in followed:
            if isinstance(each, FileEnd):
                ends.append(each)
                continue
            for day, lives in _by_day(each.records):
                files.put(each.symbol, day, first_part.get(day, 0), _OrderRows, lives)
        result.files = files.publish(ends)
    finally:
        files.close()
    return result


def _by_day(lives: Records) -> Iterator[tuple[Optional[dt.date], Records]]:
    """Lives by the day of the file in which they began; where its name tells none, by when they began."""
    of_file = lives["day"] != NO_DAY
    days = np.where(of_file, lives["day"], lives["ts_first_seen"] // NS_PER_DAY)
    is_known = of_file | (lives["ts_first_seen"] > 0)
    for number in np.unique(days[is_known]).tolist():
        yield day_of(number * NS_PER_DAY), lives[is_known & (days == number)]
    if not is_known.all():
        yield None, lives[~is_known]


@dataclass(frozen=True)
class _OrdersTable:
    """See `table_files.RowTable`."""

    name: ClassVar[str] = "orders"
    schema: ClassVar[pa.Schema] = ORDERS
    dtype: ClassVar[Any] = LIFE

    def description(self) -> dict[str, str]:
        return {"table": self.name, "schema_version": ORDERS_VERSION}


class _OrderRows:
    """See `table.SymbolDay`."""

    def __init__(self, _: str) -> None:
        self.left_out = self.suspect = 0

    def keep(self, records: Records) -> Records:
        self.suspect += int(np.count_nonzero(records["suspect"]))
        return records

    to_arrow = staticmethod(to_arrow)
