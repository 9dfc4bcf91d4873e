"""Verifies with several jobs, each of which takes its share of the symbols out of the same files.

Native engines share one reading of the files among threads; the Python engine needs processes.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from ctypes import c_uint64
from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.infer import infer_missing, symbols_in
from kraken_l3.rebuild.metadata import SymbolMetadata, metadata_in
from kraken_l3.rebuild.verify import Findings, Progress, verify_part

__all__ = ["verify"]

_POLL_S = 0.1


def verify(
    path: Path,
    *,
    instruments: Sequence[Instrument] = (),
    depth: Optional[int] = None,
    engine_name: str = "auto",
    jobs: int = 1,
    progress: Optional[Progress] = None,
) -> tuple[Findings, list[str]]:
    """Verify an archive or a file.

    Args:
        path: a directory of ours, or any NDJSON file of level3 messages.
        instruments: precisions that the user knows; they outweigh the journal's.
        depth: the subscribed depth, if the user knows it; it outweighs the journal's.
        engine_name: see `engines`.
        jobs: threads or processes; each handles its share of the symbols.
        progress: called with the bytes done (of each job).

    Returns:
        What was found, and sentences about what had to be tried because nothing told it.
    """
    archive = open_archive(path)
    depths = None if depth is None else dict.fromkeys(symbols_in(archive), depth)
    facts = metadata_in(archive, instruments, depths)
    if jobs <= 1 or make_engine(EngineOptions(), engine_name).name == "native":
        each = None if progress is None else lambda count: progress(count * jobs)
        findings = verify_part(path, facts, EngineOptions(), engine_name=engine_name, threads=jobs, progress=each)
    else:
        findings = _verify_in_processes(path, facts, engine_name, jobs, progress)
    return findings, infer_missing(findings, path, facts, engine_name)


def _verify_in_processes(
    path: Path, facts: Sequence[SymbolMetadata], engine_name: str, jobs: int, progress: Optional[Progress]
) -> Findings:
    context = multiprocessing.get_context("spawn")
    done = context.Array(c_uint64, jobs, lock=False)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_share, initargs=(done,)) as pool:
        futures = [pool.submit(_verify_share, path, facts, engine_name, part, jobs) for part in range(jobs)]
        _watch(futures, done, progress)
        findings = futures[0].result()
        for future in futures[1:]:
            findings.merge(future.result())
    return findings


def _watch(futures: Sequence[Future[Findings]], done: Any, progress: Optional[Progress]) -> None:
    seen = 0
    while not all(future.done() for future in futures):
        time.sleep(_POLL_S)
        if progress is not None:
            progress(sum(done) - seen)
            seen = sum(done)


_done: Any = None


def _share(done: Any) -> None:
    """In a new process: where it tells how far it is."""
    global _done
    _done = done


def _verify_share(path: Path, facts: Sequence[SymbolMetadata], engine_name: str, part: int, parts: int) -> Findings:
    def progress(count: int) -> None:
        _done[part] += count

    return verify_part(path, facts, EngineOptions(part=(part, parts)), engine_name=engine_name, progress=progress)
