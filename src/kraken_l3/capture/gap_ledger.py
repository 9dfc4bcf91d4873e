"""Which symbols have an open gap, since when and why. Every change becomes a journal record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Callable, Optional

from kraken_l3.archive.journal import GapClosed, GapOpened, Record
from kraken_l3.clock import Clock

__all__ = ["GapLedger"]


class GapLedger:
    """The open gaps. A symbol has at most one at a time: it keeps its first cause and its first left edge.

    Args:
        open_gaps: those left open in the journal when the recorder last stopped or died.
        journal: called with each journal record.
        clock: timestamps the records.
    """

    def __init__(self, open_gaps: Iterable[GapOpened], journal: Callable[[Record], None], clock: Clock) -> None:
        self._open = {(gap.channel, gap.symbol): gap for gap in open_gaps}
        self._journal = journal
        self._clock = clock
        #: Gaps of each symbol since the start, over all channels; the end of the recording does not count.
        self.counts: Counter[str] = Counter()
        #: Level3 symbols that have been whole since the start, if only once.
        self.recorded: set[str] = set()

    def open(self, channel: str, symbol: str, cause: str, left_ns: int, connection: int) -> None:
        """The symbol has a gap from `left_ns` on. If it has one already, that one stays."""
        if (channel, symbol) in self._open:
            return
        gap = GapOpened(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            channel=channel,
            symbol=symbol,
            cause=cause,
            left_ns=left_ns,
            connection=connection,
        )
        self._open[channel, symbol] = gap
        if cause != "stop":
            self.counts[symbol] += 1
        self._journal(gap)

    def close(self, channel: str, symbol: str, right_ns: int, connection: int) -> None:
        """The symbol is whole again from the message received at `right_ns` on. Does nothing if it has no gap.

        When the wall clock stepped back, the message may seem older than the gap, which then ends where it began.
        """
        if channel == "level3":
            self.recorded.add(symbol)
        gap = self._open.pop((channel, symbol), None)
        if gap is None:
            return
        right_ns = max(right_ns, gap.left_ns)
        self._journal(
            GapClosed(
                at_ns=self._clock.wall_ns(),
                mono_ns=self._clock.mono_ns(),
                channel=channel,
                symbol=symbol,
                cause=gap.cause,
                left_ns=gap.left_ns,
                right_ns=right_ns,
                connection=connection,
            )
        )

    def reopen(self, lost: GapClosed) -> None:
        """Neither the snapshot that closed a gap nor the record of it got into the archive: the gap is still open.

        If the symbol has another gap by now, the journal has two openings in a row, of which the first counts.
        """
        key = (lost.channel, lost.symbol)
        other = self._open.get(key)
        if other is not None and other.cause != "stop":  # which was counted, and is the same gap
            self.counts[lost.symbol] -= 1
        self._open[key] = GapOpened(
            at_ns=lost.at_ns,
            mono_ns=lost.mono_ns,
            channel=lost.channel,
            symbol=lost.symbol,
            cause=lost.cause,
            left_ns=lost.left_ns,
            connection=lost.connection,
        )

    def adopt(self, gaps: Iterable[GapOpened], taken_back: Iterable[GapOpened] = ()) -> None:
        """Gaps from before this recorder wrote, by the journal: those that are open, and those that never were."""
        for gap in taken_back:
            if self._open.get((gap.channel, gap.symbol)) == gap:
                del self._open[gap.channel, gap.symbol]
        for gap in gaps:
            self._open.setdefault((gap.channel, gap.symbol), gap)

    def reach_back(self, cause: str, left_ns: int) -> None:
        """What was received after `left_ns` is lost: open gaps that began later now begin there.

        In the journal each of them is closed where it began, and opened again.
        """
        for (channel, symbol), gap in list(self._open.items()):
            if gap.left_ns > left_ns:
                self.close(channel, symbol, gap.left_ns, gap.connection)
                self.open(channel, symbol, cause, left_ns, gap.connection)

    def is_open(self, channel: str, symbol: str) -> bool:
        """Whether the symbol has an open gap."""
        return (channel, symbol) in self._open

    def open_gap(self, channel: str, symbol: str) -> Optional[GapOpened]:
        """The symbol's open gap (None: it has none)."""
        return self._open.get((channel, symbol))
