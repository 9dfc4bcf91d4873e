"""Prints what a day of a whole exchange costs beside a day of one pair: time, memory and cores; `--json` for programs.

python -m bench.scale [--pairs 700] [--messages 1000000] [--engine native] [--json]

The day is made while it is read, by another process, which takes twenty times as long as verifying it. 22 million
messages of 700 pairs at depth 100 are a day of 10 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.memory import anon_bytes
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions

BLOCK_BYTES = 2 << 20
#: Cost a message of all pairs against that of one.
GOAL = 1.3
#: When memory is looked at, as shares of the messages.
SHARES = (0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Day:
    """What one engine made of one day.

    Attributes:
        messages, bytes, cpu_seconds: behind the snapshots that the day begins with.
        cpu_seconds: of the engine alone, not of the making and sending.
        anon_bytes: anonymous memory of the process at each of `SHARES` of the day.
    """

    pairs: int
    messages: int
    bad: int
    bytes: int
    cpu_seconds: float
    anon_bytes: tuple[int, ...]

    @property
    def us_a_message(self) -> float:
        """Its cost in microseconds."""
        return self.cpu_seconds / self.messages * 1e6


def measure(pairs: int, messages: int, engine_name: str) -> Day:
    """Verify a day that another process makes."""
    engine = make_engine(EngineOptions(), engine_name)
    marks = [int(messages * share) for share in SHARES]
    cpu, line, offset, begin, anon = 0.0, 0, 0, None, []
    command = [sys.executable, "-m", "bench.scale.source", str(pairs), str(messages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        for block in _blocks(source.stdout):
            if begin is None and line >= pairs:
                begin = (line, offset)
            started = time.process_time()
            line += engine.feed(block, line, offset).lines
            offset += len(block)
            if begin is not None:
                cpu += time.process_time() - started
            while len(anon) < len(marks) and line >= marks[len(anon)]:
                anon.append(anon_bytes("self"))
    first_line, first_byte = begin or (0, 0)
    tallies = engine.tallies()
    bad = sum(tally.messages - tally.ok for tally in tallies)
    return Day(len(tallies), line - first_line, bad, offset - first_byte, cpu, tuple(anon))


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block + file.readline()


def _table(days: list[Day], engine: str) -> Table:
    one = days[0]
    table = Table(title=f"Verify a day at depth 100, {engine} engine, CPU of the engine", header_style="bold")
    headings = ("pairs", "messages", "not verified", "GB", "CPU s", "MB/s", "us a message", "times one pair")
    for heading in (*headings, *(f"MB at {share:.0%}" for share in SHARES)):
        table.add_column(heading, justify="right")
    for day in days:
        table.add_row(
            f"{day.pairs:,}",
            f"{day.messages:,}",
            f"{day.bad:,}",
            f"{day.bytes / 1e9:.1f}",
            f"{day.cpu_seconds:.1f}",
            f"{day.bytes / day.cpu_seconds / 1e6:,.0f}",
            f"{day.us_a_message:.2f}",
            f"{day.us_a_message / one.us_a_message:.2f}",
            *(f"{size / 1e6:.0f}" for size in day.anon_bytes),
        )
    table.add_section()
    table.add_row("goal", "", "0", "", "", "", "", f"{GOAL}", *["flat"] * len(SHARES), style="dim")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--pairs", type=int, default=700)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    days = []
    for pairs in (1, arguments.pairs):
        print(f"{pairs} pairs, {arguments.messages:,} messages", file=sys.stderr)
        days.append(measure(pairs, arguments.messages, arguments.engine))
    if arguments.json:
        print(json.dumps({"machine": describe_machine(), "days": [asdict(day) for day in days]}))
        return
    console = Console(width=None if Console().is_terminal else 160)
    console.print(describe_machine(), style="dim")
    console.print(_table(days, arguments.engine))


if __name__ == "__main__":
    main()
