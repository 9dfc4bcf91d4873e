"""All checks together: what depends on nothing first, then the network at once, then the disk by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.app.doctor.beside import check_port, check_upload
from kraken_l3.app.doctor.finding import Finding, bad, bounded, failed, good, in_thread, skipped, warning
from kraken_l3.app.doctor.machine import (
    check_clock,
    check_disk,
    check_limits,
    check_service,
    check_versions,
)
from kraken_l3.app.doctor.network import check_key, check_level3, check_public, check_rest
from kraken_l3.app.symbols import checked_symbols
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import DEFAULT_CONFIG, Settings, load_settings, require_key
from kraken_l3.config.symbols import needs_instruments
from kraken_l3.errors import ConfigError
from kraken_l3.model.address import parse_address
from kraken_l3.monitor.clock_sync import read_clock_status
from kraken_l3.monitor.status import ClockStatus
from kraken_l3.protocol.plan import make_plan

__all__ = ["examine"]

#: Of each check; those of the network run at the same time.
LIMIT_S = 15.0


async def examine(
    config: Optional[Path],
    *,
    limit_s: float = LIMIT_S,
    clock: Optional[Clock] = None,
    kernel: Callable[[], ClockStatus] = read_clock_status,
) -> list[Finding]:
    """What is right and wrong for a recorder with this configuration on this machine.

    Args:
        config: its file; None for config.yaml here, if it exists.
        limit_s: seconds after which a check is given up.
        clock: both clocks.
        kernel: what the kernel knows of the wall clock.
    """
    settings, findings = _configuration(config)
    findings += check_versions() + check_clock(kernel())
    if settings is None:
        return [*findings, skipped("network", "needs a configuration that can be read")]
    names = settings.symbols
    if findings[0].state != "bad":
        names, found = await _network(settings, clock or SystemClock(), limit_s)
        findings += found
    plan = make_plan(names, settings.depth, settings.tier, settings.redundancy)
    findings += await bounded("disk", in_thread(lambda: check_disk(settings.output_dir, plan)), limit_s)
    findings += await _beside(settings, limit_s)
    return findings + check_limits(plan.connections) + await bounded("service", in_thread(check_service), limit_s)


async def _beside(settings: Settings, limit_s: float) -> list[Finding]:
    findings = []
    for key, address in (("http", settings.http), ("relay", settings.relay)):
        if address:
            findings += await bounded(key, check_port(key, parse_address(address), settings.output_dir), limit_s)
    if settings.upload:
        work = in_thread(lambda: check_upload(settings.upload, settings.output_dir))
        findings += await bounded("upload", work, limit_s)
    return findings


def _configuration(config: Optional[Path]) -> tuple[Optional[Settings], list[Finding]]:
    """The settings, unless they cannot be read. The first finding says whether a recorder would start with them."""
    try:
        settings, warnings = load_settings(config)
    except ConfigError as error:
        return None, [failed("configuration", error)]
    found = [warning("configuration", *_split(text)) for text in warnings]
    if not settings.symbols:
        return settings, [bad("configuration", "symbols: nothing to record", "Name pairs, such as BTC/USD", 1), *found]
    try:
        require_key(settings)
    except ConfigError as error:
        return settings, [failed("configuration", error), *found]
    source = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else "the environment")
    what = f"{source}: {', '.join(settings.symbols[:3])}{'...' if len(settings.symbols) > 3 else ''}"
    return settings, [good("configuration", f"{what} at depth {settings.depth} into {settings.output_dir}"), *found]


def _split(text: str) -> tuple[str, str]:
    what, _, remedy = text.partition(". ")
    return what, remedy or "Remove it, or correct its name"


async def _network(settings: Settings, clock: Clock, limit_s: float) -> tuple[list[str], list[Finding]]:
    """The symbols by name, and what was found."""
    names = list(settings.symbols)

    async def symbols() -> list[Finding]:
        nonlocal names
        names, unchecked = await checked_symbols(settings)
        if unchecked:
            return [skipped("symbols", f"not compared with Kraken's list: {unchecked}")]
        return [good("symbols", f"Kraken lists all {len(names):,}")]

    rest, public, listed = await asyncio.gather(
        bounded("rest", check_rest(settings, clock), limit_s),
        bounded("public websocket", check_public(settings, clock), limit_s),
        bounded("symbols", symbols(), limit_s),
    )
    if public[0].state == "bad":
        listed = [skipped("symbols", "Kraken's list comes by the public websocket")]
    if len(public) > 1 and public[1].state != "skipped":
        rest = rest[:1]  # its clock has whole seconds
    if rest[0].state == "bad":
        key = [skipped("key", "REST is needed for it"), skipped("level3", "a token is needed for it")]
    else:
        key = await _key_and_level3(settings, clock, names, limit_s)
    return names, [*rest, *public, *listed, *key]


async def _key_and_level3(settings: Settings, clock: Clock, names: list[str], limit_s: float) -> list[Finding]:
    token = ""

    async def key() -> list[Finding]:
        nonlocal token
        token, findings = await check_key(settings, clock)
        return findings

    found = await bounded("key", key(), limit_s)
    if not token:
        return [*found, skipped("level3", "a token is needed for it")]
    if needs_instruments(names):
        return [*found, skipped("level3", "needs a symbol's name, and Kraken's list did not come")]
    return found + await bounded("level3", check_level3(settings, clock, names[0], token), limit_s)
