"""The gaps of an archive, folded from its journals."""

from __future__ import annotations

from typing import Optional, Union

import msgspec

from kraken_l3.archive.journal import GapClosed, GapOpened
from kraken_l3.archive.reader import Archive

__all__ = ["Gap", "GapHistory", "gaps_in"]


class Gap(msgspec.Struct):
    """A symbol was missing; `right_ns` and `seconds` are None while it still is."""

    channel: str
    symbol: str
    cause: str
    left_ns: int
    right_ns: Optional[int] = None
    seconds: Optional[float] = None


class GapHistory:
    """Takes the records of journals in order; a gap that is restated at midnight stays one."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Gap] = {}
        self._closed: list[Gap] = []

    def apply(self, record: Union[GapOpened, GapClosed]) -> None:
        """One more record."""
        key = (record.channel, record.symbol)
        gap = Gap(record.channel, record.symbol, record.cause, record.left_ns)
        if isinstance(record, GapOpened):
            self._open.setdefault(key, gap)
            return
        gap = self._open.pop(key, gap)  # its opening may stand in a journal that is not here
        gap.right_ns = record.right_ns
        gap.seconds = (record.right_ns - gap.left_ns) / 1e9
        self._closed.append(gap)

    def gaps(self) -> list[Gap]:
        """All gaps, by their left edges."""
        return sorted([*self._closed, *self._open.values()], key=lambda gap: gap.left_ns)


def gaps_in(archive: Archive) -> list[Gap]:
    """The gaps that the journals tell; none where there is no journal."""
    history = GapHistory()
    for day in archive.days:
        for record in archive.journal(day):
            if isinstance(record, (GapOpened, GapClosed)):
                history.apply(record)
    return history.gaps()
