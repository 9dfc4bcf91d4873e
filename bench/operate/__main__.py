"""Prints what watching costs: the recorder's CPU time with metrics, page and ten viewers; `status` on a year of days;
the report of a day; and what sealing beside a recorder does to it.

python -m bench.operate [--rate 4000] [--seconds 20] [--turns 4] [--archive DIRECTORY] [--json]

A recorder takes 4,000 messages a second from the embedded exchange. Only the recorder's own CPU time counts: exchange,
web process and verifier are processes of their own. Its time a message is compared, with `http` and without it, in
turns, since other work on the machine comes and goes.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import aiohttp
from rich.console import Console
from rich.table import Table

import kraken_l3
from bench.machine import describe_machine
from bench.operate.days import report_of_a_day, sealing_beside_a_recorder
from bench.operate.processes import COMMAND, exchange, recorder, until
from kraken_l3.app.status import MessageCounter
from kraken_l3.exchange.flow import generate
from kraken_l3.model.frames import Frame
from kraken_l3.monitor.metrics import metrics_text
from kraken_l3.monitor.status import RecorderStatus, SymbolStatus, encode_status
from kraken_l3.monitor.status_file import read_status

VIEWERS = 10
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def told(directory: Path) -> RecorderStatus:
    status = read_status(directory)
    assert status is not None
    return status


async def look(url: str, seconds: float) -> None:
    """Ten viewers who read all they are sent, and a Prometheus that asks every five seconds."""

    async def view(client: aiohttp.ClientSession) -> None:
        async with client.get("/api/live") as stream:
            async for _ in stream.content.iter_any():
                pass

    async def scrape(client: aiohttp.ClientSession) -> None:
        while True:
            async with client.get("/metrics") as answer:
                await answer.read()
            await asyncio.sleep(5)

    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=None)) as client:
        tasks = [asyncio.ensure_future(view(client)) for _ in range(VIEWERS)] + [asyncio.ensure_future(scrape(client))]
        await asyncio.sleep(seconds)
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if ended:
            raise SystemExit(f"{len(ended)} of the viewers were not served: {ended[0]}")


def turn(rate: float, seconds: float, *, watched: bool) -> dict[str, float]:
    """CPU time a message, in microseconds, and the messages a second that there were."""
    with tempfile.TemporaryDirectory() as name, exchange(rate) as exports:
        more = {"KRAKEN_L3_HTTP": "127.0.0.1:0"} if watched else {}
        with recorder(exports, Path(name), **more) as (pid, archive, log):
            url = ""
            if watched:
                until(lambda: "serving" in log.read_text())
                lines = [json.loads(line) for line in log.read_text().splitlines()]
                url = next(line["url"] for line in lines if line["event"] == "serving")
            before, began = (cpu_s(pid), told(archive).messages), time.monotonic()
            if watched:
                asyncio.run(look(url, seconds))
            else:
                time.sleep(seconds)
            spent, messages = cpu_s(pid) - before[0], told(archive).messages - before[1]
            took = time.monotonic() - began
    return {"cpu_us": spent * 1e6 / messages, "cpu_share": spent / took, "rate": messages / took}


def status_of_a_year() -> dict[str, float]:
    """What `status` takes on 365 days, two of them with whole journals: median of ten."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "app"))
    from archive_of_a_year import write_year

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        write_year(directory, dt.date(2026, 3, 10))
        taken, cpu = [], []
        for _ in range(10):
            began, before = time.perf_counter(), os.times()
            subprocess.run([*COMMAND, "status", str(directory)], check=True, capture_output=True)
            after = os.times()
            taken.append(time.perf_counter() - began)
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"seconds": statistics.median(taken), "cpu_seconds": statistics.median(cpu)}


def collecting() -> dict[str, float]:
    """What one process pays for every display together: for each message, and once a second with 1,400 symbols."""
    lines = list(generate(symbols=["BTC/USD", "ETH/USD"], messages=20_000, seed=1))
    frames = [Frame(line, time.time_ns(), 0, 1) for line in lines]
    counter = MessageCounter()
    batch = 800  # a flush interval of 0.2 s at 4,000 a second

    def count() -> None:
        for first in range(0, len(frames), batch):
            counter("level3", frames[first : first + batch])

    rows = [
        SymbolStatus(symbol=f"S{n}/USD", connection=1, state="recording", last_message_ns=1, last_snapshot_ns=1)
        for n in range(1_400)
    ]
    status = RecorderStatus(now_ns=1, since_ns=1, directory="d", rows=rows)
    return {
        "count_us_a_message": cpu_of(count) * 1e6 / len(frames),
        "encode_ms": cpu_of(lambda: encode_status(status)) * 1e3,
        "metrics_ms": cpu_of(lambda: metrics_text(status, age_s=1)) * 1e3,
    }


def cpu_of(work: Callable[[], Any], turns: int = 7) -> float:
    taken = []
    for _ in range(turns):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


@contextmanager
def day(archive: Optional[Path]) -> Iterator[Path]:
    """An archive to report on and to seal: the one that was named, else a small one that is written now."""
    if archive is not None:
        yield archive
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        kraken_l3.simulate(directory, "10m", symbols=["BTC/USD", "ETH/USD"], depth=100, rate=200)
        yield directory


def measured(rate: float, seconds: float, turns: int, archive: Optional[Path]) -> dict[str, Any]:
    pairs = [[turn(rate, seconds, watched=watched) for watched in (False, True)] for _ in range(turns)]
    alone, watched = ([pair[number]["cpu_us"] for pair in pairs] for number in (0, 1))
    share = statistics.median(pair[0]["cpu_share"] for pair in pairs)
    more = statistics.median(pair[1]["cpu_us"] - pair[0]["cpu_us"] for pair in pairs)
    return {
        "rate": statistics.median(each["rate"] for pair in pairs for each in pair),
        "cpu_us_a_message": {"alone": statistics.median(alone), "watched": statistics.median(watched)},
        "cpu_share_alone": share,
        "more_cpu_share_at_rate": more * rate / 1e6,
        "collecting": collecting(),
        "status_of_a_year": status_of_a_year(),
        **of_days(rate, seconds, archive),
    }


def of_days(rate: float, seconds: float, archive: Optional[Path]) -> dict[str, Any]:
    with day(archive) as whole:
        return {"report": report_of_a_day(whole), "sealing": sealing_beside_a_recorder(rate, seconds, whole)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.operate")
    parser.add_argument("--rate", type=float, default=4000.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--archive", type=Path, help="an archive of closed, plain days, for the report and the sealing")
    options = parser.parse_args()
    found = measured(options.rate, options.seconds, options.turns, options.archive)
    if options.json:
        print(json.dumps({"machine": describe_machine(), **found}))
        return
    table = Table("what", "figure", "goal", title=describe_machine(), title_justify="left")
    costs, year = found["cpu_us_a_message"], found["status_of_a_year"]
    table.add_row("messages a second", f"{found['rate']:,.0f}", "")
    table.add_row("recorder, http off", f"{costs['alone']:.1f} us a message", "")
    table.add_row(f"recorder, http on, {VIEWERS} viewers", f"{costs['watched']:.1f} us a message", "")
    more = f"{found['more_cpu_share_at_rate']:.2%} of a core"
    table.add_row(f"more CPU at {options.rate:,.0f} messages/s", more, "3 %")
    own = found["collecting"]
    table.add_row("counting messages for all displays", f"{own['count_us_a_message']:.2f} us a message", "")
    table.add_row("1,400 symbols: a status as JSON", f"{own['encode_ms']:.2f} ms a second", "")
    table.add_row("1,400 symbols: /metrics (web process)", f"{own['metrics_ms']:.0f} ms", "")
    table.add_row("status, a year of days", f"{year['seconds']:.2f} s ({year['cpu_seconds']:.2f} s CPU)", "0.5 s")
    report, sealing = found["report"], found["sealing"]
    size = f"{report['bytes'] / 1e9:.2f} GB in {report['seconds']:.1f} s"
    table.add_row("report of a day", size, "2 GB in 15 s")
    table.add_row("sealing beside the recorder", f"{sealing['sealed_mb_s']:.0f} MB/s", "50 MB/s")
    ms = [sealing["p99_alone_ms"], sealing["p99_beside_ms"]]
    table.add_row("receipt to file, 99 %, alone / beside", f"{ms[0]:.1f} / {ms[1]:.1f} ms", "1 ms more")
    Console().print(table)


if __name__ == "__main__":
    main()
