"""`kraken-l3 plan`: what the configuration will need."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kraken_l3.app.recorder import resolve_symbols
from kraken_l3.cli.options import Config, Depth, Symbols, Tier, read_settings
from kraken_l3.config.settings import Settings
from kraken_l3.protocol.budget import RATE_PER_S, SUBSCRIPTION_COST, SYMBOLS_PER_CONNECTION
from kraken_l3.protocol.plan import Plan, make_plan

__all__ = ["plan"]

BASIS = (
    "From BTC/USD at depth 10 on a calm day (17.8 KiB/s, measured 2026-09-16): the upper figure is every pair "
    "as busy as that, the lower one is 2 % of it. Depth 100 and 1000 are counted 3.2 and 6 times; neither was measured."
)


def plan(
    config: Config = None,
    symbols: Symbols = None,
    depth: Depth = None,
    tier: Tier = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how many connections a configuration needs, how long subscribing takes, and how much disk a day."""
    settings = read_settings(config, symbols=symbols, depth=depth, tier=tier)
    names = asyncio.run(resolve_symbols(settings))
    result = make_plan(names, settings.depth, settings.tier)
    facts = _facts(settings, names, result)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _print(settings, result, facts)


def _facts(settings: Settings, names: list[str], result: Plan) -> dict[str, Any]:
    return {
        "symbols": len(names),
        "depth": settings.depth,
        "tier": settings.tier,
        "connections": len(result.shards),
        "subscribe_s": round(result.subscribe_s, 1),
        "disk_bytes_per_day": [round(part) for part in result.disk_bytes_per_day],
        "basis": BASIS,
    }


def _print(settings: Settings, result: Plan, facts: dict[str, Any]) -> None:
    low, high = (part / 1e9 for part in result.disk_bytes_per_day)
    cost, rate = SUBSCRIPTION_COST[settings.depth], RATE_PER_S[settings.tier]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("symbols", f"{facts['symbols']:,}", f"depth {settings.depth}")
    table.add_row("connections", f"{facts['connections']:,}", f"at most {SYMBOLS_PER_CONNECTION} symbols each")
    table.add_row(
        "subscribing takes", f"{result.subscribe_s:,.1f} s", f"{cost} of {rate} a second for each, 5 % kept back"
    )
    table.add_row("disk a day", f"{low:,.2f} to {high:,.1f} GB", "uncompressed; zstd takes an eighth of it")
    console = Console()
    console.print(table)
    console.print(BASIS, style="dim")
