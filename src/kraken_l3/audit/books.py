"""The audit of books: the REST book of a pair against the recorded one, at each message around the call.

Kraken reads its book at some moment between call and answer, and a message may be on its way meanwhile. So the two
agree if the recorded book equals the REST one after any message of the seconds around the call.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Optional, Protocol, Union

import msgspec

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.audit.calls import Asked, Failed
from kraken_l3.audit.comparison import Comparison, Nearest
from kraken_l3.audit.recorded import recorded_changes, recorded_until_ns
from kraken_l3.audit.rest_book import OrderKey, RestBook
from kraken_l3.clock import Clock
from kraken_l3.errors import DamageFound, DataMissing, did_you_mean
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.events import Verdict
from kraken_l3.model.timestamps import NS_PER_S, day_of, format_rfc3339
from kraken_l3.rebuild.metadata import metadata_in

__all__ = ["AGREES", "DIFFERS", "NOT_COMPARED", "WINDOW_NS", "BookAudit", "BookAudits", "Difference", "depths_in"]

AGREES, DIFFERS, NOT_COMPARED = "agrees", "differs", "not_compared"
#: Around a call: Kraken's own way through its systems, and what is on the way to the recorder.
WINDOW_NS = 5 * NS_PER_S
#: So many differing orders are listed; all are counted.
MOST_LISTED = 20
#: A recorder that runs writes a sign of life every 10 s; without one for this long there is none.
_SILENT_NS = 30 * NS_PER_S
_POLL_S = 0.2


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order that is not the same in both books; prices and quantities are None where a book does not have it."""

    side: str
    order_id: str
    rest_price: Optional[str] = None
    rest_qty: Optional[str] = None
    recorded_price: Optional[str] = None
    recorded_qty: Optional[str] = None


class BookAudit(msgspec.Struct, frozen=True, omit_defaults=True, tag="book_audit", tag_field="record"):
    """What an audit of one pair found.

    Attributes:
        symbol: the pair.
        outcome: "agrees", "differs" or "not_compared".
        at_ns: when the call was made (of one that was not answered: when that was known), on the wall clock.
        answered_ns: when the answer was there.
        depth: price levels a side that were compared.
        reason: why nothing was compared, or what else is known of a difference.
        orders: in the REST book.
        messages: how many of the pair were received in the seconds around.
        matched_ns: when the message was received after which both are the same.
        nearest_ns: of books that are never the same, when they were most alike.
        differing: how many orders differ then.
        levels: on how many price levels.
        differences: the first of them, best prices first.
    """

    symbol: str
    outcome: str
    at_ns: int
    answered_ns: Optional[int] = None
    depth: Optional[int] = None
    reason: str = ""
    orders: int = 0
    messages: int = 0
    matched_ns: Optional[int] = None
    nearest_ns: Optional[int] = None
    differing: int = 0
    levels: int = 0
    differences: tuple[Difference, ...] = ()


class Calls(Protocol):
    """Asks for books; `calls.Level3Calls`."""

    async def ask(self, symbol: str, depth: int) -> Union[Asked, Failed]:
        """The book of a pair, so many price levels a side."""


class BookAudits:
    """Audits pairs of an archive that is being recorded.

    Args:
        directory: the archive.
        calls: ask for the REST books.
        clock: that of the recorder's machine, which is this one.
        settle_s: how long the recorder may keep what it received before it is in the files.
        window_ns: how long around a call the books may become the same.
        engine_name: see `engine.choose`.
    """

    def __init__(
        self,
        directory: Path,
        calls: Calls,
        clock: Clock,
        *,
        settle_s: float,
        window_ns: int = WINDOW_NS,
        engine_name: str = "auto",
    ) -> None:
        self._directory = directory
        self._calls = calls
        self._clock = clock
        self._settle_ns = int(settle_s * NS_PER_S)
        self._window_ns = window_ns
        self._engine_name = engine_name
        self._comparing = asyncio.Lock()

    async def audit(self, symbols: Sequence[str]) -> list[BookAudit]:
        """One audit of each pair. Calls come one after the other; what they are compared with is waited for meanwhile.

        Raises:
            RefusedByKraken: Kraken refuses the key.
        """
        depths = await asyncio.to_thread(depths_in, self._archive(self._clock.wall_ns()))
        tasks = [asyncio.ensure_future(self._audit(symbol, depths)) for symbol in symbols]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _audit(self, symbol: str, depths: dict[str, int]) -> BookAudit:
        if symbol not in depths:
            hint = did_you_mean(symbol, depths)
            return self._not_compared(symbol, f"the archive has no subscription of it. {hint}".strip())
        asked = await self._calls.ask(symbol, depths[symbol])
        if isinstance(asked, Failed):
            return self._not_compared(symbol, f"Kraken gave no book: {asked.reason}")
        await self._until_recorded(asked.answered_ns + self._window_ns)
        async with self._comparing:
            return await asyncio.to_thread(self._compare, symbol, depths[symbol], asked)

    def _not_compared(self, symbol: str, reason: str) -> BookAudit:
        return BookAudit(symbol, NOT_COMPARED, self._clock.wall_ns(), reason=reason)

    def _archive(self, at_ns: int) -> Archive:
        """From the day before a moment on: a day can be read alone, and audits come again and again."""
        return open_archive(self._directory, since=day_of(at_ns) - dt.timedelta(days=1))

    async def _until_recorded(self, end_ns: int) -> None:
        """Wait until the files reach to a moment, or a recorder would have written that nothing came."""
        archive = self._archive(end_ns)
        while self._clock.wall_ns() < end_ns + self._settle_ns:
            if await asyncio.to_thread(recorded_until_ns, archive) >= end_ns:
                return
            await asyncio.sleep(_POLL_S)

    def _compare(self, symbol: str, depth: int, asked: Asked) -> BookAudit:
        begin_ns, end_ns = asked.asked_ns - self._window_ns, asked.answered_ns + self._window_ns
        archive = self._archive(begin_ns)
        found = BookAudit(symbol, NOT_COMPARED, asked.asked_ns, asked.answered_ns, depth, orders=len(asked.book.orders))
        until_ns = recorded_until_ns(archive)
        if until_ns < asked.asked_ns - _SILENT_NS:
            last = f"the archive ends at {format_rfc3339(until_ns)}" if until_ns else "the archive is empty"
            return msgspec.structs.replace(found, reason=f"{last}: is the recorder running, on this machine's clock?")
        try:
            return _compared(found, asked.book, archive, begin_ns, end_ns, self._engine_name)
        except (DamageFound, DataMissing) as error:
            return msgspec.structs.replace(found, reason=str(error))


def depths_in(archive: Archive) -> dict[str, int]:
    """The pairs that an archive's journals have subscriptions of, with the latest depth of each."""
    return {told.symbol: told.depth for told in metadata_in(archive) if told.depth is not None}


def _compared(
    found: BookAudit, book: RestBook, archive: Archive, begin_ns: int, end_ns: int, engine_name: str
) -> BookAudit:
    comparison: Optional[Comparison] = None
    precisions = (0, 0)
    messages = mismatched = 0
    for change in recorded_changes(archive, found.symbol, begin_ns, end_ns, engine_name):
        messages += change.verdict is not None
        mismatched += change.verdict is Verdict.MISMATCH
        if change.begins_anew and change.precisions != precisions:
            precisions = change.precisions
            comparison = Comparison(book.scaled(*precisions))
        if comparison is None:
            continue  # an update without a book
        if change.begins_anew:
            comparison.clear()
        comparison.put_all(change.orders)
        if comparison.compare(change.recv_ns):
            return msgspec.structs.replace(found, outcome=AGREES, messages=messages, matched_ns=change.recv_ns)
    found = msgspec.structs.replace(found, messages=messages)
    gap = next(
        (
            gap
            for gap in gaps_in(archive, channel=Stream.LEVEL3, symbols=[found.symbol])
            if gap.left_ns < end_ns and gap.end_ns > begin_ns
        ),
        None,
    )
    if gap is not None:
        return msgspec.structs.replace(found, reason=f"a gap ({gap.cause}) lies in the seconds around the call")
    if comparison is None or comparison.nearest is None:
        return msgspec.structs.replace(found, reason="the archive has no book of it in the seconds around the call")
    reason = "the recorded book does not agree with Kraken's checksums either" if mismatched else ""
    return _differs(msgspec.structs.replace(found, reason=reason), book, comparison.nearest, precisions)


def _differs(found: BookAudit, book: RestBook, nearest: Nearest, precisions: tuple[int, int]) -> BookAudit:
    differences = [_difference(key, book, nearest, precisions) for key in nearest.recorded]
    levels = {
        (each.side, Decimal(price))
        for each in differences
        for price in (each.rest_price, each.recorded_price)
        if price is not None
    }
    return msgspec.structs.replace(
        found,
        outcome=DIFFERS,
        nearest_ns=nearest.recv_ns,
        differing=len(differences),
        levels=len(levels),
        differences=tuple(sorted(differences, key=_best_first)[:MOST_LISTED]),
    )


def _difference(key: OrderKey, book: RestBook, nearest: Nearest, precisions: tuple[int, int]) -> Difference:
    side, order_id = key
    rest, recorded = book.orders.get(key), nearest.recorded[key]
    return Difference(
        side.name.lower(),
        order_id,
        *(rest or (None, None)),
        *(map(format_scaled, recorded, precisions) if recorded is not None else (None, None)),
    )


def _best_first(difference: Difference) -> tuple[str, Decimal, str]:
    price = Decimal(difference.rest_price or difference.recorded_price or 0)
    return difference.side, -price if difference.side == "bid" else price, difference.order_id
