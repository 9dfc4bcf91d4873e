"""The archives that the benchmark reads, made once from the seeded generator and kept in bench/out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Union

from kraken_l3.exchange import flow

__all__ = ["WORKLOADS", "Workload", "archive_of"]

OUT = Path(__file__).parent.parent / "out"
HEARTBEAT = b'{"channel":"heartbeat"}\n'
MESSAGES_A_HEARTBEAT = 50
ODD_NUMBERS = 0.0005
WRITE_BYTES = 1 << 20
#: Of `Workload.is_rewritten`: one quantity in so many.
REWRITTEN_ONE_IN = 50
_QUANTITY = re.compile(rb'(?<="order_qty":)[0-9.]+')


class Workload(NamedTuple):
    """What to generate.

    `is_rewritten`: some quantities are written as programs write floats: `1e-05`, `0.5`.
    """

    name: str
    symbols: Union[int, list[str]]
    depth: int
    is_rewritten: bool = False

    @property
    def title(self) -> str:
        pairs = f"{self.symbols} pairs" if isinstance(self.symbols, int) else ", ".join(self.symbols)
        title = f"{pairs}, depth {self.depth}"
        return f"{title}, {100 // REWRITTEN_ONE_IN} % like 1e-05" if self.is_rewritten else title


WORKLOADS = (
    Workload("a", ["BTC/USD"], 10),
    Workload("b", ["BTC/USD"], 1000),
    Workload("d", ["BTC/USD"], 1000, is_rewritten=True),
    Workload("c", 50, 100),
)


def archive_of(workload: Workload, messages: int) -> Path:
    """The archive with so many level3 messages, heartbeats and odd numbers mixed in."""
    path = OUT / f"rebuild-{workload.name}-{messages}.ndjson"
    if not path.exists():
        OUT.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb", buffering=WRITE_BYTES) as file:
            lines = _lines(workload, messages)
            file.writelines(_rewritten(lines) if workload.is_rewritten else lines)
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


def _rewritten(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same numbers, written as `2e-2` and as Python writes floats (`0.02`, `1e-05`), turn and turn about."""
    count = 0

    def rewrite(found: re.Match[bytes]) -> bytes:
        nonlocal count
        count += 1
        if count % REWRITTEN_ONE_IN:
            return found[0]
        number = Decimal(found[0].decode()).normalize()
        return (f"{number:e}" if count % (2 * REWRITTEN_ONE_IN) else repr(float(number))).encode()

    return (_QUANTITY.sub(rewrite, line) for line in lines)
