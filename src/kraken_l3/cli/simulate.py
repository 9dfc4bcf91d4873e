"""`kraken-l3 simulate`: an exchange on this machine that speaks Kraken's protocol, for any client in any language; or,
with `--write`, an archive of its trading.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Optional, Union

import click

from kraken_l3.api.arguments import moment_ns
from kraken_l3.cli.serving import ServerOptions, refuse_options, serve
from kraken_l3.errors import UsageError
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.flow.market import UNSORTED_ADDS
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.server import Exchange
from kraken_l3.exchange.written import DEFAULT_START_NS, write_archive
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339
from kraken_l3.telemetry import configure_logging, get_logger

__all__ = ["simulate"]

log = get_logger("kraken_l3.exchange")


#: What only one of the two ways of simulating knows.
_OF_SERVER = (*ServerOptions._fields, "tier")
_OF_ARCHIVE = ("depth", "start", "gaps")
_DEFAULT_WRITE_S = 3_600.0


def simulate(
    write: Optional[Path],
    depth: Optional[int],
    start: Optional[str],
    gaps: Optional[int],
    symbols: str,
    rate: float,
    seed: int,
    tier: str,
    odd_numbers: float,
    unsorted_adds: Optional[float],
    duration: Optional[float],
    **server: Any,
) -> None:
    """Run `kraken-l3 simulate`."""
    if write is not None:
        refuse_options(_OF_SERVER, "with --write")
    else:
        refuse_options(_OF_ARCHIVE, "without --write")
    unsorted_adds = UNSORTED_ADDS if unsorted_adds is None else unsorted_adds
    if write is not None:
        start_ns = DEFAULT_START_NS if start is None else moment_ns(start, "--start")
        duration_ns = int((duration or _DEFAULT_WRITE_S) * NS_PER_S)
        _write(
            write,
            duration_ns=duration_ns,
            symbols=_symbols(symbols),
            depth=10 if depth is None else depth,
            rate=rate,
            seed=seed,
            start_ns=start_ns,
            gaps=gaps or 0,
            odd_numbers=odd_numbers,
            unsorted_adds=unsorted_adds,
        )
        return
    arguments = ServerOptions(**server).arguments()
    if not rate >= 0:  # nan too
        raise UsageError(f"--rate must be 0 or more, got {rate}")
    try:
        limits = Limits.of_tier(tier)
    except KeyError as error:
        raise UsageError(f"--tier must be standard or pro, got {tier}") from error
    configure_logging()
    flow = OrderFlow(
        _symbols(symbols),
        rate=rate,
        seed=seed,
        odd_numbers=odd_numbers,
        unsorted_adds=unsorted_adds,
        now_ns=arguments["clock"].wall_ns(),
    )
    asyncio.run(serve(Exchange(flow, limits=limits, **arguments), duration))


def _write(directory: Path, **how: Any) -> None:
    began, cpu_began = time.perf_counter(), time.process_time()
    written = write_archive(directory, **how)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    lines = written.level3 + written.trade
    click.echo(
        f"{directory}: {written.level3:,} level3 messages and {written.trade:,} trade messages, "
        f"{format_rfc3339(written.start_ns)[:19]} to {format_rfc3339(written.end_ns)[:19]} UTC"
    )
    click.echo(f"{lines / max(cpu_s, 1e-9):,.0f} lines/s of CPU time, {seconds:.1f} s in all", err=True)


def _symbols(text: str) -> Union[int, list[str]]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or text == "0":
        raise UsageError(f"--symbols must name at least one pair, got {text!r}")
    if text.isdigit():
        return int(text)
    try:
        listing(names)
    except KeyError as error:
        known = ", ".join(pair.symbol for pair in listing())
        raise UsageError(
            f"--symbols: unknown pair {error.args[0]}",
            hint=f"Known pairs: {known}, S001/USD, S002/USD ...; or give a number of pairs",
        ) from error
    return names
