"""One job of an export for another tool: one pair's chain of days as files of that tool's format.

Its done marker (`resume`) is written when all of its files are there, so that an interrupted export goes on with the
first chain of the first pair that has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.layout import SEALED_SUFFIX
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.export.events import EventsTable
from kraken_l3.export.formats.event_stream import Source, Written
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.result import ExportedFile, ExportResult
from kraken_l3.export.resume import DoneMarker, depends_on
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import Store, fetched, open_store
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain
from kraken_l3.rebuild.window import files_in

__all__ = ["READINGS", "FormatJob", "run_format_job"]

#: How often each format reads the data of a pair.
READINGS = {"tardis": 2, "lobster": 1, "hftbacktest": 1, "nautilus": 1}


@dataclass(frozen=True)
class FormatJob:
    """What one process does. `source` and `target` are paths or URLs; `options` go to the format's export."""

    source: str
    target: str
    format: str
    symbol: str
    chain: Chain
    metadata: tuple[SymbolMetadata, ...] = ()
    engine: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    window: Window = EVERYTHING


def run_format_job(job: FormatJob, progress: Optional[Progress] = None) -> ExportResult:
    """Do a job, unless its done marker still holds."""
    store = open_store(job.target)
    with fetched(job.source, job.chain.files) as path:
        archive = open_archive(path)
        first = files_in(archive, job.chain, job.window)[0].removesuffix(SEALED_SUFFIX)
        marker = DoneMarker(store, f"{job.format}-{escape_symbol(job.symbol)}-{first}", _key(job, archive))
        if marker.result is not None:
            if progress is not None:
                progress(marker.result.bytes * READINGS[job.format])
            return marker.result
        result = ExportResult()
        source = Source(archive, job.symbol, job.metadata, job.chain, job.engine, progress, result, job.window)
        written = _write(job, source, store)
        result.files = [ExportedFile(job.symbol, None, name, None, store.size(name) or 0) for name in written.names]
        result.notes = list(written.notes)
        if not result.hidden:  # else it is to be done again from a copy that is whole
            marker.write(result)
        return result


def _key(job: FormatJob, archive: Archive) -> Any:
    symbols = frozenset([job.symbol])
    rows = [
        depends_on(archive, archive.directory / name, job.chain, table, (0, 1), job.metadata, job.window)
        for table in (EventsTable(symbols), SnapshotsTable(symbols=symbols))  # gaps count for the second
        for name in files_in(archive, job.chain, job.window)
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
