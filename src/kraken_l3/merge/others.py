"""The streams beside level3: trades, whose ids tell their order, and the list of instruments."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import NamedTuple, Optional

from kraken_l3.archive.datafile import Line, Skipped
from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.journal import Conflict, GapClosed, GapOpened, TradeGap
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.receipts import RECEIVE_TIME_UNKNOWN
from kraken_l3.errors import MalformedMessage
from kraken_l3.merge.output import MergedArchive
from kraken_l3.merge.source import Source
from kraken_l3.model.frames import Frame, FrameColumns
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import decode_trades

__all__ = ["FOREVER_NS", "MergedInstruments", "MergedTrades"]

FOREVER_NS = 1 << 63

#: Trades of a symbol that are remembered: more than any snapshot repeats.
_REMEMBERED = 10_000


class _Message(NamedTuple):
    """One trade message."""

    last_ns: int
    source: Source
    frame: Frame
    trades: list[Trade]


def _lines(source: Source, stream: Stream) -> Generator[Line, None, None]:
    if source.archive.is_directory:
        yield from source.archive.lines(stream, skipped=Skipped())


def _frame(source: Source, line: Line, otherwise_ns: int) -> Frame:
    """A line with its receipt; without one some other time stands for the receive time."""
    receipt = line.receipt
    if receipt is None:
        return Frame(line.payload, otherwise_ns, 0, 0, RECEIVE_TIME_UNKNOWN)
    connection = source.connection_of(receipt.connection)
    return Frame(line.payload, receipt.recv_ns, receipt.mono_ns, connection, receipt.flags)


def _messages(source: Source) -> Generator[_Message, None, None]:
    last_ns = 0
    for line in _lines(source, Stream.TRADE):
        with suppress(MalformedMessage):
            trades = decode_trades(line.payload)
            last_ns = max([last_ns, *(trade.timestamp_ns for trade in trades)])
            yield _Message(last_ns, source, _frame(source, line, last_ns), trades)


class MergedInstruments:
    """The lists of instruments: each source's, for as long as the level3 lines are taken from it.

    Args:
        sources: by rank.
        output: where they go.
    """

    def __init__(self, sources: Sequence[Source], output: MergedArchive) -> None:
        self._output = output
        self._readers = [_lines(source, Stream.INSTRUMENT) for source in sources]
        self._heads = [next(reader, None) for reader in self._readers]
        self._leader: Optional[Source] = None

    def write_until(self, source: Source, recv_ns: int) -> None:
        """Before a line of a source that was received then."""
        is_wanted = self._leader in (None, source)
        self._leader = source
        head = self._heads[source.rank]
        while head is not None and (head.receipt is None or head.receipt.recv_ns <= recv_ns):
            if is_wanted:
                frame = _frame(source, head, max(self._output.now_ns, source.recv[0]))
                self._output.append(Stream.INSTRUMENT, FrameColumns.of([frame]))
            head = self._heads[source.rank] = next(self._readers[source.rank], None)

    def close(self) -> None:
        """Let go of the files."""
        for reader in self._readers:
            reader.close()

    def finish(self) -> None:
        """What the last source has behind its last line."""
        if self._leader is not None:
            self.write_until(self._leader, FOREVER_NS)


class MergedTrades:
    """The trades: each once, in the order of their own times. What a snapshot repeats is kept where all sources do it.

    Args:
        sources: by rank.
        output: where they go.

    Attributes:
        lines: messages written.
        gaps: gaps in the ids that remain.
        conflicts: ids with different content.
    """

    def __init__(self, sources: Sequence[Source], output: MergedArchive) -> None:
        self._output = output
        self._readers = [_messages(source) for source in sources]
        self._heads = [next(reader, None) for reader in self._readers]
        self._known: dict[str, dict[int, Trade]] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self.lines = self.gaps = self.conflicts = 0

    def write_until(self, source: Source, recv_ns: int, msg_ns: int) -> None:
        """Before a level3 line of a source: its own by its receive time, those of others by Kraken's."""
        while True:
            heads = [head for head in self._heads if head is not None]
            if not heads:
                return
            first = min(heads, key=lambda head: (head.last_ns, head.source.rank))
            is_due = first.frame.recv_ns <= recv_ns if first.source is source else first.last_ns <= msg_ns
            if not is_due:
                return
            same = [head for head in heads if head.trades == first.trades]
            self._write(first, is_everywhere=len(same) == len(heads))
            for head in same:
                self._heads[head.source.rank] = next(self._readers[head.source.rank], None)

    def close(self) -> None:
        """Let go of the files."""
        for reader in self._readers:
            reader.close()

    def finish(self, source: Source) -> None:
        """All that is left."""
        self.write_until(source, FOREVER_NS, FOREVER_NS)

    def _write(self, message: _Message, *, is_everywhere: bool) -> None:
        """Write a message if any of its trades is new, or if all sources have it."""
        new = [trade for trade in message.trades if trade.trade_id not in self._known.get(trade.symbol, ())]
        self._compare(message)
        if not new and not is_everywhere:
            return
        frame = message.frame
        for trade in sorted(new, key=lambda trade: trade.trade_id):
            self._note(trade, message.source, frame)
        self._output.append(Stream.TRADE, FrameColumns.of([frame]))
        self.lines += 1

    def _compare(self, message: _Message) -> None:
        """The same id with another content is a conflict; that which came first is in the data."""
        for trade in message.trades:
            known = self._known.get(trade.symbol, {}).get(trade.trade_id, trade)
            if known != trade:
                self.conflicts += 1
                record = Conflict(
                    at_ns=self._output.now_ns,
                    channel=Stream.TRADE.value,
                    symbol=trade.symbol,
                    source=0,
                    other=message.source.rank,
                    msg_ns=trade.timestamp_ns,
                )
                self._output.conflict(record, message.frame.payload)

    def _note(self, trade: Trade, source: Source, frame: Frame) -> None:
        known = self._known.setdefault(trade.symbol, {})
        known[trade.trade_id] = trade
        if len(known) > _REMEMBERED:
            del known[next(iter(known))]
        last_id, last_recv_ns = self._last.get(trade.symbol, (trade.trade_id - 1, 0))
        if trade.trade_id > last_id + 1:
            self._gap(trade, last_id, last_recv_ns, source, frame)
        if trade.trade_id > last_id:
            self._last[trade.symbol] = (trade.trade_id, frame.recv_ns)

    def _gap(self, trade: Trade, last_id: int, left_ns: int, source: Source, frame: Frame) -> None:
        self.gaps += 1
        now_ns = self._output.now_ns
        hole = TradeGap(
            at_ns=now_ns,
            symbol=trade.symbol,
            last_id=last_id,
            next_id=trade.trade_id,
            connection=frame.connection,
        )
        self._output.journal(hole)
        gaps = gaps_in(source.archive, channel=Stream.TRADE, symbols=[trade.symbol])
        gap = next((gap for gap in gaps if gap.right_ns == frame.recv_ns), None)
        if gap is not None:
            left_ns = max(left_ns, gap.left_ns)
            opened = GapOpened(at_ns=now_ns, channel=gap.channel, symbol=gap.symbol, cause=gap.cause, left_ns=left_ns)
            self._output.journal(opened)
            self._output.journal(
                GapClosed(
                    at_ns=now_ns,
                    channel=gap.channel,
                    symbol=gap.symbol,
                    cause=gap.cause,
                    left_ns=left_ns,
                    right_ns=frame.recv_ns,
                )
            )
