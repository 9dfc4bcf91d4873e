"""A week of simulated days, exported on a real Dask cluster while one of its workers is killed.

Starts a scheduler and two workers as processes, exports the order events through them, kills one worker as soon as the
first file is there, and compares every byte with what one process makes. Run: python examples/cluster_demo.py
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kraken_l3.archive.journal import Acknowledged, Connected, Instruments, Started
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import listing
from kraken_l3.exchange.flow.generate import generate
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_DAY, parse_rfc3339

SYMBOLS = ["BTC/USD", "ETH/USD"]
OPTIONS = EventsTable()
FIRST_DAY_NS = parse_rfc3339("2026-11-16T09:00:00Z")
BATCH = 1_000


class _SetClock:
    now_ns = 0

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def record_days(directory: Path, days: int, messages: int) -> None:
    """Simulated trading hours, one recording a day: every other day is left out so that each day stands alone."""
    pairs = [
        Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
        for p in listing(SYMBOLS)
    ]
    for day in range(days):
        clock = _SetClock()
        clock.now_ns = FIRST_DAY_NS + 2 * day * NS_PER_DAY
        writer = ArchiveWriter.open(directory, clock=clock)
        now = {"at_ns": clock.now_ns, "mono_ns": clock.now_ns}
        writer.journal(Started(**now, version="0", host="demo", boot_id="demo", pid=1, config={}))
        writer.journal(Instruments(**now, instruments=pairs))
        writer.journal(Connected(**now, connection=1 + day, url="wss://demo", channel="level3", symbols=SYMBOLS))
        for symbol in SYMBOLS:
            writer.journal(Acknowledged(**now, connection=1 + day, channel="level3", symbol=symbol, depth=10))
        lines = generate(symbols=SYMBOLS, messages=messages, seed=day, start_ns=clock.now_ns, rate=50.0)
        while batch := list(itertools.islice(lines, BATCH)):
            frames = [Frame(line, clock.now_ns + n * 20_000_000, clock.now_ns, 1 + day) for n, line in enumerate(batch)]
            clock.now_ns = frames[-1].recv_ns
            writer.append("level3", frames)
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers of one thread each."""
    address = f"tcp://127.0.0.1:{_free_port()}"
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    processes = [_start([*run, "--host", address, "--no-dashboard"])]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    workers = [_start([*worker, "--no-nanny", "--death-timeout", "30"]) for _ in range(2)]
    try:
        _wait_for_workers(address, 2)
        yield address, workers
    finally:
        for process in [*workers, *processes]:
            process.kill()
            process.wait()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, timeout="30s") as client:
        client.wait_for_workers(count, timeout=60)


def tree(directory: Path) -> dict[str, bytes]:
    """Every table's bytes by its name."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*.parquet"))}


def main() -> int:
    """Run the demonstration; 0 when both results are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--messages", type=int, default=20_000, help="a day")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kraken-l3-cluster-") as scratch:
        return _demonstrate(Path(scratch), arguments.days, arguments.messages)


def _demonstrate(scratch: Path, days: int, messages: int) -> int:
    console = Console()
    source = scratch / "data"
    console.print(f"simulating {days} days of {messages:,} messages ...")
    record_days(source, days, messages)
    start = time.perf_counter()
    export_table(str(source), str(scratch / "one"), OPTIONS)
    alone_s = time.perf_counter() - start
    with cluster() as (address, workers):
        console.print(f"a scheduler at {address} and two workers; the first is killed when the first file is there")
        killer = threading.Thread(target=_kill_at_first_file, args=(workers[0], scratch / "many"))
        killer.start()
        start = time.perf_counter()
        report = export_table(str(source), str(scratch / "many"), OPTIONS, cluster=address)
        together_s = time.perf_counter() - start
        killer.join()
        killed = workers[0].poll()
    one, many = tree(scratch / "one"), tree(scratch / "many")
    _print(console, report.messages, {"one process": (one, alone_s), "cluster, a worker killed": (many, together_s)})
    same = one == many and len(report.files) == days * len(SYMBOLS) and killed is not None
    console.print("[bold green]the same, byte for byte" if same else "[bold red]the results differ")
    return 0 if same else 1


def _kill_at_first_file(worker: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + 120
    while not any(directory.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def _print(console: Console, messages: int, results: dict[str, tuple[dict[str, bytes], float]]) -> None:
    table = Table(header_style="bold")
    for heading in ("", "files", "bytes", "seconds", "messages"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (files, seconds) in results.items():
        size = sum(map(len, files.values()))
        table.add_row(name, f"{len(files):,}", f"{size:,}", f"{seconds:.1f}", f"{messages:,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
