"""All of an archive to one table: by this process, by several, or by a Dask cluster.

Each chain of files is a job of its own; where there are more processes than chains, the pairs of a chain are shared out
as well. Every sharing gives the same files.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from ctypes import c_uint64
from typing import Any, Optional

from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.errors import UsageError
from kraken_l3.export.job import Job, Progress, run_job
from kraken_l3.export.result import ExportResult
from kraken_l3.export.storage import fetched
from kraken_l3.export.table import Table
from kraken_l3.export.walking import chains_in
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in
from kraken_l3.rebuild.verify_jobs import verify

__all__ = ["export_table", "metadata_for", "plan_jobs"]

_POLL_S = 0.1


def export_table(
    source: str,
    target: str,
    table: Table,
    *,
    jobs: int = 1,
    cluster: Optional[str] = None,
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
        engine: see `rebuild.engines`.
        instruments: precisions that the user knows.
        progress: called with the bytes done.
    """
    planned = plan_jobs(source, target, table, shares=jobs, engine=engine, instruments=instruments)
    if cluster is not None:
        results = _on_cluster(planned, cluster, progress)
    elif jobs > 1 and len(planned) > 1:
        results = _in_processes(planned, jobs, progress)
    else:
        results = [run_job(job, progress) for job in planned]
    result = ExportResult()
    for other in results:
        result.add(other)
    result.files.sort(key=lambda file: (file.symbol, file.date))
    return result


def plan_jobs(
    source: str,
    target: str,
    table: Table,
    *,
    shares: int = 1,
    engine: str = "auto",
    instruments: Sequence[Instrument] = (),
) -> list[Job]:
    """The jobs that make up an export, for at least `shares` processes where pairs can be shared."""
    with fetched(source, heads=True) as path:
        archive = open_archive(path)
        facts = tuple(metadata_for(archive, instruments, engine))
        chains = chains_in(archive)
    parts = -(-shares // len(chains)) if chains else 1
    return [
        Job(source, target, table, chain, facts, (part, parts), engine) for chain in chains for part in range(parts)
    ]


def metadata_for(
    archive: Archive, instruments: Iterable[Instrument] = (), engine: str = "auto"
) -> list[SymbolMetadata]:
    """What is known of the symbols; for a file that nobody tells anything about, what a verification finds out."""
    facts = metadata_in(archive, instruments)
    if facts or archive.is_directory:
        return facts
    findings, _ = verify(archive.path, engine_name=engine)
    tallies = [report.tally for report in findings.symbols.values()]
    return [SymbolMetadata(0, t.symbol, t.price_precision, t.qty_precision, t.depth) for t in tallies]


def _in_processes(planned: Sequence[Job], jobs: int, progress: Optional[Progress]) -> list[ExportResult]:
    context = multiprocessing.get_context("spawn")
    done = context.Array(c_uint64, len(planned), lock=False)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_share, initargs=(done,)) as pool:
        futures = [pool.submit(_run_share, number, job) for number, job in enumerate(planned)]
        try:
            _watch(futures, done, progress, planned[0].part[1])
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]


def _watch(futures: Sequence[Future[ExportResult]], done: Any, progress: Optional[Progress], parts: int) -> None:
    """Wait, and tell the bytes done: those that several jobs read for their pairs count once."""
    seen = 0
    while not all(future.done() for future in futures):
        for future in futures:
            if future.done() and future.exception() is not None:
                future.result()
        time.sleep(_POLL_S)
        if progress is not None:
            now = sum(done) // parts
            progress(now - seen)
            seen = now


_done: Any = None


def _share(done: Any) -> None:
    """In a new process: where it tells how far it is."""
    global _done
    _done = done


def _run_share(number: int, job: Job) -> ExportResult:
    def progress(count: int) -> None:
        _done[number] += count

    return run_job(job, progress)


def _on_cluster(planned: Sequence[Job], address: str, progress: Optional[Progress]) -> list[ExportResult]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("a cluster needs Dask", hint="pip install 'dask[distributed]'") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers ({error})", where=address) from None
    with client:
        futures = [client.submit(run_job, job, pure=False, retries=2) for job in planned]
        for future in as_completed(futures):
            if progress is not None and future.status == "finished":
                progress(future.result().bytes)
        results: list[ExportResult] = client.gather(futures)
        return results
