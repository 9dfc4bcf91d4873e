"""python -m bench.replay: a recording served to clients, each in a process of its own that only counts and notes times.

`max` is as fast as one client reads; spacing is what a client sees of the recorded distances at 1x, 4,000 messages a
second; many clients is the server's CPU time for 50 readers of one pair of 100 messages a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kraken_l3
from bench.machine import describe_machine
from kraken_l3.archive.reader import open_archive
from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S

ROOT = Path(__file__).resolve().parents[2]


def recording(scratch: Path, name: str, seconds: float, rate: float) -> Path:
    write_archive(scratch / name, duration_ns=int(seconds * NS_PER_S), symbols=["BTC/USD"], rate=rate)
    return scratch / name


def client(exchange: kraken_l3.api.RunningReplay, messages: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.replay.client", str(messages)]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **exchange.environment}, stdout=subprocess.PIPE, text=True
    )


def received(process: subprocess.Popen[str]) -> list[int]:
    """When its messages came, in monotonic nanoseconds."""
    output, _ = process.communicate()
    return [int(word) for word in output.split()]


def as_fast_as_read(path: Path) -> float:
    """Messages a second, from the first to the last."""
    messages = sum(1 for _ in open_archive(path).lines("level3"))
    with kraken_l3.replay(path, speed="max") as exchange:
        times = received(client(exchange, messages))
    return len(times) / ((times[-1] - times[0]) / 1e9)


def spacing(path: Path) -> tuple[float, float, float]:
    """How far a client's distances are from the recorded ones: median, 99 %, most, in ms."""
    recorded = [line.receipt.recv_ns for line in open_archive(path).lines("level3") if line.receipt is not None]
    with kraken_l3.replay(path) as exchange:
        times = received(client(exchange, len(recorded)))
    late = [(at - times[0]) - (wanted - recorded[0]) for at, wanted in zip(times, recorded)]
    # the first message had its own delay: what is early by it is not early
    offset = min(late)
    delays = sorted((each - offset) / 1e6 for each in late)
    return statistics.median(delays), delays[int(len(delays) * 0.99)], delays[-1]


def many_clients(path: Path, clients: int, seconds: float) -> float:
    """Cores that the server takes."""
    with kraken_l3.replay(path) as exchange:
        readers = [client(exchange, 1 << 40) for _ in range(clients)]
        while exchange.state()["clients"] < clients or not exchange.state()["has_begun"]:
            time.sleep(0.05)
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        used = (time.process_time() - cpu) / (time.perf_counter() - began)
        for reader in readers:
            reader.kill()
            reader.communicate()
    return used


def start_in_the_middle(path: Path) -> float:
    """Seconds until the replay is ready at the middle of the recording."""
    times = [line.receipt.recv_ns for line in open_archive(path).lines("level3") if line.receipt is not None]
    began = time.perf_counter()
    with kraken_l3.replay(path, speed="step", start=times[len(times) // 2]):
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=50)
    arguments = parser.parse_args()
    table = Table(title="replay", header_style="bold")
    for heading in ("", "measured", "wanted"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as directory:
        scratch = Path(directory)
        busy = recording(scratch, "busy", arguments.messages / 4_000, 4_000)
        calm = recording(scratch, "calm", 60, 100)
        table.add_row("one client at max, messages/s", f"{as_fast_as_read(busy):,.0f}", ">= 150,000")
        median, most, last = spacing(recording(scratch, "short", 10, 4_000))
        table.add_row("spacing at 4,000/s, median", f"{median:.2f} ms", "<= 2")
        table.add_row("spacing at 4,000/s, 99 %", f"{most:.2f} ms (most {last:.1f})", "<= 20")
        used = many_clients(calm, arguments.clients, 10)
        table.add_row(f"{arguments.clients} clients of 100/s, cores", f"{used:.2f}", "<= 0.5")
        table.add_row("start in the middle", f"{start_in_the_middle(busy):.2f} s", "")
    console = Console(width=100)
    console.print(describe_machine(), style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
