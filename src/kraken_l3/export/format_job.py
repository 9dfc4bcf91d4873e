"""One job of an export for another tool: a chain of days of some pairs as files of that tool's format.

The chain is read once for all of them. A pair's done marker (`resume`) is written when all of its files are there, so
that an interrupted export goes on with the pairs that have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.layout import SEALED_SUFFIX
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.export.events import EventsTable
from kraken_l3.export.formats.event_stream import Source, Written
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.pair_spool import PairSpool
from kraken_l3.export.pairs import EventBatch, read_pairs
from kraken_l3.export.result import ExportedFile, ExportResult
from kraken_l3.export.resume import DoneMarker, depends_on
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import Store, open_store
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain
from kraken_l3.rebuild.window import files_in

__all__ = ["FormatJob", "run_format_job"]

#: Rows of the book that a format takes beside the events.
_BOOKS = {"tardis": SnapshotsTable(levels=25)}


@dataclass(frozen=True)
class FormatJob:
    """What one process does. `source` and `target` are paths or URLs; `options` go to the format's export."""

    source: str
    target: str
    format: str
    symbols: tuple[str, ...]
    chain: Chain
    metadata: tuple[SymbolMetadata, ...] = ()
    engine: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    window: Window = EVERYTHING


def run_format_job(
    job: FormatJob, progress: Optional[Progress] = None, *, memory_bytes: int = 128 * 1024 * 1024
) -> ExportResult:
    """Do a job; pairs whose done markers still hold are not exported again.

    Args:
        job: what to do.
        progress: called with the bytes done: those of the chain, once.
        memory_bytes: what may wait in memory of pairs that are read together.
    """
    store = open_store(job.target)
    archive = open_archive(path_of(job.source))
    names = files_in(archive, job.chain, job.window)
    first = names[0].removesuffix(SEALED_SUFFIX)
    markers = {
        symbol: DoneMarker(store, f"{job.format}-{escape_symbol(symbol)}-{first}", _key(job, symbol, archive, names))
        for symbol in job.symbols
    }
    results = {symbol: marker.result for symbol, marker in markers.items() if marker.result is not None}
    todo = [symbol for symbol in job.symbols if symbol not in results]
    for symbol, result in _export(job, archive, store, todo, progress, memory_bytes):
        if not result.hidden:  # else it is to be done again from a copy that is whole
            markers[symbol].write(result)
        results[symbol] = result
    if not todo and progress is not None:
        progress(max((result.bytes for result in results.values()), default=0))
    return _sum([results[symbol] for symbol in job.symbols])


def _sum(results: Sequence[ExportResult]) -> ExportResult:
    """The pairs of one reading together: its lines and bytes count once."""
    both = ExportResult()
    for result in results:
        both.add(result)
    both.lines = max((result.lines for result in results), default=0)
    both.bytes = max((result.bytes for result in results), default=0)
    return both


def _export(
    job: FormatJob,
    archive: Archive,
    store: Store,
    symbols: Sequence[str],
    progress: Optional[Progress],
    memory_bytes: int,
) -> Iterator[tuple[str, ExportResult]]:
    """Each pair with what was made of it."""
    if not symbols:
        return
    counted = {symbol: ExportResult() for symbol in symbols}
    source = Source(archive, "", job.metadata, job.chain, job.engine, progress, None, job.window)
    if len(symbols) == 1:
        yield symbols[0], _written(job, source._replace(symbol=symbols[0], counted=counted[symbols[0]]), store)
        return
    spool = PairSpool(memory_bytes, store.scratch)
    try:
        halves = _Halves(progress, spool)
        read = read_pairs(
            archive,
            job.chain,
            symbols,
            job.metadata,
            counted,
            book=_BOOKS.get(job.format),
            window=job.window,
            engine=job.engine,
            progress=halves.read,
        )
        for batch in read:
            spool.add(batch)
        for symbol in symbols:
            of_pair = source._replace(symbol=symbol, spool=spool, counted=counted[symbol], through=halves.written)
            yield symbol, _written(job, of_pair, store)
        halves.end()
    finally:
        spool.close()


def _written(job: FormatJob, source: Source, store: Store) -> ExportResult:
    written = _write(job, source, store)
    assert source.counted is not None
    files = [ExportedFile(source.symbol, None, name, None, store.size(name) or 0) for name in written.names]
    return replace(source.counted, files=files, notes=list(written.notes))


class _Halves:
    """Progress of bytes that are read, and then of the events that files are made of: half of it each."""

    def __init__(self, progress: Optional[Progress], spool: PairSpool) -> None:
        self._progress, self._spool = progress or (lambda _: None), spool
        self._left = self._told = self._events = 0

    def read(self, count: int) -> None:
        self._left += count - count // 2
        self._progress(count // 2)

    def written(self, batches: Iterator[EventBatch]) -> Iterator[EventBatch]:
        for batch in batches:
            yield batch
            self._events += len(batch.records)
            done = min(self._left, self._left * self._events // max(1, self._spool.events))
            self._progress(done - self._told)  # also where it is 0: it is how a caller stops this
            self._told = done

    def end(self) -> None:
        self._progress(self._left - self._told)


def _key(job: FormatJob, symbol: str, archive: Archive, names: Sequence[str]) -> Any:
    symbols = frozenset([symbol])
    told = [each for each in job.metadata if each.symbol == symbol]
    rows = [
        depends_on(archive, archive.directory / name, job.chain, table, (0, 1), told, job.window)
        for table in (EventsTable(symbols), SnapshotsTable(symbols=symbols))  # gaps count for the second
        for name in names
    ]
    return [job.format, dict(job.options), rows]


def _write(job: FormatJob, source: Source, store: Store) -> Written:
    if job.format == "tardis":
        from kraken_l3.export.formats.tardis import export_tardis

        return export_tardis(source, store)
    if job.format == "lobster":
        from kraken_l3.export.formats.lobster import export_lobster

        return export_lobster(source, store, **job.options)
    if job.format == "hftbacktest":
        from kraken_l3.export.formats.hftbacktest import export_hftbacktest

        return export_hftbacktest(source, store, **job.options)
    from kraken_l3.export.formats.nautilus import export_nautilus

    return export_nautilus(source, Path(job.target))
