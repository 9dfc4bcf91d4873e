"""All of an archive to one table or to another tool's files: by this process, by several, or by a Dask cluster.

Each chain of files is a job of its own (for `orders`, all days that follow one another); where there are more processes
than chains, the pairs of a chain are shared out as well. Every sharing gives the same files.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, TypeVar

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.remote import path_of
from kraken_l3.errors import DamageFound
from kraken_l3.export.gap_table import write_gaps
from kraken_l3.export.job import Job, run_job
from kraken_l3.export.orders.following import runs_in
from kraken_l3.export.orders.job import OrdersJob, run_orders_job
from kraken_l3.export.result import ExportResult
from kraken_l3.export.storage import open_store
from kraken_l3.export.table import Table
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.cluster import in_order_on_cluster
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.parallel import Progress, run_in_processes
from kraken_l3.rebuild.playback import Chain, chains_in
from kraken_l3.rebuild.window import files_in

__all__ = ["export_format", "export_orders", "export_table", "plan_jobs"]

_Job = TypeVar("_Job", Job, OrdersJob)

_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"]+)"')
#: So much of a file tells whether it has enough pairs to share out; a job without any would read all of it in vain.
_HEAD_BYTES = 16 * 1024 * 1024


def export_table(
    source: str,
    target: str,
    table: Table,
    *,
    jobs: int = 1,
    cluster: Optional[str] = None,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    instruments: Sequence[Instrument] = (),
    progress: Optional[Progress] = None,
) -> ExportResult:
    """Export one table of an archive.

    Args:
        source: path or URL of an archive directory or an NDJSON file.
        target: path or URL of a directory.
        table: what is wanted.
        jobs: processes on this machine.
        cluster: address of a Dask scheduler, whose workers do the work instead.
        windows: only rows in these; in order, at most one within a UTC day.
        engine: see `engine.choose`.
        instruments: precisions that the user knows.
        progress: called with the bytes done.
    """
    write_gaps(open_archive(path_of(source)), open_store(target))
    planned = plan_jobs(source, target, table, shares=jobs, windows=windows, engine=engine, instruments=instruments)
    return _run_all(run_job, planned, jobs, cluster, progress)


def _run_all(
    work: Callable[[_Job, Optional[Progress]], ExportResult],
    planned: Sequence[_Job],
    jobs: int,
    cluster: Optional[str],
    progress: Optional[Progress],
) -> ExportResult:
    if cluster is not None:
        results = list(in_order_on_cluster(work, planned, cluster, progress))
    elif jobs > 1 and len(planned) > 1:
        results = run_in_processes(work, planned, jobs, progress, shares=planned[0].part[1])
    else:
        results = [work(job, progress) for job in planned]
    result = _sum(results)
    result.files.sort(key=lambda file: (file.symbol, file.date or ""))
    return result


def export_orders(
    source: str,
    target: str,
    symbols: Optional[frozenset[str]] = None,
    *,
    jobs: int = 1,
    cluster: Optional[str] = None,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    instruments: Sequence[Instrument] = (),
    progress: Optional[Progress] = None,
) -> ExportResult:
    """Export the table `orders`, whose rows may end days after they began: days that follow one another are one job.

    Args:
        source: path or URL of an archive directory or an NDJSON file.
        target: path or URL of a directory.
        symbols: only these; None for all.
        jobs: as of `export_table`, as is the rest.
        cluster: likewise.
        windows: likewise.
        engine: likewise.
        instruments: likewise.
        progress: likewise.
    """
    archive = open_archive(path_of(source))
    write_gaps(archive, open_store(target))
    metadata = tuple(metadata_in(archive, instruments))
    stretches = _stretches(archive, runs_in(archive), windows)
    shares = _shares(jobs, archive, [run for run, _ in stretches], symbols)
    planned = [
        OrdersJob(source, target, symbols, run, metadata, share, engine, window)
        for run, window in stretches
        for share in shares
    ]
    return _run_all(run_orders_job, planned, jobs, cluster, progress)


def export_format(
    source: str,
    target: str,
    name: str,
    symbols: Sequence[str],
    *,
    options: Optional[Mapping[str, Any]] = None,
    jobs: int = 1,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    instruments: Sequence[Instrument] = (),
    progress: Optional[Progress] = None,
) -> ExportResult:
    """Export pairs of an archive for another tool.

    Args:
        source: path or URL of an archive directory or an NDJSON file.
        target: path or URL of a directory.
        name: of the format: "tardis", "lobster", "hftbacktest", "nautilus".
        symbols: which pairs.
        options: of that format's export: `levels`, `resync`.
        jobs: processes on this machine.
        windows: as of `export_table`.
        engine: see `engine.choose`.
        instruments: precisions that the user knows.
        progress: called with the bytes done.
    """
    from kraken_l3.export.format_job import FormatJob, run_format_job  # here: tables do without what it imports

    archive = open_archive(path_of(source))
    metadata = metadata_in(archive, instruments)
    stretches = _stretches(archive, chains_in(archive), windows)
    parts = max(1, min(-(-jobs // max(1, len(stretches))), len(symbols)))
    planned = []
    for chain, window in stretches:
        for part in range(parts):
            names = tuple(symbols[part::parts])
            told = tuple(each for each in metadata if each.symbol in names)
            planned.append(FormatJob(source, target, name, names, chain, told, engine, options or {}, window))
    if jobs > 1 and len(planned) > 1:
        results = run_in_processes(run_format_job, planned, jobs, progress, shares=parts)
    else:
        results = [run_format_job(job, progress) for job in planned]
    result = _sum(results)
    place = {symbol: number for number, symbol in enumerate(symbols)}
    result.files.sort(key=lambda file: place[file.symbol])
    return result


def _sum(results: Sequence[ExportResult]) -> ExportResult:
    result = ExportResult()
    for other in results:
        result.add(other)
    return result


def plan_jobs(
    source: str,
    target: str,
    table: Table,
    *,
    shares: int = 1,
    windows: Sequence[Window] = (EVERYTHING,),
    engine: str = "auto",
    instruments: Sequence[Instrument] = (),
) -> list[Job]:
    """The jobs that make up an export, for about `shares` processes, as far as there are chains and pairs for them."""
    archive = open_archive(path_of(source))
    metadata = tuple(metadata_in(archive, instruments))
    stretches = _stretches(archive, chains_in(archive), windows)
    shares_of_symbols = _shares(shares, archive, [chain for chain, _ in stretches], table.symbols)
    return [
        Job(source, target, table, chain, metadata, share, engine, window)
        for chain, window in stretches
        for share in shares_of_symbols
    ]


def _stretches(archive: Archive, chains: Sequence[Chain], windows: Sequence[Window]) -> list[tuple[Chain, Window]]:
    """The chains with each window that they may have lines of."""
    return [(chain, window) for chain in chains for window in windows if files_in(archive, chain, window)]


def _shares(
    wanted: int, archive: Archive, chains: Sequence[Chain], symbols: Optional[frozenset[str]]
) -> list[tuple[int, int]]:
    """The shares of the symbols of each chain, for so many processes in all."""
    parts = -(-wanted // len(chains)) if chains else 1
    if parts > 1:
        parts = max(_pairs_for(parts, archive, chain, symbols) for chain in chains)
    return [(part, parts) for part in range(parts)]


def _pairs_for(parts: int, archive: Archive, chain: Chain, symbols: Optional[frozenset[str]]) -> int:
    """So many parts, or as few as there are pairs at the chain's beginning; where there are none nothing tells."""
    pairs: set[bytes] = set()
    with DataFile(archive.directory / chain.files[0]) as file, contextlib.suppress(DamageFound):
        for block in file.blocks(numbered=False):
            pairs.update(_SYMBOL.findall(block.data))
            if len(pairs) >= parts or block.offset >= _HEAD_BYTES:
                break
    if symbols is not None:
        pairs &= {symbol.encode("utf-8", "surrogatepass") for symbol in symbols}
        return max(1, min(parts, len(pairs)))
    return min(parts, len(pairs)) or parts
