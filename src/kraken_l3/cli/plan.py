"""`kraken-l3 plan`: what a configuration needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Optional

from kraken_l3.app.symbols import CheckedSymbols, checked_symbols
from kraken_l3.cli.console import Screen, Table
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import read_settings
from kraken_l3.config.settings import Settings
from kraken_l3.protocol.budget import RATE_PER_S, SUBSCRIPTION_COST, SYMBOLS_PER_CONNECTION
from kraken_l3.protocol.plan import Plan, make_plan

__all__ = ["plan"]

BASIS = (
    "Measured: BTC/USD at depth 10 on a calm day, 17.8 KiB/s (2026-09-16). The upper figure assumes every symbol to be "
    "as busy, the lower one 2 % of that. Depth 100 and 1000 are assumed to be 3.2 and 6 times as much."
)


def plan(
    config: Optional[Path],
    symbols: Optional[str],
    depth: Optional[int],
    tier: Optional[str],
    redundancy: Optional[int],
    as_json: bool,
) -> None:
    """Run `kraken-l3 plan`."""
    settings = read_settings(config, symbols=symbols, depth=depth, tier=tier, redundancy=redundancy)
    meant = asyncio.run(checked_symbols(settings))
    result = make_plan(meant.names, settings.depth, settings.tier, settings.redundancy)
    if as_json:
        print_result(_as_dict(settings, meant, result))
    else:
        _print(settings, meant, result)


def _as_dict(settings: Settings, meant: CheckedSymbols, result: Plan) -> dict[str, Any]:
    return {
        "symbols": len(meant.names),
        "unchecked": meant.unchecked or None,
        "depth": settings.depth,
        "tier": settings.tier,
        "redundancy": result.redundancy,
        "connections": result.connections,
        "subscribe_s": round(result.subscribe_s, 1),
        "received_bytes_per_s": [round(part) for part in result.received_bytes_per_s],
        "disk_bytes_per_day": [round(part) for part in result.disk_bytes_per_day],
        "basis": BASIS,
    }


def _print(settings: Settings, meant: CheckedSymbols, result: Plan) -> None:
    low, high = (part / 1e9 for part in result.disk_bytes_per_day)
    cost, rate = SUBSCRIPTION_COST[settings.depth], RATE_PER_S[settings.tier]
    note = f"each takes {cost} of {rate} a second; 5 % stays in reserve"
    table = Table("", "amount", "note")
    table.add("symbols", f"{len(meant.names):,}", f"depth {settings.depth}")
    each = f"at most {SYMBOLS_PER_CONNECTION} symbols each"
    many = "; every symbol on two, so that a drop costs nothing" if result.redundancy == 2 else ""
    table.add("connections", f"{result.connections:,}", each + many)
    again = "; the second connections after that" if result.redundancy == 2 else ""
    table.add("time to subscribe", f"{result.subscribe_s:,.1f} s", note + again)
    slow, fast = (part / 1e6 for part in result.received_bytes_per_s)
    table.add("received", f"{slow:,.3f} to {fast:,.2f} MB/s", "on all level3 connections together, without TLS")
    table.add("disk a day", f"{low:,.2f} to {high:,.1f} GB", "uncompressed; zstd needs an eighth")
    screen = Screen()
    screen.table(table)
    if meant.unchecked:
        screen.line(f"The symbols were not compared with Kraken's list: {meant.unchecked}.", "yellow")
    screen.line(BASIS, "dim")
