"""`kraken-l3 audit`: what was recorded against Kraken's REST API."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Optional

from kraken_l3.app.auditing import BookReport, audit_books
from kraken_l3.audit.books import AGREES, DIFFERS, BookAudit
from kraken_l3.cli.console import Screen, Table
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import read_settings, warn_of_engine
from kraken_l3.config.settings import Settings
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["audit"]

_NS_PER_MS = 1_000_000
_WORDS = {AGREES: "agrees", DIFFERS: "differs"}


def audit(
    config: Optional[Path],
    symbols: Optional[str],
    output_dir: Optional[Path],
    every: Optional[float],
    as_json: bool,
    engine: str,
) -> int:
    """Run `kraken-l3 audit`; gives its exit code back."""
    settings = read_settings(config, symbols=symbols, output_dir=output_dir)
    warn_of_engine(engine)
    report = asyncio.run(_audit_books(settings, every, engine, quiet=as_json))
    if as_json:
        return print_result(report, report.exit_code())
    if report.rounds > 1:
        counts = f"{report.agree:,} agree, {report.differ:,} differ, {report.not_compared:,} not compared"
        Screen().line(f"{report.rounds:,} rounds: {counts}")
    return report.exit_code()


async def _audit_books(settings: Settings, every: Optional[float], engine: str, *, quiet: bool) -> BookReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if every is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            if sys.platform == "win32":
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
            else:
                loop.add_signal_handler(number, stop.set)
    return await audit_books(
        settings, (lambda _: None) if quiet else _print_round, stop, every_s=every, engine_name=engine
    )


def _print_round(audits: list[BookAudit]) -> None:
    screen = Screen()
    table = Table("symbol", "book", ">levels", ">orders", ">messages around", ">apart, ms", "why")
    for each in audits:
        apart = f"{(each.matched_ns - each.at_ns) / _NS_PER_MS:+,.0f}" if each.matched_ns is not None else ""
        why = each.reason
        if each.outcome == DIFFERS:
            differing = f"{each.differing:,} orders on {each.levels:,} levels differ at best"
            why = f"{differing}; {why}" if why else differing
        style = {AGREES: "", DIFFERS: "red"}.get(each.outcome, "yellow")
        word = _WORDS.get(each.outcome, "not compared")
        depth = str(each.depth or "")
        table.add(each.symbol, word, depth, f"{each.orders:,}", f"{each.messages:,}", apart, why, style=style)
    if audits:
        screen.line(format_rfc3339(audits[0].at_ns))
    screen.table(table)
    for each in audits:
        if each.differences:
            screen.table(_differences(each))


def _differences(audit: BookAudit) -> Table:
    table = Table(
        "side",
        "order",
        ">REST price",
        ">recorded price",
        ">REST qty",
        ">recorded qty",
        title=f"{audit.symbol}: the first {len(audit.differences):,} of {audit.differing:,} orders that differ",
    )
    for each in audit.differences:
        prices = (each.rest_price or "none", each.recorded_price or "none")
        table.add(each.side, each.order_id, *prices, each.rest_qty or "none", each.recorded_qty or "none")
    return table
