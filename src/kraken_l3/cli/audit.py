"""`kraken-l3 audit`: what was recorded against Kraken's REST API."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Optional, Union

from kraken_l3.app.auditing import BookReport, TradeReport, audit_books, audit_trades
from kraken_l3.audit.books import AGREES, DIFFERS, BookAudit
from kraken_l3.audit.trades import HoleAudit
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
    trades: bool,
    every: Optional[float],
    as_json: bool,
    engine: str,
) -> int:
    """Run `kraken-l3 audit`; gives its exit code back."""
    settings = read_settings(config, symbols=symbols, output_dir=output_dir)
    warn_of_engine(engine)
    report: Union[BookReport, TradeReport]
    if trades:
        report = asyncio.run(_audit_trades(settings, every, quiet=as_json))
    else:
        report = asyncio.run(_audit_books(settings, every, engine, quiet=as_json))
    if as_json:
        return print_result(report, report.exit_code())
    if report.rounds > 1 and isinstance(report, BookReport):
        counts = f"{report.agree:,} agree, {report.differ:,} differ, {report.not_compared:,} not compared"
        Screen().line(f"{report.rounds:,} rounds: {counts}")
    return report.exit_code()


def _stopping(every: Optional[float]) -> asyncio.Event:
    """Set by Ctrl+C and SIGTERM where audits go on until then."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM) if every is not None else ():
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    return stop


async def _audit_books(settings: Settings, every: Optional[float], engine: str, *, quiet: bool) -> BookReport:
    on_round = _say_nothing if quiet else _print_round
    return await audit_books(settings, on_round, _stopping(every), every_s=every, engine_name=engine)


async def _audit_trades(settings: Settings, every: Optional[float], *, quiet: bool) -> TradeReport:
    return await audit_trades(settings, _say_nothing if quiet else _print_holes, _stopping(every), every_s=every)


def _say_nothing(_found: object) -> None:
    """With --json the result comes at the end."""


def _print_holes(holes: list[HoleAudit]) -> None:
    screen = Screen()
    table = Table("symbol", ">after id", ">before id", ">filled", ">missing", "why")
    for each in holes:
        around = (str(each.last_id), str(each.next_id))
        style = "red" if each.contradicts else "yellow" if each.missing else ""
        table.add(each.symbol, *around, f"{each.filled:,}", f"{each.missing:,}", each.reason, style=style)
    if holes:
        screen.table(table)
    else:
        screen.line("No trade is missing.", "bold green")


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
