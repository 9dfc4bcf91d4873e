"""What is lost while recording: at drops, with one connection and with two, and at take-overs.

A market of one pair is traded by an exchange of this process, which keeps every update that there was; the recorders
are processes, as a user starts them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kraken_l3.exchange.faults import Drop
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.testing import NotedFlow

__all__ = ["measure_drops", "measure_take_overs"]

SYMBOL, DEPTH = "BTC/USD", 10
WAIT_S = 60.0
#: Between two drops: everything has come back by then.
CALM_S = 6.0
NAIVE = "as the original"


class Market:
    """An exchange, and the recorders of one archive."""

    def __init__(self, directory: Path, rate: float) -> None:
        directory.mkdir()
        self.directory = directory
        self.output = directory / "data"
        self.flow = NotedFlow([SYMBOL], rate=rate, now_ns=time.time_ns())
        self.exchange = Exchange(self.flow)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """A recorder."""
        whole = {name: value for name, value in os.environ.items() if not name.startswith("KRAKEN")}
        whole.update(self.exchange.environment, XDG_STATE_HOME=str(self.directory / "state"), **environment)
        whole.update(KRAKEN_L3_SYMBOLS=SYMBOL, KRAKEN_L3_OUTPUT_DIR=str(self.output), KRAKEN_L3_VERIFY="false")
        with (self.directory / "stderr").open("ab") as errors:
            process = subprocess.Popen([sys.executable, *words], env=whole, stdout=errors, stderr=errors)
        self.processes.append(process)
        return process

    def recorded(self) -> list[bytes]:
        """The lines of the archive."""
        return b"".join(path.read_bytes() for path in sorted(self.output.glob("l3-*.ndjson"))).splitlines()

    def lost(self) -> int:
        """Updates between the first and the last recorded that the archive does not have."""
        stamps = [line[line.rindex(b'"timestamp"') :].split(b'"')[3] for line in self.flow.updates[SYMBOL, DEPTH]]
        have = {
            line[line.rindex(b'"timestamp"') :].split(b'"')[3] for line in self.recorded() if b'"update"' in line[:60]
        }
        places = [place for place, stamp in enumerate(stamps) if stamp in have]
        return places[-1] - places[0] + 1 - len(places)

    async def until(self, condition: Any) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit((self.directory / "stderr").read_text()[-3000:])
            await asyncio.sleep(0.005)

    async def until_recording(self, connections: int) -> None:
        """Until so many connections read the pair, and have done for a while."""

        def reading() -> bool:
            return sum(bool(each.session.depths) for each in self.exchange.clients.level3.values()) >= connections

        await self.until(reading)
        await asyncio.sleep(CALM_S)
        await self.until(reading)

    async def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, WAIT_S)


@asynccontextmanager
async def _market(directory: Path, rate: float) -> AsyncIterator[Market]:
    market = Market(directory, rate)
    async with market.exchange:
        market.flow.watch(SYMBOL, DEPTH)
        try:
            yield market
        finally:
            for process in market.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


async def _drops(directory: Path, words: list[str], connections: int, drops: int, rate: float) -> dict[str, Any]:
    async with _market(directory, rate) as market:
        process = market.start(*words)
        await market.until_recording(connections)
        cpu_s, began = _cpu_s(process.pid), time.monotonic()
        await asyncio.sleep(CALM_S)
        cpu = 100 * (_cpu_s(process.pid) - cpu_s) / (time.monotonic() - began)
        for _ in range(drops):
            oldest = min(market.exchange.clients.level3)  # with two connections the one that leads
            await market.exchange.push(Drop(connection=oldest))
            await asyncio.sleep(0.2)
            await market.until_recording(connections)
        await market.stop(process)
        return {"drops": drops, "lost": market.lost(), "cpu_percent": cpu}


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure_drops(directory: Path, *, drops: int, rate: float = 1_000.0) -> list[dict[str, Any]]:
    """Messages lost a drop, and the CPU of the recorder's process, in percent of a core."""
    record = ["-m", "kraken_l3", "record", "--redundancy"]
    kinds = {"two connections": ([*record, "2"], 2), "one connection": ([*record, "1"], 1)}
    kinds[NAIVE] = (["-m", "bench.capture.naive"], 1)
    found = []
    for number, (kind, (words, connections)) in enumerate(kinds.items()):
        result = asyncio.run(_drops(directory / f"drops-{number}", words, connections, drops, rate))
        found.append({"recorder": kind, "rate": rate, **result})
    return found


async def _take_overs(directory: Path, times: int, rate: float) -> dict[str, Any]:
    async with _market(directory, rate) as market:
        words = ["-m", "kraken_l3", "record"]
        recorder = market.start(*words)
        await market.until(lambda: len(market.recorded()) > 100)
        seconds, unheld = [], []
        for number in range(times):
            began = time.monotonic()
            successor = market.start(*words, "--take-over")
            await market.until(lambda number=number: _said(market, "took over") > number)
            seconds.append(time.monotonic() - began)
            unheld.append(_between(market))
            recorder.wait(WAIT_S)
            recorder = successor
        await market.stop(recorder)
        handovers = [
            json.loads(line)
            for path in sorted(market.output.glob("journal-*.ndjson"))
            for line in path.read_bytes().splitlines()
            if b'"handover"' in line
        ]
        lines = market.recorded()
        return {
            "times": times,
            "rate": rate,
            "messages": len(lines),
            "spliced": len(handovers),
            "bridged": sum(each.get("bridged", 0) for each in handovers),
            "lost": market.lost(),
            "twice": len(lines) - len(set(lines)),
            "seconds": statistics.median(seconds),
            "unheld_s": statistics.median(unheld),
        }


def _said(market: Market, event: str) -> int:
    return (market.directory / "stderr").read_bytes().count(f'"event": "{event}"'.encode())


def _between(market: Market) -> float:
    """From the question to the other recorder until all that was held is in the archive."""
    times = {}
    for line in (market.directory / "stderr").read_text().splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            clock = said["timestamp"][11:-1].split(":")
            times[said["event"]] = int(clock[0]) * 3600 + int(clock[1]) * 60 + float(clock[2])
    return float(times["took over"] - times["asking the other recorder to end"])


def measure_take_overs(directory: Path, *, times: int, rate: float = 4_000.0) -> dict[str, Any]:
    """Take-overs one after the other."""
    return asyncio.run(_take_overs(directory / "take-overs", times, rate))
