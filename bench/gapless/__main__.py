"""Prints what recorders lose at drops and at take-overs, how fast `merge` is beside `verify`, and what it repairs.

python -m bench.gapless [--only drops] [--drops 5] [--take-overs 50] [--messages 200000] [--repeat 5] [--json]

For the drops a recorder with two connections, one with one, and one written as the original was record a market of
1,000 messages a second, and the connection that leads is cut. For the take-overs recorders follow one another at 4,000
messages a second. For the merge two recordings of one stream, each with outages of its own, are made with the seeded
generator; CPU seconds of this process, in turns, the least of each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.gapless.live import measure_drops, measure_take_overs
from bench.machine import describe_machine
from kraken_l3.archive.journal import Acknowledged, Connected, GapClosed, GapOpened, Instruments, Started
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.exchange.flow import generate, listing
from kraken_l3.merge.job import merge
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.rebuild.verify import verify

START_NS = parse_rfc3339("2026-03-01T12:00:00Z")
DEPTH = 100
RATE = 1_000.0
WORKLOADS = {"one pair": 1, "50 pairs": 50}
#: Each source drops so often, for as many messages: at another time than the other.
OUTAGES, OUTAGE_MESSAGES = 10, 1_000


class _Clock:
    now_ns = START_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def record(directory: Path, lines: list[bytes], symbols: list[str], *, phase: float, latency_ns: int) -> int:
    """Write what one recorder gets of a stream; how many messages it loses."""
    clock = _Clock()
    writer = ArchiveWriter.open(directory, clock=clock)
    pairs = [
        Instrument(symbol=pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision)
        for pair in listing(symbols)
    ]
    writer.journal(Started(at_ns=START_NS, version="0", host="h", boot_id="b", pid=1, config={}))
    writer.journal(Instruments(at_ns=START_NS, instruments=pairs))
    books = make_engine(EngineOptions())
    for pair in pairs:
        books.set_symbol(
            pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision, depth=DEPTH
        )
    every = len(lines) // OUTAGES
    begin, fed, lost, left_ns = 0, 0, 0, 0
    for connection in range(1, OUTAGES + 2):
        end = int((connection - 1 + phase) * every) if connection <= OUTAGES else len(lines)
        told: dict[str, Any] = {"at_ns": clock.now_ns, "connection": connection, "channel": "level3"}
        writer.journal(Connected(url="wss://x", symbols=symbols, **told))
        for symbol in symbols:
            writer.journal(Acknowledged(symbol=symbol, depth=DEPTH, **told))
        frames = []
        if begin:
            books.feed(b"\n".join(lines[fed:begin]) + b"\n", 0, 1)
            fed = begin
            at_ns = START_NS + int(begin / RATE * NS_PER_S) + latency_ns
            for symbol in symbols:
                image = books.export_book(symbol)
                if image is not None:
                    frames.append(Frame(image.message, at_ns, at_ns, connection))
                    gap: dict[str, Any] = {
                        "channel": "level3",
                        "symbol": symbol,
                        "cause": "network",
                        "left_ns": left_ns,
                    }
                    writer.journal(GapOpened(at_ns=left_ns, **gap))
                    writer.journal(GapClosed(at_ns=at_ns, right_ns=at_ns, **gap))
        for place in range(begin, end):
            at_ns = START_NS + int(place / RATE * NS_PER_S) + latency_ns
            frames.append(Frame(lines[place], at_ns, at_ns, connection))
        for first in range(0, len(frames), 500):
            writer.append("level3", frames[first : first + 500])
        left_ns = clock.now_ns = frames[-1].recv_ns
        begin = min(end + OUTAGE_MESSAGES, len(lines))
        lost += begin - end
    writer.close()
    return lost


def measure(name: str, messages: int, repeat: int) -> dict[str, Any]:
    """One workload."""
    symbols = [pair.symbol for pair in listing(WORKLOADS[name])]
    lines = list(generate(symbols=symbols, depth=DEPTH, messages=messages, seed=2026, start_ns=START_NS, rate=RATE))
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as text:
        directory = Path(text)
        sources = [directory / "a", directory / "b"]
        lost = [
            record(path, lines, symbols, phase=phase, latency_ns=latency_ns)
            for path, phase, latency_ns in zip(sources, (0.3, 0.8), (5_000_000, 12_000_000))
        ]
        verifying, merging = [], []
        for _ in range(repeat):
            start = time.process_time()
            for source in sources:
                verify(source)
            verifying.append(time.process_time() - start)
            shutil.rmtree(directory / "out", ignore_errors=True)
            start = time.process_time()
            report = merge(sources, directory / "out")
            merging.append(time.process_time() - start)
    assert report.exit_code() == 0, report
    return {
        "workload": name,
        "messages": messages,
        "lost_by_each": lost,
        "missing_after_merge": messages - report.lines,
        "verify_s": min(verifying),
        "merge_s": min(merging),
        "of_verify": min(verifying) / min(merging),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["drops", "take-overs", "merge"])
    parser.add_argument("--drops", type=int, default=5)
    parser.add_argument("--take-overs", type=int, default=50)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory(prefix="kraken-l3-bench-") as text:
        if arguments.only in (None, "drops"):
            results["drops"] = measure_drops(Path(text), drops=arguments.drops)
        if arguments.only in (None, "take-overs"):
            results["take_overs"] = measure_take_overs(Path(text), times=arguments.take_overs)
    if arguments.only in (None, "merge"):
        results["merge"] = [measure(name, arguments.messages, arguments.repeat) for name in WORKLOADS]
    if arguments.json:
        print(json.dumps(results))
        return
    console = Console()
    console.print(results["machine"])
    for table in _tables(results):
        console.print(table)


def _tables(results: dict[str, Any]) -> Iterator[Table]:
    if "drops" in results:
        table = Table(
            "at 1,000 messages/s", "drops", "messages lost", "lost a drop", "CPU of the recorder, % of a core"
        )
        for each in results["drops"]:
            a_drop = f"{each['lost'] / each['drops']:,.0f}"
            cpu = f"{each['cpu_percent']:.1f}"
            table.add_row(each["recorder"], f"{each['drops']}", f"{each['lost']:,}", a_drop, cpu)
        yield table
    if "take_overs" in results:
        each = results["take_overs"]
        table = Table(
            "take-overs at 4,000/s", "messages", "bridged", "lost", "twice", "start to end, s", "asked to spliced, s"
        )
        counts = [f"{each[name]:,}" for name in ("times", "messages", "bridged", "lost", "twice")]
        table.add_row(*counts, f"{each['seconds']:.1f}", f"{each['unheld_s']:.2f}")
        yield table
    if "merge" in results:
        table = Table(
            "two sources of",
            "messages",
            "lost by each",
            "missing after",
            "verify both, s",
            "merge, s",
            "speed of verify's",
        )
        for each in results["merge"]:
            table.add_row(
                each["workload"],
                f"{each['messages']:,}",
                " and ".join(f"{count:,}" for count in each["lost_by_each"]),
                f"{each['missing_after_merge']:,}",
                f"{each['verify_s']:.2f}",
                f"{each['merge_s']:.2f}",
                f"{each['of_verify']:.2f}",
            )
        yield table


if __name__ == "__main__":
    main()
