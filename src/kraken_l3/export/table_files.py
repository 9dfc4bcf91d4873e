"""Table files in the making: rows are put into them by pair and day, and all of them appear together."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol

import numpy as np
import pyarrow as pa

from kraken_l3.archive.layout import SEALED_SUFFIX
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine
from kraken_l3.export.day_start import begins_with_day, books_at_begin
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.naming import part_path, printable
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.records import RecordBuilder
from kraken_l3.export.result import ExportedFile
from kraken_l3.export.spool import Spool
from kraken_l3.export.storage import Store
from kraken_l3.export.table import SymbolDay, Table, records_in
from kraken_l3.export.verdicts import MinuteVerdicts
from kraken_l3.model.timestamps import NS_PER_DAY, day_of
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.playback import FileBegin, FileEnd, Step

__all__ = ["Memory", "RowFiles", "TableFiles"]

_MOST_GROUP_ROWS = 131_072
_FEWEST_GROUP_ROWS = 256
_FEWEST_BLOCK_BYTES = 64 * 1024
_MESSAGE_BYTES = 200
_ENCODING_AHEAD = 2
#: Files that are synced, or uploaded, at a time: a disk does that for several in nearly the time of one.
_PUBLISHING = 8
_UNKNOWN = "unknown"


class RowTable(Protocol):
    """What files have to know of their table; see `table.Table`."""

    @property
    def name(self) -> str:
        """As in the command and in paths."""

    @property
    def schema(self) -> pa.Schema:
        """Of the rows."""

    @property
    def dtype(self) -> Any:
        """Of the records that they are made of."""

    def description(self) -> dict[str, str]:
        """For the files' metadata."""


@dataclass(frozen=True)
class Memory:
    """How much an export may hold at once: lines fed to the engine, a row group, and rows put aside, in bytes."""

    block_bytes: int = 4 * 1024 * 1024
    group_bytes: int = 24 * 1024 * 1024
    spool_bytes: int = 128 * 1024 * 1024

    def group_rows(self, table: RowTable) -> int:
        """Rows of a row group."""
        return int(max(_FEWEST_GROUP_ROWS, min(_MOST_GROUP_ROWS, self.group_bytes // table.dtype.itemsize)))

    def block_of(self, table: Table) -> int:
        """Bytes to feed at once: wide rows at every change take much more room than the lines they come from."""
        if table.grid_ns is not None:
            return self.block_bytes
        fitting = self.group_bytes // table.dtype.itemsize * _MESSAGE_BYTES
        return int(min(self.block_bytes, max(_FEWEST_BLOCK_BYTES, fitting)))


class _File:
    """One symbol's table file of one day; there is no output before its first row group."""

    def __init__(self, symbol: str, date: str, name: str, rows: SymbolDay) -> None:
        self.symbol, self.date, self.name, self.rows = symbol, date, name, rows
        self.output: Optional[ParquetOutput] = None
        self.encoded: list[Future[None]] = []

    def publish(self, sources: list[dict[str, Any]]) -> Optional[ExportedFile]:
        """Make it appear when its row groups are written; None where it has no rows."""
        for group in self.encoded:
            group.result()
        if self.output is None:
            return None
        counts = {"left_out": self.rows.left_out, "suspect": self.rows.suspect}
        size = self.output.publish(sources=sources, **counts)
        return ExportedFile(self.symbol, self.date, self.name, self.output.rows, size, **counts)


class RowFiles:
    """Files of one table by pair and day. Row groups are encoded in a thread beside the engine.

    Args:
        store: where they appear.
        table: whose rows.
        overflow_ids: see `records.OVERFLOW_ID`.
        memory: bounds.
    """

    def __init__(self, store: Store, table: RowTable, overflow_ids: Sequence[str], memory: Memory) -> None:
        self._store, self._row_table, self._overflow_ids = store, table, overflow_ids
        self._spool = Spool(table.dtype, memory.group_rows(table), memory.spool_bytes, store.scratch)
        self._files: dict[tuple[str, str], _File] = {}
        self._thread = ThreadPoolExecutor(1)
        self._encoding: list[Future[None]] = []

    def put(
        self, symbol: str, day: Optional[dt.date], part: int, rows: Callable[[str], SymbolDay], records: Any
    ) -> None:
        """Add records to a file; `day` is None where nothing tells the time, `rows` makes what turns them into rows."""
        date = day.isoformat() if day is not None else _UNKNOWN
        file = self._files.get((symbol, date))
        if file is None:
            file = _File(symbol, date, part_path(self._row_table.name, symbol, day, part), rows(symbol))
            self._files[symbol, date] = file
        for group in self._spool.add((symbol, date), file.rows.keep(records)):
            self._encode(file, group)

    def _encode(self, file: _File, records: Any) -> None:
        # a bound on the row groups that wait: each holds its records until it is written
        while len(self._encoding) >= _ENCODING_AHEAD:
            self._encoding.pop(0).result()
        group = self._thread.submit(self._write, file, records)
        file.encoded.append(group)
        self._encoding.append(group)

    def _write(self, file: _File, records: Any) -> None:
        if file.output is None:
            described = {**self._row_table.description(), "symbol": printable(file.symbol), "date": file.date}
            file.output = ParquetOutput(self._store.begin(file.name), self._row_table.schema, described)
        file.output.write(file.rows.to_arrow(records, self._overflow_ids))

    def publish(self, ends: Sequence[FileEnd]) -> list[ExportedFile]:
        """Publish all files; `ends` are those of the source files that their rows came from."""
        sources = [
            {"name": e.path.name.removesuffix(SEALED_SUFFIX), "sha256": e.sha256, "bytes": e.bytes, "lines": e.lines}
            for e in ends
        ]
        made: list[Optional[ExportedFile]] = []
        publishing: deque[Future[Optional[ExportedFile]]] = deque()
        with ThreadPoolExecutor(_PUBLISHING) as pool:
            for key, file in sorted(self._files.items()):
                rest = self._spool.rest(key)
                if len(rest):
                    self._encode(file, rest)
                if len(publishing) == _PUBLISHING:  # a bound on the files that are open
                    made.append(publishing.popleft().result())
                publishing.append(pool.submit(file.publish, sources))
            made += [future.result() for future in publishing]
        self._encoding.clear()  # each file has waited for its own
        self._files.clear()
        self._spool.close()
        return [each for each in made if each is not None]

    def close(self) -> None:
        """Remove what is half written."""
        self._thread.shutdown(wait=True)
        for file in self._files.values():
            if file.output is not None:
                file.output.abandon()
        self._spool.close()


class TableFiles(RowFiles):
    """Takes the records of one source file after the other; the files of each appear when it is through.

    Attributes:
        verdicts: of the messages of the files that are wanted; the caller ends them.
    """

    def __init__(
        self,
        store: Store,
        table: Table,
        builder: RecordBuilder,
        gaps: GapRows,
        memory: Memory,
        window: Window = EVERYTHING,
    ) -> None:
        super().__init__(store, table, builder.overflow_ids, memory)
        self._table, self._builder, self._gaps, self._window = table, builder, gaps, window
        self._last_day: dict[str, int] = {}
        self.verdicts = MinuteVerdicts(store, window)
        self._part = 0
        self._symbol_day: Optional[Callable[[str], SymbolDay]] = None

    def begin(self, begin: FileBegin, archive: Archive, engine: Engine, *, wanted: bool) -> None:
        """Take note of the file that begins, with its books where the table has them."""
        self._part = begin.file.part
        self._symbol_day = self._table.day(archive, begin.day, self._gaps)
        self.verdicts.begin(begin, engine, self._builder)
        if wanted and self._table.has_day_starts and begins_with_day(begin, self._window):
            for symbol, records in books_at_begin(begin, engine, self._builder, self._gaps):
                self._put(symbol, begin.day, records)

    def take(self, step: Step, *, wanted: bool) -> None:
        """Collect the records of a step, and write the row groups that are complete.

        A step that is not wanted passes through the builder all the same: the next one's scales depend on it.
        """
        results = self._builder.build(step)
        if not wanted:
            return
        self.verdicts.take(results.judged())
        for symbol, of_symbol in self._table.records(results):
            records = records_in(self._window, self._table, of_symbol)
            if not len(records):
                continue
            if step.day is not None:
                self._put(symbol, step.day, records)
                continue
            days = self._rising_days(symbol, self._table.times(records))
            for number in np.unique(days).tolist() if days[0] != days[-1] else (int(days[0]),):
                of_day = records if days[0] == days[-1] else records[days == number]
                self._put(symbol, day_of(number * NS_PER_DAY) if number else None, of_day)

    def _rising_days(self, symbol: str, times: Any) -> Any:
        """The day of each record, counted from 1970; a time that steps back or is not known stays in the day before."""
        days = np.maximum.accumulate(times // NS_PER_DAY)
        days = np.maximum(days, self._last_day.get(symbol, 0))
        self._last_day[symbol] = int(days[-1])
        return days

    def _put(self, symbol: str, day: Optional[dt.date], records: Any) -> None:
        assert self._symbol_day is not None
        self.put(symbol, day, self._part, self._symbol_day, records)
