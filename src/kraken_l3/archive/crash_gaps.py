"""What an unclean end leaves missing: which gaps are to be opened, from when on, and which began too late.

After a power cut the journal may be newer than the data: a record says that a connection was alive, or ended, at a
moment whose data never reached the disk. What is said before the last sync point that the data bears out is sure
(`sure`); for what is said behind it only the receipts are believed:

- A connection that was surely open is known good up to its last receipt, or the last frame that a sure `alive` names.
- A connection that is only said to have been opened is known good up to its own last receipt. Where it has none, what
  was lost may reach back to before it: up to the last receipt of all, or else to the recorder's start.
- Where a symbol is only said to have been handed over to a connection, that connection's receipts of later than that
  bear it out: what it bridged stands in front of them. Else the one that led before counts.
- A gap that is only said to have begun begins no later than that. A journal is never changed, so such a gap is closed
  at its own left edge and opened again, further back.
- Where lines in the middle of a file were set aside, all symbols of the channel are missing from the line before them
  on: nobody knows whose lines they were, and what came after them was applied to books that lacked them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.archive.journal import Acknowledged, Disconnected, GapClosed, GapOpened, JournalState, Record

__all__ = ["StreamEnd", "crash_records"]


class StreamEnd(NamedTuple):
    """How the data of a channel ends.

    Attributes:
        last_ns: receive time of its newest line; None when there is none.
        by_connection: the same for each connection that matters.
        hole_ns: receive time of the line before the first that was set aside in the middle; None when none was.
    """

    last_ns: Optional[int] = None
    by_connection: Mapping[int, int] = {}
    hole_ns: Optional[int] = None


def crash_records(
    state: JournalState, sure: JournalState, streams: Mapping[str, StreamEnd], *, at_ns: int, mono_ns: int
) -> list[Record]:
    """The journal records that close what an unclean end left open; none after an orderly one.

    Args:
        state: what all of the journal says.
        sure: what it says up to the last sync point that the data bears out.
        streams: the end of each channel's data.
        at_ns, mono_ns: now.
    """
    known = _KnownGood(state, sure, streams)
    records: list[Record] = []
    for (channel, symbol), gap in state.gaps.items():
        left_ns = known.of_gap(gap)
        if gap.left_ns > left_ns:
            closed = GapClosed(
                at_ns=at_ns,
                mono_ns=mono_ns,
                channel=channel,
                symbol=symbol,
                cause=gap.cause,
                left_ns=gap.left_ns,
                right_ns=gap.left_ns,
                connection=gap.connection,
            )
            again = msgspec.structs.replace(gap, at_ns=at_ns, mono_ns=mono_ns, left_ns=left_ns, restated=False)
            records += [closed, again]
    for connection, connected in state.connections.items():
        left_ns = known.of_connection(connected.channel, connection, connected.at_ns)
        # A gap stands before the end of its connection: killed in between, it is open still and all is redone.
        for (channel, symbol), ack in state.subscriptions.items():
            is_its_own = ack.connection == connection and channel == connected.channel
            if is_its_own and (channel, symbol) not in state.gaps:
                gap = GapOpened(
                    at_ns=at_ns,
                    mono_ns=mono_ns,
                    channel=channel,
                    symbol=symbol,
                    cause="crash",
                    left_ns=known.of_symbol(ack, left_ns),
                    connection=connection,
                )
                records.append(gap)
        end = Disconnected(at_ns=at_ns, mono_ns=mono_ns, connection=connection, cause="crash", last_frame_ns=left_ns)
        records.append(end)
    return records


class _KnownGood:
    """Up to when data is known to be whole."""

    def __init__(self, state: JournalState, sure: JournalState, streams: Mapping[str, StreamEnd]) -> None:
        self._sure, self._streams = sure, streams
        self._began = [record.at_ns for record in (state.started, *state.connections.values()) if record is not None]

    def of_gap(self, gap: GapOpened) -> int:
        """The latest left edge that is believed of a gap."""
        if self._sure.gaps.get((gap.channel, gap.symbol)) != gap:
            return self.of_connection(gap.channel, gap.connection, gap.left_ns)
        hole_ns = self._streams.get(gap.channel, StreamEnd()).hole_ns
        return gap.left_ns if hole_ns is None else hole_ns

    def of_symbol(self, ack: Acknowledged, left_ns: int) -> int:
        """The last moment known good of a symbol whose connection is known good until `left_ns`: that of the connection
        before, if it is not sure that this one took over."""
        was = self._sure.subscriptions.get((ack.channel, ack.symbol))
        end = self._streams.get(ack.channel, StreamEnd())
        if was is None or was.connection == ack.connection or end.by_connection.get(ack.connection, 0) >= ack.at_ns:
            return left_ns
        return min(left_ns, self.of_connection(ack.channel, was.connection, was.at_ns))

    def of_connection(self, channel: str, connection: int, said_ns: int) -> int:
        """The last moment known good of a connection that is said to have begun or ended at `said_ns`."""
        end = self._streams.get(channel, StreamEnd())
        received = [end.by_connection[connection]] if connection in end.by_connection else []
        opened = self._sure.connections.get(connection)
        if opened is not None:
            alive_ns = self._sure.last_frame_ns.get(connection, opened.at_ns)
            known_ns = max([opened.at_ns, alive_ns, *received])
        elif received:
            known_ns = received[0]
        else:
            known_ns = min([said_ns, *(self._began if end.last_ns is None else [end.last_ns])])
        return known_ns if end.hole_ns is None else min(known_ns, end.hole_ns)
