"""One pair with checkpoints, as a recorder leaves it, and the same data without: does a second core count?"""

from __future__ import annotations

import itertools
import shutil
import threading
from pathlib import Path

from bench.rebuild.command import CommandRun, run_verify
from bench.rebuild.data import HEARTBEAT, Workload, archive_of
from kraken_l3.archive.journal import Acknowledged, Connected, Instruments, Started
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import listing
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.rebuild.live import LiveVerifier

__all__ = ["division_runs", "recorded"]

FIRST_NS = parse_rfc3339("2026-11-16T00:00:00Z")
STEP_NS = 10_000
BATCH = 10_000
RUNS = 3


class _SetClock:
    now_ns = FIRST_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def recorded(workload: Workload, messages: int) -> Path:
    """A day of the workload in an archive directory, with the checkpoints of the live verifier; made once."""
    source = archive_of(workload, messages)
    directory = source.with_name(f"{source.stem}-recorded")
    if directory.exists():
        return directory
    part = directory.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    _record(part, workload, source)
    stop = threading.Event()
    stop.set()
    LiveVerifier(part, lambda _: None, stop=stop).run()
    return part.rename(directory)


def _record(directory: Path, workload: Workload, source: Path) -> None:
    clock = _SetClock()
    writer = ArchiveWriter.open(directory, clock=clock)
    now = {"at_ns": FIRST_NS, "mono_ns": FIRST_NS}
    assert not isinstance(workload.symbols, int)
    pairs = [
        Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
        for p in listing(workload.symbols)
    ]
    writer.journal(Started(**now, version="0", host="bench", boot_id="bench", pid=1, config={}))
    writer.journal(Instruments(**now, instruments=pairs))
    writer.journal(Connected(**now, connection=1, url="wss://bench", channel="level3", symbols=workload.symbols))
    for symbol in workload.symbols:
        writer.journal(Acknowledged(**now, connection=1, channel="level3", symbol=symbol, depth=workload.depth))
    with source.open("rb") as file:
        lines = (line[:-1] for line in file if line != HEARTBEAT)
        while batch := list(itertools.islice(lines, BATCH)):
            frames = [Frame(line, clock.now_ns + n * STEP_NS, clock.now_ns, 1) for n, line in enumerate(batch, 1)]
            clock.now_ns = frames[-1].recv_ns
            writer.append("level3", frames)
    writer.close()


def division_runs(workload: Workload, messages: int) -> dict[str, CommandRun]:
    """`kraken-l3 verify` with one job and with two, with checkpoints and without: the best of a few runs each."""
    paths = {"recorded, with checkpoints": recorded(workload, messages), "alone": archive_of(workload, messages)}
    runs: dict[str, CommandRun] = {}
    for _ in range(RUNS):
        for title, path in paths.items():
            for jobs in (1, 2):
                name = f"{workload.name} {title}: {jobs} job{'s' if jobs > 1 else ''}"
                run = run_verify(path, jobs)
                runs[name] = min(runs.get(name, run), run, key=lambda each: each.seconds)
    return runs
