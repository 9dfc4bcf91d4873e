"""How many messages a second each engine rebuilds and verifies, on one core, from memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import Engine, EngineOptions, RowOptions

__all__ = ["VARIANTS", "Speed", "Variant", "measure", "split_speed"]

BLOCK_BYTES = 4 << 20
PYTHON_BYTES = 40_000_000


@dataclass(frozen=True)
class Variant:
    """An engine and what it is asked for."""

    title: str
    engine: str
    options: EngineOptions
    runs: int = 5


VARIANTS = (
    Variant("native: verify", "native", EngineOptions()),
    Variant("native: verify, verdict of every message", "native", EngineOptions(messages=True)),
    Variant("native: verify, order events", "native", EngineOptions(messages=True, events=True)),
    Variant("native: verify, 10 levels at every change", "native", EngineOptions(rows=RowOptions(10))),
    Variant("python: verify", "python", EngineOptions(), runs=1),
)


@dataclass(frozen=True)
class Speed:
    """Messages and bytes a second; `checked` tells whether every checksum agreed."""

    messages: float
    bytes: float
    checked: bool

    @property
    def ns_a_message(self) -> float:
        """Its cost."""
        return 1e9 / self.messages


def blocks_of(path: Path, limit: int) -> list[bytes]:
    """The file in blocks of whole lines, in memory."""
    blocks = []
    with path.open("rb") as file:
        while limit > 0 and (block := file.read(BLOCK_BYTES)):
            block += file.readline()
            blocks.append(block)
            limit -= len(block)
    return blocks


def measure(variant: Variant, path: Path) -> Speed:
    """The median of some runs."""
    blocks = blocks_of(path, PYTHON_BYTES if variant.engine == "python" else 1 << 62)
    timed = [_run(variant, blocks) for _ in range(variant.runs)]
    seconds = median(seconds for seconds, _ in timed)
    tallies = timed[0][1].tallies()
    messages = sum(tally.messages for tally in tallies)
    checked = messages > 0 and all(tally.ok == tally.messages for tally in tallies)
    return Speed(messages / seconds, sum(map(len, blocks)) / seconds, checked)


def _run(variant: Variant, blocks: list[bytes]) -> tuple[float, Engine]:
    engine = make_engine(variant.options, variant.engine)
    start = time.process_time()  # the engines wait for nothing: this is the wall clock of a quiet machine
    for block, first, offset in _placed(blocks):
        engine.feed(block, first, offset)
    return time.process_time() - start, engine


def _placed(blocks: list[bytes]) -> Iterator[tuple[bytes, int, int]]:
    offset = 0
    for number, block in enumerate(blocks):
        yield block, number, offset  # what the first line is called costs nothing either way
        offset += len(block)


def split_speed(path: Path) -> Speed:
    """The floor: finding the line ends, one after the other with memchr, and nothing else."""
    blocks = blocks_of(path, 1 << 62)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        lines = sum(_count_lines(block) for block in blocks)
        seconds.append(time.process_time() - start)
    return Speed(lines / median(seconds), sum(map(len, blocks)) / median(seconds), checked=True)


def _count_lines(block: bytes) -> int:
    try:
        from kraken_l3_native import count_lines
    except ImportError:
        return block.count(b"\n")
    return int(count_lines(block))
