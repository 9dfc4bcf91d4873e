"""The options that several commands share, and how options are declared."""

from __future__ import annotations

from typing import Any

import click

from kraken_l3.cli.command import Duration, FilePath

__all__ = [
    "AS_JSON",
    "CLUSTER",
    "CONFIG",
    "COUNT",
    "DEPTH",
    "DEPTHS",
    "DURATION",
    "ENGINE",
    "ENGINES",
    "FAULTS",
    "FAULT_LOG",
    "FAULT_SEED",
    "INSTRUMENTS",
    "LOW_PRIORITY",
    "PATH",
    "PLACE",
    "REDUNDANCY",
    "SHARE",
    "SUBSCRIBED_DEPTH",
    "SYMBOLS",
    "TIER",
    "flag",
    "one_of",
    "option",
]  # fmt: skip

PATH = FilePath()
PLACE = FilePath(urls=True)
COUNT = click.IntRange(min=1)
SHARE = click.FloatRange(min=0, max=1)


def option(*names: str, help: str, **attributes: Any) -> click.Option:
    """An option whose default, if it has one, is shown in the help."""
    return click.Option(names, help=help, show_default=attributes.get("default") is not None, **attributes)


def one_of(*values: str) -> Any:
    """For `shell_complete`: values that the shell offers. The command checks them, with a sentence of its own."""
    return lambda _context, _parameter, incomplete: [value for value in values if value.startswith(incomplete)]


def flag(*names: str, help: str) -> click.Option:
    """An option without a value."""
    return click.Option(names, help=help, is_flag=True, default=False)


CONFIG = option("--config", "-c", type=PATH, help="Configuration file (default: config.yaml here, if it exists).")
SYMBOLS = option("--symbols", help="Symbols, comma separated: BTC/USD,ETH/USD or '*/USD' or all.")
DEPTHS = one_of("10", "100", "1000")
DEPTH = option("--depth", type=int, help="Price levels a side: 10, 100 or 1000.", shell_complete=DEPTHS)
REDUNDANCY = option(
    "--redundancy",
    type=int,
    help="Connections that carry each symbol, 1 or 2. Default: 2 where Kraken's limits have room.",
    shell_complete=one_of("1", "2"),
)
TIER = option("--tier", help="Your Kraken account's tier: standard or pro.", shell_complete=one_of("standard", "pro"))
DURATION = option("--duration", type=Duration(), help="Stop after this time: 90 (seconds), 10m, 1h, 2d.")

LOW_PRIORITY = flag("--low-priority", help="Run at the lowest CPU priority.")
AS_JSON = flag("--json", "as_json", help="Print one JSON object (docs/cli.md) instead of text.")
FAULTS = option("--faults", type=PATH, help="Fault script (YAML), see docs/exchange.md.")
FAULT_LOG = option("--fault-log", type=PATH, help="Write every injected fault to this file, one JSON object a line.")
FAULT_SEED = option("--fault-seed", type=int, default=0, help="Seed of the faults that come by chance.")
ENGINES = one_of("auto", "native", "python")
ENGINE = option("--engine", default="auto", help="auto, native or python.", shell_complete=ENGINES)
INSTRUMENTS = option("--instruments", type=PATH, help="File of instrument channel messages, for precisions.")
CLUSTER = option("--cluster", help="Run the jobs on this Dask scheduler: tcp://host:8786.")
SUBSCRIBED_DEPTH = option(
    "--depth",
    type=int,
    help="Subscribed depth: 10, 100 or 1000 (default: from the journal).",
    shell_complete=DEPTHS,
)
