"""The audit of trades: holes in their ids, filled from Kraken's REST API where its ids prove to be the same ones.

The recorder journals a hole when the next trade comes (`trade_gap`); here all recorded trades are read, whatever the
journal says. What was filled goes to a file of its own and never among the recorded trades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable
from itertools import groupby
from typing import Any, Callable, Optional, Union

import msgspec

from kraken_l3.archive.audit_files import AuditFiles, read_lines
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.audit.calls import Pace, answered
from kraken_l3.audit.rest_trades import TRADES_PATH, TradePage, read_trade_page
from kraken_l3.audit.trade_holes import Hole, TradeIds
from kraken_l3.capture.private_rest import Answer
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.decimals import exact
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.messages import Trade
from kraken_l3.model.timestamps import day_of
from kraken_l3.protocol.decoding import decode_trades

__all__ = ["FilledTrade", "HoleAudit", "TradeAudits", "holes_in"]

#: Of up to 1,000 trades; a longer hole is filled by several runs.
MOST_PAGES = 100
_SOURCE = "REST Trades"

Call = Callable[..., Awaitable[Answer]]


class FilledTrade(msgspec.Struct, frozen=True, tag="filled_trade", tag_field="record"):
    """A trade that was not received, as Kraken's REST API gave it later; price and quantity are its exact text."""

    symbol: str
    trade_id: int
    price: str
    qty: str
    side: str
    ord_type: str
    timestamp_ns: int
    fetched_ns: int
    source: str = _SOURCE


class HoleAudit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a hole.

    Attributes:
        symbol: the pair.
        last_id, next_id: of the recorded trades around it.
        missing: how many ids are still missing.
        filled: how many were filled just now.
        reason: why some are missing.
        contradicts: whether REST has another trade under an id that was recorded.
    """

    symbol: str
    last_id: int
    next_id: int
    missing: int
    filled: int = 0
    reason: str = ""
    contradicts: bool = False


_filled = msgspec.json.Decoder(FilledTrade)


def holes_in(archive: Archive, symbols: Optional[Collection[str]] = None) -> list[Hole]:
    """What is missing of the recorded trades, and was not filled; by pair and id.

    Raises:
        DamageFound: a trade file cannot be read to its end.
    """
    ids: dict[str, TradeIds] = defaultdict(TradeIds)
    for trade in _recorded(archive):
        if symbols is None or trade.symbol in symbols:
            ids[trade.symbol].add(trade)
    for day in archive.days:
        for line in read_lines(DayPaths(archive.directory, day).filled_trades):
            try:
                filled = decode_json(_filled, line)
            except MalformedMessage:  # a line that an audit had not finished
                continue
            if filled.symbol in ids:
                ids[filled.symbol].fill(filled.trade_id)
    return [hole for symbol in sorted(ids) for hole in ids[symbol].holes()]


def _recorded(archive: Archive) -> Iterable[Trade]:
    for line in archive.lines(Stream.TRADE, check=False):
        try:
            yield from sorted(decode_trades(line.payload), key=lambda trade: trade.trade_id)
        except MalformedMessage:  # noqa: PERF203 - each line may be bad by itself; `verify` and `info` say so
            continue


class TradeAudits:
    """Fills the holes of an archive.

    Args:
        archive: whose trades.
        call: one call of a public path with its fields.
        files: take what was filled.
        clock: the machine's.
        pace: of the calls.
        most_pages: of a hole, in one run.
    """

    def __init__(
        self,
        archive: Archive,
        call: Call,
        files: AuditFiles,
        clock: Clock,
        pace: Pace,
        most_pages: int = MOST_PAGES,
    ) -> None:
        self._archive = archive
        self._call = call
        self._files = files
        self._clock = clock
        self._pace = pace
        self._most_pages = most_pages

    async def fill(self, hole: Hole) -> HoleAudit:
        """Ask for the trades of a hole, and note those that belong into it."""
        found: dict[int, Trade] = {}
        reason = ""
        since: Union[str, int] = hole.after.timestamp_ns - 1
        for number in range(self._most_pages):
            page = await self._page(hole.after.symbol, since)
            if isinstance(page, str):
                reason = page
                break
            found.update((trade.trade_id, trade) for trade in page.trades)
            reason, contradicts = _misfit(hole, found, is_first=number == 0)
            if reason:
                return _left(hole, reason, contradicts=contradicts)
            if not page.trades or page.trades[-1].trade_id >= hole.before.trade_id or page.last == str(since):
                break
            since = page.last
        else:
            reason = "too many for one run; run it again for the next ones"
        return self._noted(hole, found, reason)

    async def _page(self, symbol: str, since: Union[str, int]) -> Union[TradePage, str]:
        """Some trades, or why there are none."""
        answer, failure = await answered(lambda: self._call(TRADES_PATH, pair=symbol, since=since), self._pace)
        if answer is None:
            return f"Kraken gave no trades: {failure}"
        try:
            return read_trade_page(symbol, answer.result)
        except MalformedMessage as error:
            return str(error)

    def _noted(self, hole: Hole, found: dict[int, Trade], reason: str) -> HoleAudit:
        fetched_ns = self._clock.wall_ns()
        filled = [
            FilledTrade(fetched_ns=fetched_ns, **_fields(trade))
            for trade_id, trade in sorted(found.items())
            if any(first <= trade_id <= last for first, last in hole.missing)
        ]
        for day, trades in groupby(filled, key=lambda each: day_of(each.timestamp_ns)):
            self._files.append(DayPaths(self._archive.directory, day).filled_trades, trades)
        missing = hole.total - len(filled)
        if missing and not reason:
            reason = "Kraken's REST API does not have them"
        around = (hole.after.trade_id, hole.before.trade_id)
        return HoleAudit(hole.after.symbol, *around, missing, len(filled), reason if missing else "")


def _misfit(hole: Hole, found: dict[int, Trade], *, is_first: bool) -> tuple[str, bool]:
    """Why trades of REST must not be put between the recorded ones, and whether they contradict them."""
    for recorded in (hole.after, hole.before):
        given = found.get(recorded.trade_id)
        if given is not None and _content(given) != _content(recorded):
            return f"REST has another trade under the recorded id {recorded.trade_id}", True
    if is_first and hole.after.trade_id not in found:
        return f"REST does not have the recorded trade {hole.after.trade_id}, so its ids may be others", False
    return "", False


def _content(trade: Trade) -> tuple[Any, ...]:
    return exact(trade.price.encode()), exact(trade.qty.encode()), trade.side


def _left(hole: Hole, reason: str, *, contradicts: bool) -> HoleAudit:
    around = (hole.after.trade_id, hole.before.trade_id)
    return HoleAudit(hole.after.symbol, *around, hole.total, 0, reason, contradicts)


def _fields(trade: Trade) -> dict[str, Any]:
    fields = msgspec.structs.asdict(trade)
    del fields["is_recent"]
    return fields
