"""Writes order flow to stdout, for the benchmark in another process: python -m bench.scale.source PAIRS MESSAGES."""

from __future__ import annotations

import sys
from itertools import islice

from kraken_l3.exchange.flow import generate

DEPTH = 100
LINES_A_WRITE = 4_096


def main() -> None:
    """Shares of the pairs are those of `flow.popularity`: the n-th trades 1/n as much as the first."""
    pairs, messages = map(int, sys.argv[1:])
    lines = generate(symbols=pairs, depth=DEPTH, messages=messages, seed=2026)
    while batch := list(islice(lines, LINES_A_WRITE)):
        sys.stdout.buffer.write(b"\n".join(batch) + b"\n")


if __name__ == "__main__":
    main()
