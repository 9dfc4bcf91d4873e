"""The three archives that the benchmark reads, made once from the seeded generator and kept in bench/out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Union

from kraken_l3.exchange import flow

__all__ = ["WORKLOADS", "Workload", "archive_of"]

OUT = Path(__file__).parent.parent / "out"
HEARTBEAT = b'{"channel":"heartbeat"}\n'
MESSAGES_A_HEARTBEAT = 50
ODD_NUMBERS = 0.0005
WRITE_BYTES = 1 << 20


class Workload(NamedTuple):
    """What to generate."""

    name: str
    symbols: Union[int, list[str]]
    depth: int

    @property
    def title(self) -> str:
        pairs = f"{self.symbols} pairs" if isinstance(self.symbols, int) else ", ".join(self.symbols)
        return f"{pairs}, depth {self.depth}"


WORKLOADS = (
    Workload("a", ["BTC/USD"], 10),
    Workload("b", ["BTC/USD"], 1000),
    Workload("c", 50, 100),
)


def archive_of(workload: Workload, messages: int) -> Path:
    """The archive with so many level3 messages, heartbeats and odd numbers mixed in."""
    path = OUT / f"rebuild-{workload.name}-{messages}.ndjson"
    if not path.exists():
        OUT.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb", buffering=WRITE_BYTES) as file:
            file.writelines(_lines(workload, messages))
        part.rename(path)
    return path


def _lines(workload: Workload, messages: int) -> Iterator[bytes]:
    flowing = flow.generate(
        symbols=workload.symbols, depth=workload.depth, messages=messages, seed=2026, odd_numbers=ODD_NUMBERS
    )
    for number, line in enumerate(flowing, 1):
        yield line + b"\n"
        if number % MESSAGES_A_HEARTBEAT == 0:
            yield HEARTBEAT
