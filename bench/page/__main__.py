"""Prints what the page costs its own process: viewers at 4,000 messages a second, and moments of a recorded hour.

python -m bench.page [--rate 4000] [--seconds 15] [--json]

A child writes an archive at the rate, of 5 and of 1,400 symbols; viewers of four symbols read all they are sent. The
moments are those of an hour of made-up trading, with checkpoints and without, each of a process that knows nothing yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

import kraken_l3
from bench.machine import describe_machine
from kraken_l3.archive.reader import Archive
from kraken_l3.model.frames import Frame
from kraken_l3.web.days import Day

TICKS = os.sysconf("SC_CLK_TCK")
VIEWERS = ((10, 5), (100, 5), (100, 1400))
COMMAND = [sys.executable, "-m", "kraken_l3", "page", "--http", "127.0.0.1:0"]


def write(directory: Path, symbols: int, rate: int) -> None:
    """Write an archive at a rate until killed: the child's work."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from scenes import Scene

    scene = Scene(directory, facts=False, now_ns=time.time_ns())
    flow = [line for line in scene.flow(30_000) if b"BTC/USD" in line][: max(40, 100_000 // symbols)]
    scene.symbols = tuple(f"S{number:04}/USD" for number in range(symbols))
    scene.connect(10)
    lines = (line.replace(b"BTC/USD", name.encode()) for line in flow for name in scene.symbols)
    began, written = time.time(), 0
    while True:
        due = int((time.time() - began) * rate) - written
        scene.clock.now_ns = now_ns = time.time_ns()
        batch = [Frame(line, now_ns, now_ns, 1) for line, _ in zip(lines, range(due))]
        if batch:
            scene.writer.append("level3", batch)
            scene.writer.flush()
        written += due
        time.sleep(0.05)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def watch(url: str, viewers: int, pid: int, seconds: float) -> dict[str, float]:
    """The page's share of a core, and what it sends, while so many watch."""
    received = 0

    async def view(client: aiohttp.ClientSession, number: int) -> None:
        nonlocal received
        async with client.get("/api/live", params={"symbol": f"S{number % 4:04}/USD"}) as stream:
            async for chunk in stream.content.iter_any():
                received += len(chunk)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as client:
        tasks = [asyncio.ensure_future(view(client, number)) for number in range(viewers)]
        await asyncio.sleep(3)
        began, before, sent = time.monotonic(), cpu_s(pid), received
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        found = {"cpu_share": (cpu_s(pid) - before) / took, "bytes_a_second": (received - sent) / took}
        if any(task.done() for task in tasks):
            raise SystemExit("some viewers were not served")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def with_viewers(viewers: int, symbols: int, rate: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = subprocess.Popen([sys.executable, "-m", "bench.page", "--write", name, str(symbols), str(rate)])
        try:
            while not list(directory.glob("l3-*.ndjson")):
                time.sleep(0.05)
            with subprocess.Popen([*COMMAND, name], stdout=subprocess.PIPE, text=True) as page:
                assert page.stdout is not None
                try:
                    found = asyncio.run(watch(page.stdout.readline().strip(), viewers, page.pid, seconds))
                    status = Path(f"/proc/{page.pid}/status").read_text()
                    return {**found, "peak_bytes": int(status.partition("VmHWM:")[2].split()[0]) * 1024}
                finally:
                    page.terminate()
        finally:
            writer.kill()
            writer.wait()


def moments() -> dict[str, dict[str, float]]:
    """CPU seconds of the first and of later moments of an hour, with checkpoints and without."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        kraken_l3.simulate(directory, "1h", symbols=("BTC/USD", "ETH/USD"), depth=100, rate=200)
        for kind in ("there", "none"):
            if kind == "none":
                for path in directory.glob("*.checkpoints"):
                    path.unlink()
            day = Day(Archive(directory).files()[0])
            facts = day.facts()
            taken = []
            for share in (0.93, 0.41, 0.42, 0.77, 0.12, 0.6):
                before = time.process_time()
                day.book("BTC/USD", int(facts["start"] + share * (facts["end"] - facts["start"])) * 1_000_000)
                taken.append(time.process_time() - before)
            found[kind] = {"first_s": taken[0], "later_s": statistics.median(taken[1:])}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(Path(options.write[0]), int(options.write[1]), int(options.write[2]))
    watched = [(v, s, with_viewers(v, s, options.rate, options.seconds)) for v, s in VIEWERS]
    show(options, watched, moments())


def show(options: argparse.Namespace, watched: list[Any], seeks: dict[str, dict[str, float]]) -> None:
    if options.json:
        rows = [{"viewers": viewers, "symbols": symbols, **found} for viewers, symbols, found in watched]
        print(json.dumps({"machine": describe_machine(), "watched": rows, "moments": seeks}))
        return
    table = Table("what", "found", title=f"{options.rate:,} messages a second; {describe_machine()}")
    for viewers, symbols, found in watched:
        text = f"{found['cpu_share']:.1%} of a core, {found['bytes_a_second'] / 1e3:,.0f} kB/s, "
        table.add_row(f"{viewers} viewers, {symbols:,} symbols", f"{text}{found['peak_bytes'] / 1e6:.0f} MB")
    for kind, found in seeks.items():
        text = f"{found['first_s']:.2f} s of CPU at first, {found['later_s']:.2f} s later"
        table.add_row(f"a moment of an hour, checkpoints: {kind}", text)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
