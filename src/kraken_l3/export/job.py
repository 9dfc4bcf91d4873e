"""One job: a chain of files, or some of its symbols, to one table's Parquet files.

A file's tables are published at its end, and then its done marker (`resume`), so that an interrupted job goes on with
the first file that has none.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Optional

from kraken_l3.archive.layout import SEALED_SUFFIX, parse_name
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.export.chain_playback import ChainPlayback
from kraken_l3.export.result import EngineCounts, ExportResult
from kraken_l3.export.resume import DoneMarker, depends_on
from kraken_l3.export.storage import Store, open_store
from kraken_l3.export.table import Table
from kraken_l3.export.table_files import Memory, TableFiles
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, FileEnd, Step
from kraken_l3.rebuild.window import files_in

__all__ = ["Job", "allow_many_files", "run_job"]


@dataclass(frozen=True)
class Job:
    """What one process does: a chain's rows in a window.

    `source` and `target` are paths or URLs; `part` = (k, n) takes a share of the symbols.
    """

    source: str
    target: str
    table: Table
    chain: Chain
    metadata: tuple[SymbolMetadata, ...] = ()
    part: tuple[int, int] = (0, 1)
    engine: str = "auto"
    window: Window = EVERYTHING


def run_job(job: Job, progress: Optional[Progress] = None, *, memory: Optional[Memory] = None) -> ExportResult:
    """Do a job; source files whose done markers still hold are not exported again."""
    allow_many_files()
    store = open_store(job.target)
    archive = open_archive(path_of(job.source))
    names = files_in(archive, job.chain, job.window)
    markers = {name: _marker(job, archive, store, name) for name in names}
    if all(marker.result is not None for marker in markers.values()):
        result = ExportResult()
        for marker in markers.values():
            if marker.result is not None:
                result.add(marker.result)
                if progress is not None:
                    progress(marker.result.bytes)
        return result
    return _run(job, archive, store, markers, progress, memory or Memory())


def allow_many_files() -> None:
    """Each pair with more than a row group has a file open until the day is through: as many as the system allows."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _marker(job: Job, archive: Archive, store: Store, name: str) -> DoneMarker:
    path = archive.directory / name
    key = depends_on(archive, path, job.chain, job.table, job.part, job.metadata, job.window)
    share, shares = job.part
    suffix = "" if shares == 1 else f".{share}-of-{shares}"
    return DoneMarker(store, f"{job.table.name}-{path.name.removesuffix(SEALED_SUFFIX)}{suffix}", key)


def _run(
    job: Job,
    archive: Archive,
    store: Store,
    markers: dict[str, DoneMarker],
    progress: Optional[Progress],
    memory: Memory,
) -> ExportResult:
    table = job.table
    options = table.engine_options(job.part, job.metadata)
    playback = ChainPlayback(
        archive, job.chain, table, job.metadata, job.window, options=options, engine_name=job.engine
    )
    counts = EngineCounts(playback.engine, job.part[0])
    result = ExportResult()
    files = TableFiles(store, table, table.builder(playback.engine), playback.gaps, memory, job.window)
    try:
        played = playback.play(
            counts, hashed=True, block_bytes=memory.block_of(table), progress=progress, on_damage=result.hide
        )
        for each in played:
            if isinstance(each, Step):
                files.take(each, wanted=playback.is_begun and markers[each.path.name].result is None)
            elif isinstance(each, FileBegin):
                files.begin(each, archive, playback.engine, wanted=markers[each.path.name].result is None)
            elif isinstance(each, FileEnd):
                marker = markers[each.path.name]
                counted = counts.since_last()
                of_file = marker.result
                if of_file is None:
                    of_file = ExportResult(files.publish([each]), each.lines, each.bytes, *counted)
                    files.verdicts.end(each, playback.gaps, goes_on=_goes_on(job.chain, each))
                    if not result.hidden:  # else it is to be done again from a copy that is whole
                        marker.write(of_file)
                result.add(of_file)
    finally:
        files.close()
    return result


def _goes_on(chain: Chain, end: FileEnd) -> bool:
    """Whether the recording of a file goes on at midnight, and not in another file of its day."""
    rest = chain.files[chain.files.index(end.path.name) + 1 :]
    following = parse_name(rest[0]) if rest else None
    return following.day != end.day if following is not None else chain.goes_on
