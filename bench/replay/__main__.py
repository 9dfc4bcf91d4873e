"""python -m bench.replay: a recording served to clients, which are other processes that only count and note times.

`max` is as fast as one client reads; spacing is what a client sees of the recorded distances at 1x, 4,000 messages a
second; many clients is the server's CPU time for 50 readers of one pair of 100 messages a second; the start is in the
middle of a day of 2 GB, and memory is what the server has needed at most when it has shown some of that day; the
relay's delay is from the receipt of a message to 10 clients, with exchange, recorder, verifier and relay on this
machine. Takes about two minutes.
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
from bench.replay.long_day import make_long_day
from bench.replay.relay import relay_delays
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.reader import open_archive
from kraken_l3.exchange.written import write_archive
from kraken_l3.model.timestamps import NS_PER_S

ROOT = Path(__file__).resolve().parents[2]
_UPDATE = b'"type":"update"'


def recording(scratch: Path, name: str, seconds: float, rate: float) -> Path:
    write_archive(scratch / name, duration_ns=int(seconds * NS_PER_S), symbols=["BTC/USD"], rate=rate)
    return scratch / name


def client(environment: dict[str, str], messages: int, connections: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.replay.client", str(messages), str(connections)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)


def received(process: subprocess.Popen[str]) -> list[int]:
    """When its messages came, in monotonic nanoseconds."""
    output, _ = process.communicate()
    return [int(word) for word in output.split()[1:]]


def updates(path: Path) -> list[int]:
    """The recorded receive times of the updates."""
    lines = open_archive(path).lines("level3")
    return [line.receipt.recv_ns for line in lines if line.receipt is not None and _UPDATE in line.payload[:60]]


def as_fast_as_read(path: Path) -> float:
    """Messages a second, from the first to the last."""
    messages = len(updates(path))
    with kraken_l3.replay(path, speed="max") as exchange:
        times = received(client(exchange.environment, messages))
    return len(times) / ((times[-1] - times[0]) / 1e9)


def spacing(path: Path) -> tuple[float, float, float]:
    """How far a client's distances are from the recorded ones: median, 99 %, most, in ms."""
    recorded = updates(path)
    with kraken_l3.replay(path) as exchange:
        times = received(client(exchange.environment, len(recorded)))
    late = [(at - times[0]) - (wanted - recorded[0]) for at, wanted in zip(times, recorded)]
    # the first message had its own delay: what is early by it is not early
    offset = min(late)
    delays = sorted((each - offset) / 1e6 for each in late)
    return statistics.median(delays), delays[int(len(delays) * 0.99)], delays[-1]


def many_clients(path: Path, clients: int, seconds: float) -> float:
    """Cores that the server takes."""
    processes = min(5, clients)
    with kraken_l3.replay(path) as exchange:
        readers = [client(exchange.environment, 1 << 40, clients // processes) for _ in range(processes)]
        while exchange.state()["clients"] < clients or not exchange.state()["has_begun"]:
            time.sleep(0.05)
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        used = (time.process_time() - cpu) / (time.perf_counter() - began)
        for reader in readers:
            reader.kill()
            reader.communicate()
    return used


def start_in_the_middle(path: Path) -> tuple[float, float]:
    """Seconds until the replay is ready at the middle of the day; MB that such a process needs, in a process alone."""
    (day,) = open_archive(path).files()
    with DataFile(day) as file:
        assert file.receipts is not None
        middle_ns = file.receipts[len(file.receipts) // 2].recv_ns
    began = time.perf_counter()
    with kraken_l3.replay(path, speed="step", start=middle_ns):
        seconds = time.perf_counter() - began
    script = (
        "import resource, sys, kraken_l3\n"
        "with kraken_l3.replay(sys.argv[1], speed='max', start=int(sys.argv[2])) as exchange:\n"
        "    print(*(f'{name}={value}' for name, value in exchange.environment.items()), flush=True)\n"
        "    sys.stdin.readline()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(middle_ns)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    environment = dict(word.split("=", 1) for word in server.stdout.readline().split())
    client(environment, 200_000).communicate()
    output, _ = server.communicate("\n")
    return seconds, int(output) / (1024 if sys.platform != "darwin" else 1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--day-bytes", type=int, default=2_000_000_000)
    arguments = parser.parse_args()
    table = Table(title="replay", header_style="bold")
    for heading in ("", "measured", "wanted"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as directory:
        scratch = Path(directory)
        busy = recording(scratch, "busy", arguments.messages / 4_000, 4_000)
        table.add_row("one client at max, messages/s", f"{as_fast_as_read(busy):,.0f}", ">= 150,000")
        median, most, last = spacing(recording(scratch, "short", 10, 4_000))
        table.add_row("spacing at 4,000/s, median", f"{median:.2f} ms", "<= 2")
        table.add_row("spacing at 4,000/s, 99 %", f"{most:.2f} ms (most {last:.1f})", "<= 20")
        used = many_clients(recording(scratch, "calm", 60, 100), arguments.clients, 10)
        table.add_row(f"{arguments.clients} clients of 100/s, cores", f"{used:.2f}", "<= 0.5")
        seconds, megabytes = start_in_the_middle(make_long_day(busy, scratch / "long", arguments.day_bytes))
        table.add_row(f"start in the middle of {arguments.day_bytes / 1e9:g} GB", f"{seconds:.2f} s", "<= 2")
        table.add_row("memory of such a server", f"{megabytes:.0f} MB", "")
        delays = relay_delays(scratch, rate=4_000, clients=10, seconds=10)
        table.add_row("relay, 10 clients at 4,000/s, median", f"{statistics.median(delays):.2f} ms", "<= 5")
        worst = f"{delays[int(len(delays) * 0.99)]:.2f} ms (most {delays[-1]:.1f})"
        table.add_row("relay, 10 clients at 4,000/s, 99 %", worst, "<= 50")
    console = Console(width=100)
    console.print(describe_machine(), style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
