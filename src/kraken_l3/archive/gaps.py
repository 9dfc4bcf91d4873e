"""The gaps of an archive, folded from its journals: here and nowhere else.

The edges of a gap are receive times. The left one is the last moment known good, the right one that of the snapshot
that made the symbol whole: both lie outside, so a moment is in the gap when it is strictly between them
(docs/archive-format.md, "Gaps").
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import Optional, Union

import msgspec

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.journal import GapClosed, GapOpened, HandedOver, Record
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import KrakenL3Error

__all__ = ["FAR_FUTURE_NS", "Gap", "GapFolding", "fold_gaps", "gaps_in", "gaps_within", "last_receive_ns"]

#: The right edge of a gap that is open, where a number is needed.
FAR_FUTURE_NS = (1 << 63) - 1


class Gap(msgspec.Struct, frozen=True):
    """A symbol was missing; `right_ns` and `seconds` are None while it still is."""

    channel: str
    symbol: str
    cause: str
    left_ns: int
    right_ns: Optional[int] = None
    seconds: Optional[float] = None

    @property
    def end_ns(self) -> int:
        """The right edge; `FAR_FUTURE_NS` while the gap is open."""
        return FAR_FUTURE_NS if self.right_ns is None else self.right_ns

    def holds(self, at_ns: int) -> bool:
        """Whether a moment on the receive clock lies in the gap."""
        return self.left_ns < at_ns < self.end_ns


class GapFolding:
    """Takes the records of journals in order; a gap that is restated at midnight stays one."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Gap] = {}
        self._closed: list[Gap] = []

    def apply(self, record: Union[GapOpened, GapClosed, HandedOver]) -> None:
        """One more record. Of several openings the first cause and the first edge count."""
        key = (record.channel, record.symbol)
        if isinstance(record, HandedOver):
            self._open.pop(key, None)
            return
        gap = Gap(record.channel, record.symbol, record.cause, record.left_ns)
        if isinstance(record, GapOpened):
            self._open.setdefault(key, gap)
            return
        opened = self._open.pop(key, gap)  # its opening may stand in a journal that is not here
        left_ns = min(opened.left_ns, record.left_ns)
        seconds = (record.right_ns - left_ns) / 1e9
        self._closed.append(Gap(record.channel, record.symbol, opened.cause, left_ns, record.right_ns, seconds))

    def gaps(self) -> list[Gap]:
        """All gaps, by their left edges."""
        return sorted([*self._closed, *self._open.values()], key=lambda gap: gap.left_ns)


def fold_gaps(records: Iterable[Record]) -> list[Gap]:
    """The gaps that the records of journals, in order, tell; by their left edges."""
    folding = GapFolding()
    for record in records:
        if isinstance(record, (GapOpened, GapClosed, HandedOver)):
            folding.apply(record)
    return folding.gaps()


def gaps_in(archive: Archive, *, channel: Optional[str] = None, symbols: Optional[Iterable[str]] = None) -> list[Gap]:
    """The gaps that the journals tell, by their left edges; none where there is no journal.

    Args:
        archive: whose journals are read.
        channel: only those of this channel (`Stream.LEVEL3` for books).
        symbols: only those of these symbols.
    """
    records = chain.from_iterable(archive.journal(day) for day in archive.days)
    wanted = None if symbols is None else set(symbols)
    name = None if channel is None else Stream(channel).value
    return [
        gap
        for gap in fold_gaps(records)
        if (name is None or gap.channel == name) and (wanted is None or gap.symbol in wanted)
    ]


def gaps_within(gaps: Iterable[Gap], last_ns: int) -> list[Gap]:
    """The gaps that count: those that lie within the data.

    A gap that is open and begins at the last message (`last_ns`, or later) is the end of the recording, and the next
    start closes it: nothing is known to be missing yet. `info`, `verify` and `seal` count by this rule; a manifest
    lists all gaps of its day.
    """
    return [gap for gap in gaps if gap.right_ns is not None or gap.left_ns < last_ns]


def last_receive_ns(archive: Archive, stream: str) -> int:
    """When the last message of a stream was received, as its receipts tell; 0 where none do."""
    for path in reversed(archive.files(stream)):
        with suppress(KrakenL3Error), DataFile(path) as file:  # said where it is read
            newest = file.receipts.last() if file.receipts is not None else None
            if newest is not None:
                return newest.recv_ns
    return 0
