"""`kraken-l3 record`: record until stopped."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from kraken_l3.app.monitored import record_monitored
from kraken_l3.cli.options import Config, Depth, Symbols, Tier, read_settings
from kraken_l3.config.settings import Settings
from kraken_l3.telemetry import configure_logging

__all__ = ["record"]


def record(
    config: Config = None,
    symbols: Symbols = None,
    depth: Depth = None,
    output_dir: Annotated[Optional[Path], typer.Option("--output-dir", "-o", help="Directory of the archive.")] = None,
    trades: Annotated[Optional[bool], typer.Option("--trades/--no-trades", help="Also record public trades.")] = None,
    tier: Tier = None,
    duration: Annotated[
        Optional[float], typer.Option("--duration", min=0.1, help="Stop after this many seconds.")
    ] = None,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Show the live table on a terminal.")] = True,
) -> None:
    """Record Kraken's level3 channel, byte for byte, until Ctrl+C, SIGTERM or hangup.

    Settings come from config.yaml, then the environment (KRAKEN_API_KEY, KRAKEN_API_SECRET, KRAKEN_L3_SYMBOLS,
    KRAKEN_L3_OUTPUT_DIR and every other key as KRAKEN_L3_<KEY>), then these options. Exit codes: 0 stopped cleanly,
    1 configuration, 3 nothing was recorded, 4 refused by Kraken, 5 a fault of this machine.
    """
    settings = read_settings(config, symbols=symbols, depth=depth, output_dir=output_dir, trades=trades, tier=tier)
    configure_logging()
    asyncio.run(_record(settings, duration, table))


async def _record(settings: Settings, duration: Optional[float], table: bool) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    if duration is not None:
        asyncio.get_running_loop().call_later(duration, stop.set)
    await record_monitored(settings, stop, table=table)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # the terminal was closed, and the recorder does not run under nohup
    for number in numbers:
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
