"""Command-line options that several commands share, and the settings they are merged into."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from kraken_l3.cli.console import plain
from kraken_l3.config.settings import Settings, load_settings

__all__ = ["Config", "Depth", "Symbols", "Tier", "read_settings"]

Config = Annotated[
    Optional[Path], typer.Option("--config", "-c", help="Configuration file (default: config.yaml here, if it exists).")
]
Symbols = Annotated[
    Optional[str], typer.Option("--symbols", help="Symbols, comma separated: BTC/USD,ETH/USD or '*/USD' or all.")
]
Depth = Annotated[Optional[int], typer.Option("--depth", help="Price levels a side: 10, 100 or 1000.")]
Tier = Annotated[Optional[str], typer.Option("--tier", help="Your Kraken account's tier: standard or pro.")]


def read_settings(config: Optional[Path], **flags: Any) -> Settings:
    """The settings. Warnings go to stderr."""
    settings, warnings = load_settings(config, flags)
    for warning in warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    return settings
