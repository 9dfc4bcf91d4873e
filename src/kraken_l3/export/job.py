"""One job: a chain of files, or some of its symbols, to one table's Parquet files.

A file's tables are published when it is through, and then a note of it in `DIR/_jobs`, so that a job that was
interrupted goes on with the first file that has no note. A note counts only while source and options are the same.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pyarrow as pa

from kraken_l3._version import __version__
from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import SEALED_SUFFIX, content_size, existing
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions, RowOptions
from kraken_l3.export.fills import DayTrades, Matcher
from kraken_l3.export.gaps import Gaps
from kraken_l3.export.naming import part_path
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.records import EVENT, Recorder, row_dtype
from kraken_l3.export.schema import EVENTS, EVENTS_VERSION, MAYBE_BAD_BOOK, SNAPSHOTS_VERSION, snapshots_schema
from kraken_l3.export.spool import Spool
from kraken_l3.export.storage import Store, fetched, open_store
from kraken_l3.export.tables import events_table, snapshots_table
from kraken_l3.export.walking import Chain, FileEnd, Piece, walk_chain
from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["EVENTS_TABLE", "SNAPSHOTS_TABLE", "Job", "Report", "TableFile", "TableOptions", "run_job"]

EVENTS_TABLE = "events"
SNAPSHOTS_TABLE = "snapshots"

_SPOOL_BYTES = 128 * 1024 * 1024
_GROUP_BYTES = 24 * 1024 * 1024
_MOST_GROUP_ROWS = 131_072
_FEWEST_GROUP_ROWS = 256
_BLOCK_BYTES = 1024 * 1024
_FEWEST_BLOCK_BYTES = 64 * 1024
_MESSAGE_BYTES = 200
_ENCODING_AHEAD = 2

Progress = Callable[[int], None]


@dataclass(frozen=True)
class TableOptions:
    """What table is wanted.

    Attributes:
        table: "events" or "snapshots".
        levels: price levels a side (snapshots).
        grid_ns: spacing of the snapshots; None for one at every change.
        wide: more columns (snapshots).
        keep_gaps: keep rows over gaps, with a column that says so (snapshots).
        symbols: only these; None for all.
    """

    table: str
    levels: int = 10
    grid_ns: Optional[int] = None
    wide: bool = False
    keep_gaps: bool = False
    symbols: Optional[frozenset[str]] = None

    def schema(self) -> pa.Schema:
        """Of the table."""
        if self.table == EVENTS_TABLE:
            return EVENTS
        return snapshots_schema(wide=self.wide, over_gap=self.keep_gaps)

    def description(self) -> dict[str, str]:
        """For the metadata of the table's files."""
        if self.table == EVENTS_TABLE:
            return {"table": self.table, "schema_version": EVENTS_VERSION}
        every = "change" if self.grid_ns is None else f"{self.grid_ns} ns"
        return {
            "table": self.table,
            "schema_version": SNAPSHOTS_VERSION,
            "every": every,
            "levels": str(self.levels),
        }

    def dtype(self) -> np.dtype[Any]:
        """Of the table's records."""
        return EVENT if self.table == EVENTS_TABLE else row_dtype(self.levels, orders=self.wide)

    def engine_options(self, part: tuple[int, int]) -> EngineOptions:
        """For the engine that makes the records."""
        events = self.table == EVENTS_TABLE
        rows = None if events else RowOptions(self.levels, self.grid_ns, orders=self.wide)
        return EngineOptions(messages=True, events=events, rows=rows, part=part, only=self.symbols)


@dataclass(frozen=True)
class Job:
    """What one process does. `source` and `target` are paths or URLs; `part` = (k, n) takes a share of the symbols."""

    source: str
    target: str
    options: TableOptions
    chain: Chain
    facts: tuple[SymbolMetadata, ...] = ()
    part: tuple[int, int] = (0, 1)
    engine: str = "auto"


@dataclass
class TableFile:
    """One file that was made."""

    symbol: str
    date: str
    name: str
    rows: int
    bytes: int
    left_out: int = 0
    suspect: int = 0


@dataclass
class Report:
    """What came of jobs; counts of messages are as in `verify`."""

    files: list[TableFile] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    messages: int = 0
    ok: int = 0
    bad: int = 0
    unverified: int = 0
    already_there: int = 0

    def add(self, other: Report) -> None:
        """Take in another job's."""
        self.files += other.files
        for name in ("lines", "bytes", "messages", "ok", "bad", "unverified", "already_there"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def exit_code(self) -> int:
        """2: some of the data is wrong (its rows are marked suspect). 3: some could not be verified. 0: all is well."""
        if self.bad:
            return 2
        return 3 if self.unverified or not self.files else 0


def run_job(job: Job, progress: Optional[Progress] = None) -> Report:
    """Do a job; what it made before is not made again."""
    _allow_many_files()
    store = open_store(job.target)
    with fetched(job.source, job.chain.files) as path:
        archive = open_archive(path)
        notes = {name: _Note(store, job, archive, archive.directory / name) for name in job.chain.files}
        if all(note.report is not None for note in notes.values()):
            return _joined(note.report for note in notes.values() if note.report is not None)
        return _run(job, archive, store, notes, progress)


def _allow_many_files() -> None:
    """Each pair with more than a row group has a file open until the day is through: as many as the system allows."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _joined(reports: Any) -> Report:
    report = Report()
    for other in reports:
        other.already_there = len(other.files)
        report.add(other)
    return report


class _Note:
    """What `DIR/_jobs` says of one file."""

    def __init__(self, store: Store, job: Job, archive: Archive, path: Path) -> None:
        part, parts = job.part
        suffix = "" if parts == 1 else f".{part}-of-{parts}"
        self._name = f"_jobs/{job.options.table}-{path.name.removesuffix(SEALED_SUFFIX)}{suffix}.json"
        self._store = store
        self._key = _key_of(job, archive, path)
        self.report = self._read()

    def _read(self) -> Optional[Report]:
        content = self._store.read(self._name)
        if content is None:
            return None
        try:
            noted = json.loads(content)
            report = Report(**{**noted["report"], "files": [TableFile(**file) for file in noted["report"]["files"]]})
        except (ValueError, KeyError, TypeError):
            return None
        same = noted["key"] == self._key and all(self._store.size(f.name) == f.bytes for f in report.files)
        return report if same else None

    def write(self, report: Report) -> None:
        output = self._store.begin(self._name)
        output.file.write(json.dumps({"key": self._key, "report": asdict(report)}, indent=1).encode())
        output.publish()


def _key_of(job: Job, archive: Archive, path: Path) -> Any:
    """What a file's rows depend on, and nothing else; as JSON gives it back.

    The journal counts by what it says of gaps, precisions and depths: it gains records that change no row, at sealing
    for one.
    """
    options = asdict(job.options)
    options["symbols"] = sorted(job.options.symbols) if job.options.symbols is not None else None
    position = job.chain.files.index(path.name)
    files = job.chain.files[: position + 1]  # books go on from the files before
    sources = [[name.removesuffix(SEALED_SUFFIX), content_size(archive.directory / name)] for name in files]
    facts = [list(fact) for fact in job.facts]
    goes_on = job.chain.follows[position]
    day = _day_of(archive, path)
    companions = _companions(job, archive, path, day, goes_on=goes_on) if day is not None else []
    return json.loads(json.dumps([__version__, options, list(job.part), sources, goes_on, facts, companions]))


def _day_of(archive: Archive, path: Path) -> Optional[dt.date]:
    return next((day for day in archive.days if path.name.startswith(f"l3-{day.isoformat()}.")), None)


def _companions(job: Job, archive: Archive, path: Path, day: dt.date, *, goes_on: bool) -> list[Any]:
    """What the files beside the data add to a day's rows."""
    paths = DayPaths(archive.directory, day)
    receipts = existing(paths.receipts(Stream.LEVEL3))
    trades = existing(paths.data(Stream.TRADE)) if job.options.table == EVENTS_TABLE else None
    gaps: dict[str, list[tuple[int, int]]] = {}
    if job.options.table == SNAPSHOTS_TABLE:
        gaps = Gaps(archive, day).edges(before_ns=_last_row_ns(path, day, goes_on=goes_on))
    books = [
        [checkpoint.symbol, zlib.crc32(checkpoint.snapshot or b"")]
        for checkpoint in read_checkpoints(paths.checkpoints)
        if checkpoint.line == 0
    ]
    return [*(content_size(each) if each is not None else None for each in (receipts, trades)), gaps, books]


def _last_row_ns(path: Path, day: dt.date, *, goes_on: bool) -> int:
    """No row of the file is later: the gap that a stop opens behind its last line touches none."""
    if goes_on:
        return day_start_ns(day) + NS_PER_DAY
    with DataFile(path) as file:
        newest = file.receipts.last() if file.receipts is not None else None
    return newest.recv_ns if newest is not None else day_start_ns(day) + NS_PER_DAY


def _run(
    job: Job,
    archive: Archive,
    store: Store,
    notes: dict[str, _Note],
    progress: Optional[Progress],
) -> Report:
    options = job.options
    engine = make_engine(options.engine_options(job.part), job.engine)
    recorder = Recorder(engine, options.levels, orders=options.wide)
    block_bytes = _block_bytes(options)
    report = Report()
    tables = _FileTables(store, options, recorder)
    try:
        counts = _Counts(engine)
        steps = walk_chain(engine, archive, job.chain, job.facts, grid_ns=options.grid_ns, block_bytes=block_bytes)
        for step in steps:
            note = notes[step.path.name]
            if isinstance(step, FileEnd):
                if note.report is None:
                    of_file = Report(tables.end(step), step.lines, step.bytes, *counts.since_last())
                    note.write(of_file)
                else:
                    of_file = _joined([note.report])
                    counts.since_last()
                report.add(of_file)
                continue
            tables.take(step, archive, wanted=note.report is None)
            if progress is not None:
                progress(step.size)
    finally:
        tables.close()
    return report


def _block_bytes(options: TableOptions) -> int:
    """Wide rows at every change take much more room than the lines they come from."""
    if options.table == EVENTS_TABLE or options.grid_ns is not None:
        return _BLOCK_BYTES
    fitting = _GROUP_BYTES // options.dtype().itemsize * _MESSAGE_BYTES
    return max(_FEWEST_BLOCK_BYTES, min(_BLOCK_BYTES, fitting))


class _Counts:
    """An engine's tallies, from one file's end to the next."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._last = (0, 0, 0, 0)

    def since_last(self) -> tuple[int, int, int, int]:
        """(messages, ok, bad, unverified)."""
        tallies = self._engine.tallies()
        bad = sum(t.mismatched + t.malformed + sum(t.findings.values()) for t in tallies)
        bad += self._engine.totals().malformed
        unverified = sum(t.before_snapshot + sum(t.unverifiable.values()) for t in tallies)
        now = (sum(t.messages for t in tallies), sum(t.ok for t in tallies), bad, unverified)
        messages, ok, bad, unverified = (a - b for a, b in zip(now, self._last))
        self._last = now
        return messages, ok, bad, unverified


class _SymbolFile:
    """One table file in the making."""

    def __init__(self, symbol: str, day: dt.date, name: str) -> None:
        self.symbol, self.day, self.name = symbol, day, name
        self.output: Optional[ParquetOutput] = None
        self.left_out = self.suspect = 0
        self.matcher: Optional[Matcher] = None


class _FileTables:
    """The tables of one source file after the other. Row groups are encoded in a thread beside the engine."""

    def __init__(self, store: Store, options: TableOptions, recorder: Recorder) -> None:
        self._store, self._options, self._recorder = store, options, recorder
        row_bytes = options.dtype().itemsize
        group_rows = max(_FEWEST_GROUP_ROWS, min(_MOST_GROUP_ROWS, _GROUP_BYTES // row_bytes))
        self._spool = Spool(options.dtype(), group_rows, _SPOOL_BYTES, store.scratch)
        self._files: dict[tuple[str, dt.date], _SymbolFile] = {}
        self._source: Optional[Path] = None
        self._gaps = Gaps()
        self._trades: Optional[DayTrades] = None
        self._thread = ThreadPoolExecutor(1)
        self._encoding: list[Future[None]] = []

    def take(self, piece: Piece, archive: Archive, *, wanted: bool) -> None:
        """Put the records of a piece aside, and hand on the row groups that are complete."""
        if piece.path != self._source:
            self._source = piece.path
            self._gaps = Gaps(archive, piece.day)
            events = self._options.table == EVENTS_TABLE
            self._trades = DayTrades(archive, piece.day) if events and piece.day is not None else None
        taken = self._recorder.take(piece.result, piece.times, new_snapshots=piece.new_snapshots)
        if not wanted:
            return
        if self._options.table == EVENTS_TABLE:
            for symbol, records in taken.events():
                self._put(symbol, piece.day, records, "ts_recv" if piece.times.recv_ns is not None else "ts_event")
        else:
            for symbol, records in taken.rows():
                self._put(symbol, piece.day, records, "timestamp")

    def _put(self, symbol: str, day: Optional[dt.date], records: Any, clock: str) -> None:
        if day is not None:
            self._put_of_day(symbol, day, records)
            return
        days = records[clock] // NS_PER_DAY
        for number in np.unique(days):
            self._put_of_day(symbol, day_of(int(number) * NS_PER_DAY), records[days == number])

    def _put_of_day(self, symbol: str, day: dt.date, records: Any) -> None:
        file = self._files.get((symbol, day))
        if file is None:
            file = _SymbolFile(symbol, day, part_path(self._options.table, symbol, day))
            file.matcher = self._trades.matcher(symbol) if self._trades is not None and self._trades.recorded else None
            self._files[symbol, day] = file
        if self._options.table == EVENTS_TABLE:
            file.suspect += int(np.count_nonzero(records["flags"] & MAYBE_BAD_BOOK))
        else:
            records = self._without_gaps(file, records)
            file.suspect += int(np.count_nonzero(records["suspect"]))
        for group in self._spool.add((symbol, day), records):
            self._encode(file, group)

    def _without_gaps(self, file: _SymbolFile, records: Any) -> Any:
        over = self._gaps.over(file.symbol, records["timestamp"])
        if not over.any():
            return records
        if self._options.keep_gaps:
            records["over_gap"] = over
            return records
        file.left_out += int(np.count_nonzero(over))
        return records[~over]

    def _encode(self, file: _SymbolFile, records: Any) -> None:
        while len(self._encoding) >= _ENCODING_AHEAD:
            self._encoding.pop(0).result()
        self._encoding.append(self._thread.submit(self._write, file, records))

    def _write(self, file: _SymbolFile, records: Any) -> None:
        if file.output is None:
            described = {**self._options.description(), "symbol": file.symbol, "date": file.day.isoformat()}
            file.output = ParquetOutput(self._store.begin(file.name), self._options.schema(), described)
        file.output.write(self._table(file, records))

    def _table(self, file: _SymbolFile, records: Any) -> pa.Table:
        if self._options.table == EVENTS_TABLE:
            return events_table(records, self._recorder.overflow_ids, file.matcher)
        return snapshots_table(records, wide=self._options.wide, over_gap=self._options.keep_gaps)

    def end(self, end: FileEnd) -> list[TableFile]:
        """Publish all of the file's tables."""
        name = end.path.name.removesuffix(SEALED_SUFFIX)
        sources = [{"name": name, "sha256": end.sha256, "bytes": end.bytes, "lines": end.lines}]
        made = []
        for key, file in sorted(self._files.items()):
            rest = self._spool.rest(key)
            if len(rest):
                self._encode(file, rest)
            self._finish_encoding()
            if file.output is None:
                continue
            rows = file.output.rows
            size = file.output.publish(sources=sources, left_out=file.left_out, suspect=file.suspect)
            day = file.day.isoformat()
            made.append(TableFile(file.symbol, day, file.name, rows, size, file.left_out, file.suspect))
        self._files.clear()
        self._spool.close()
        return made

    def _finish_encoding(self) -> None:
        while self._encoding:
            self._encoding.pop(0).result()

    def close(self) -> None:
        """Leave nothing half-made behind."""
        self._thread.shutdown(wait=True)
        for file in self._files.values():
            if file.output is not None:
                file.output.abandon()
        self._spool.close()
