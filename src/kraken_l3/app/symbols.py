"""Which pairs a configuration means, asked of Kraken's public list of instruments where that is needed."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from kraken_l3.capture.instruments import fetch_instruments
from kraken_l3.clock import SystemClock
from kraken_l3.config.settings import Settings
from kraken_l3.config.symbols import check_listed, expand, needs_instruments
from kraken_l3.errors import ConfigError, KrakenL3Error

__all__ = ["CheckedSymbols", "checked_symbols", "resolve_symbols"]

LARGEST_FETCH_WAIT_S = 60.0

log = structlog.get_logger("kraken_l3.recorder")


class CheckedSymbols(NamedTuple):
    """Pairs by name, and why they could not be compared with Kraken's list ("" if they were)."""

    names: list[str]
    unchecked: str = ""


async def resolve_symbols(settings: Settings) -> list[str]:
    """The pairs by name; asks Kraken's public endpoint, until it answers, only when there are patterns.

    Names stand for themselves: Kraken itself rejects those that it does not know, and may list them again later.

    Raises:
        ConfigError: there are none, or a pattern fits none.
    """
    _require_some(settings)
    if not needs_instruments(settings.symbols):
        return settings.symbols
    wait_s = 1.0
    while True:
        try:
            return expand(settings.symbols, await fetch_instruments(settings.public_ws_url, SystemClock()))
        except ConfigError:
            raise
        except KrakenL3Error as error:
            log.warning("no instrument list yet, needed for the patterns", error=str(error), retry_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, LARGEST_FETCH_WAIT_S)


async def checked_symbols(settings: Settings) -> CheckedSymbols:
    """The pairs by name, each compared with Kraken's list. Asks once.

    Raises:
        ConfigError: there are none, or Kraken does not list one.
        KrakenL3Error: the list did not come, and there are patterns, which mean nothing without it.
    """
    _require_some(settings)
    try:
        instruments = await fetch_instruments(settings.public_ws_url, SystemClock())
    except KrakenL3Error as error:
        if needs_instruments(settings.symbols):
            raise
        return CheckedSymbols(settings.symbols, str(error))
    names = expand(settings.symbols, instruments)
    check_listed(names, instruments)
    return CheckedSymbols(names)


def _require_some(settings: Settings) -> None:
    if not settings.symbols:
        raise ConfigError(
            "nothing to record", where="symbols", hint="Name pairs in config.yaml or KRAKEN_L3_SYMBOLS=BTC/USD,ETH/USD"
        )
