"""An archive of made-up trading, for examples and tests of one's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

from kraken_l3.api.archive import Archive, open_for_research
from kraken_l3.api.arguments import Moment, count, duration_ns, moment_ns
from kraken_l3.errors import UsageError, did_you_mean
from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.written import DEFAULT_START_NS, MOST_GAPS, write_archive

__all__ = ["simulate"]


def simulate(
    path: Union[str, Path],
    duration: str = "1h",
    *,
    symbols: Union[str, list[str], tuple[str, ...]] = ("BTC/USD", "ETH/USD"),
    depth: int = 10,
    rate: float = 50.0,
    seed: int = 0,
    start: Optional[Moment] = None,
    gaps: int = 0,
) -> Archive:
    """Write an archive of made-up trading, as a recorder would have written it, and open it.

    It has level3 messages with right checksums, trades, instruments, receipts, a journal and checkpoints. The same
    arguments give the same data. `kraken-l3 simulate --write` does the same.

    Args:
        path: a directory that is new or empty.
        duration: length of the recording: "10m", "1h". An hour takes seconds.
        symbols: pairs that the embedded exchange lists (docs/exchange.md).
        depth: price levels a side: 10, 100 or 1000.
        rate: level3 messages a second over all symbols.
        seed: the same seed makes the same trading.
        start: when the recording begins (default: 2026-01-02T12:00:00Z).
        gaps: how often the connection is lost, evenly spread.

    Raises:
        UsageError: the directory is not empty, or an argument is out of its range.
    """
    names = [symbols] if isinstance(symbols, str) else list(symbols)
    try:
        listing(names)
    except KeyError as error:
        known = [pair.symbol for pair in listing()]
        hint = did_you_mean(str(error.args[0]), known) or f"There are {', '.join(known)}"
        raise UsageError(f"unknown pair {error.args[0]}", where="symbols", hint=hint) from None
    write_archive(
        Path(path),
        duration_ns=duration_ns(duration),
        symbols=names,
        depth=depth,
        rate=rate,
        seed=seed,
        start_ns=DEFAULT_START_NS if start is None else moment_ns(start, "start"),
        gaps=count(gaps, "gaps", least=0, most=MOST_GAPS),
    )
    return open_for_research(path)
