"""Builds an audit from the configuration and runs it, once or again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import msgspec

from kraken_l3.archive.audit_files import AuditFiles
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.reader import open_archive
from kraken_l3.audit.books import AGREES, DIFFERS, WINDOW_NS, BookAudit, BookAudits, depths_in
from kraken_l3.audit.calls import Level3Calls, Pace
from kraken_l3.audit.trades import HoleAudit, TradeAudits, holes_in
from kraken_l3.capture.credentials import KeyMemory, state_directory
from kraken_l3.capture.private_rest import TIMEOUT_S, PrivateRest, get_public
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import Settings, require_audit_key
from kraken_l3.config.symbols import is_pattern
from kraken_l3.errors import ConfigError, DamageFound, DataMissing, did_you_mean
from kraken_l3.model.timestamps import day_of

__all__ = ["BookReport", "TradeReport", "audit_books", "audit_trades", "audited_symbols"]

#: A book of 1,000 levels has some thousands of orders of about 120 bytes.
_ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
SETTLE_S = 2.0
#: Kraken's public calls are counted by address and pair, about one a second.
PUBLIC_SPACING_S = 1.0


class BookReport(msgspec.Struct):
    """What all audits of a run found.

    Attributes:
        rounds: how often the pairs were audited.
        agree, differ, not_compared: audits by their outcome.
        last: those of the last round.
    """

    rounds: int = 0
    agree: int = 0
    differ: int = 0
    not_compared: int = 0
    last: list[BookAudit] = []

    def add(self, audits: list[BookAudit]) -> None:
        """One more round."""
        self.rounds += 1
        agree, differ = (sum(each.outcome == outcome for each in audits) for outcome in (AGREES, DIFFERS))
        self.agree += agree
        self.differ += differ
        self.not_compared += len(audits) - agree - differ
        self.last = audits

    def exit_code(self) -> int:
        """0: all agree; 2: one differs; 3: one was not compared."""
        return DamageFound.exit_code if self.differ else DataMissing.exit_code if self.not_compared else 0


def audited_symbols(settings: Settings) -> list[str]:
    """The pairs by name: patterns, and no symbols at all, mean those that the archive has subscriptions of.

    Raises:
        ConfigError: there are none.
        UsageError: there is no archive.
    """
    archive = open_archive(settings.output_dir)
    recorded = sorted(depths_in(archive))
    if not recorded:
        raise ConfigError(
            "nothing was recorded there that an audit could compare",
            where=str(settings.output_dir),
            hint="Give the output_dir of a running recorder",
        )
    found: list[str] = []
    for symbol in settings.symbols or ["all"]:
        fitting = [name for name in recorded if _is_meant(name, [symbol])]
        if not fitting and is_pattern(symbol):
            raise ConfigError(
                f"{symbol!r} fits none of the {len(recorded):,} recorded pairs",
                where="symbols",
                hint=did_you_mean(symbol, recorded),
            )
        found += fitting or [symbol]
    return list(dict.fromkeys(found))


async def audit_books(
    settings: Settings,
    on_round: Callable[[list[BookAudit]], None],
    stop: asyncio.Event,
    *,
    every_s: Optional[float] = None,
    clock: Optional[Clock] = None,
    pace: Optional[Pace] = None,
    window_ns: int = WINDOW_NS,
    timeout_s: float = TIMEOUT_S,
    settle_s: float = SETTLE_S,
    engine_name: str = "auto",
) -> BookReport:
    """Compare recorded books with those of Kraken's REST API, and note what was found beside the archive.

    Args:
        settings: which pairs, which archive, and Kraken's address. The key is the audit's own, from the environment.
        on_round: told of each round.
        stop: ends the run after the round that is under way.
        every_s: from the beginning of a round to that of the next; None: there is one.
        clock: the machine's, but in tests.
        pace: of the calls; likewise.
        window_ns: how long around a call the books may become the same; likewise.
        timeout_s: how long an answer may take; likewise.
        settle_s: how long a line may take into its file, beyond the recorder's own interval; likewise.
        engine_name: see `engine.choose`.

    Raises:
        ConfigError: the key is missing, or the recorder's; the symbols cannot work.
        RefusedByKraken: the key is refused.
        ArchiveLocked: another audit writes there.
    """
    clock = clock or SystemClock()
    key, secret = require_audit_key(settings)
    symbols = audited_symbols(settings)
    client = PrivateRest(
        settings.rest_url,
        key,
        secret,
        KeyMemory(state_directory(), key),
        clock,
        timeout_s=timeout_s,
        limit_bytes=_ANSWER_LIMIT_BYTES,
    )
    audits = BookAudits(
        settings.output_dir,
        Level3Calls(client, clock, pace or Pace()),
        clock,
        settle_s=settings.flush_interval_s + settle_s,
        window_ns=window_ns,
        engine_name=engine_name,
    )
    report = BookReport()

    async def audit_once() -> None:
        found = await audits.audit(symbols)
        report.add(found)
        _note(files, settings, found)
        on_round(found)

    with AuditFiles(settings.output_dir) as files:
        await _repeat(audit_once, stop, every_s)
    return report


def _note(files: AuditFiles, settings: Settings, found: Sequence[BookAudit]) -> None:
    by_day: dict[Path, list[BookAudit]] = {}
    for each in found:
        by_day.setdefault(DayPaths(settings.output_dir, day_of(each.at_ns)).audits, []).append(each)
    for path, audits in by_day.items():
        files.append(path, audits)


class TradeReport(msgspec.Struct):
    """What became of the holes in trade ids.

    Attributes:
        rounds: how often they were looked for.
        filled: how many trades were filled, in all rounds.
        missing: how many were missing after the last round.
        holes: those of the last round.
    """

    rounds: int = 0
    filled: int = 0
    missing: int = 0
    holes: list[HoleAudit] = []

    def add(self, holes: list[HoleAudit]) -> None:
        """One more round."""
        self.rounds += 1
        self.filled += sum(hole.filled for hole in holes)
        self.missing = sum(hole.missing for hole in holes)
        self.holes = holes

    def exit_code(self) -> int:
        """0: nothing is missing; 2: REST contradicts what was recorded; 3: some is missing."""
        if any(hole.contradicts for hole in self.holes):
            return DamageFound.exit_code
        return DataMissing.exit_code if self.missing else 0


async def audit_trades(
    settings: Settings,
    on_round: Callable[[list[HoleAudit]], None],
    stop: asyncio.Event,
    *,
    every_s: Optional[float] = None,
    clock: Optional[Clock] = None,
    pace: Optional[Pace] = None,
) -> TradeReport:
    """Look for holes in the recorded trade ids, and fill them from Kraken's public REST API. Needs no key.

    Args:
        settings: which pairs (none: all that were recorded), which archive, and Kraken's address.
        on_round: told of each round.
        stop: ends the run after the round that is under way.
        every_s: see `audit_books`.
        clock: likewise.
        pace: likewise.

    Raises:
        DataMissing: no trades were recorded.
        DamageFound: a trade file cannot be read to its end.
        ArchiveLocked: another audit writes there.
    """
    archive = open_archive(settings.output_dir)
    if not archive.files(Stream.TRADE):
        hint = "Record with `trades: true`"
        raise DataMissing("no trades were recorded there", where=str(settings.output_dir), hint=hint)
    report = TradeReport()
    pace = pace or Pace(PUBLIC_SPACING_S)

    async def audit_once() -> None:
        holes = await asyncio.to_thread(holes_in, archive)
        audits = TradeAudits(archive, partial(get_public, settings.rest_url), files, clock or SystemClock(), pace)
        wanted = [hole for hole in holes if _is_meant(hole.after.symbol, settings.symbols)]
        report.add([await audits.fill(hole) for hole in wanted])
        on_round(report.holes)

    with AuditFiles(settings.output_dir) as files:
        await _repeat(audit_once, stop, every_s)
    return report


def _is_meant(symbol: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(pattern == "all" or fnmatchcase(symbol, pattern) for pattern in patterns)


async def _repeat(once: Callable[[], Awaitable[None]], stop: asyncio.Event, every_s: Optional[float]) -> None:
    """Do something once or, with `every_s`, at this interval until `stop` is set; what is under way ends first."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not stop.is_set():
        await once()
        if every_s is None:
            return
        due = max(due + every_s, loop.time())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), due - loop.time())
