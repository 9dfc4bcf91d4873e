"""An archive that another recorder still writes to: what is received meanwhile is held, and spliced on when it is ours.

The sink writes here as to any archive, in its own thread. Until `open` nothing reaches a file. Then, in this order: the
journal records that were held; of every symbol what its connection delivered behind the last message in the archive; a
`handover` record for each symbol that could be spliced. What cannot be spliced is a gap, as after any start: it ends
with the snapshot that is held, where that came after the archive's end, else with another one that is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple, Optional

from kraken_l3.archive.journal import (
    Acknowledged,
    GapClosed,
    GapOpened,
    HandedOver,
    JournalState,
    Record,
    Recovered,
    Started,
)
from kraken_l3.archive.last_messages import LastMessages, symbol_of
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.held_frames import SNAPSHOT, HeldFrames, Key
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.decoding import decode_trades
from kraken_l3.protocol.frames import DATA_CHANNELS
from kraken_l3.protocol.splicing import Splice

__all__ = ["HELD_BYTES", "HeldArchive", "Spliced"]

#: Memory for what is held. Beyond it the oldest messages go, but for each symbol's newest.
HELD_BYTES = 128 * 1024 * 1024
#: A connection that lags has so long to deliver what is in the archive already.
LAG_S = 10.0
#: Gaps of these causes end with what the archive has; others began in front of it, with a book that was wrong.
SPLICED_CAUSES = frozenset(
    {"stop", "crash", "network", "closed", "silence", "protocol", "fault", "redial", "writer", "disk"}
)


class Spliced(NamedTuple):
    """How it went, for symbols of which it is known now.

    Attributes:
        bridged: for each channel and symbol that was spliced, how many messages followed the archive's last one.
        taken_back: gaps that never were.
        gaps: those that are open still, of this recorder's symbols and of others.
        again: `level3` symbols that have to be subscribed again, and why.
    """

    bridged: Mapping[tuple[str, str], int]
    taken_back: Sequence[GapOpened]
    gaps: Sequence[GapOpened]
    again: Mapping[str, str]


class HeldArchive:
    """See the module. Implements `sink.Writer`.

    Args:
        last_connection: numbers up to this one are the other recorder's.
        clock: timestamps the records.
        limit_bytes: see `HELD_BYTES`.

    Attributes:
        spliced: called in the writer's thread once what was held is in the archive; and again for symbols that lagged.
    """

    def __init__(self, last_connection: int, clock: Clock, *, limit_bytes: int = HELD_BYTES) -> None:
        self.last_connection = last_connection
        self.state = JournalState()
        self.recovered: list[Recovered] = []
        self.spliced: Callable[[Spliced], None] = lambda _: None
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._opening: deque[tuple[ArchiveWriter, LastMessages, LastMessages]] = deque()
        self._writer: Optional[ArchiveWriter] = None
        self._held = HeldFrames()
        self._restart_day_ns: Optional[int] = None
        self._lagging: dict[str, Splice] = {}  # placed, and owes messages
        self._waiting: dict[str, _Waiting] = {}  # not placed yet
        self._unplaced: set[str] = set()  # nothing of them is archived before their next snapshot

    # -- from the event loop -------------------------------------------------------------------------------------------

    def open(self, writer: ArchiveWriter, level3: LastMessages, trades: LastMessages) -> None:
        """The archive is ours. What is held is spliced on within the sink's flush interval.

        Args:
            writer: the archive; it belongs to the sink's thread from here on.
            level3, trades: how it ends.
        """
        self._opening.append((writer, level3, trades))

    # -- the sink's side -----------------------------------------------------------------------------------------------

    @property
    def last_written_ns(self) -> int:
        """See `sink.Writer`."""
        return self._writer.last_written_ns if self._writer is not None else 0

    @property
    def frames_written(self) -> int:
        """See `sink.Writer`."""
        return self._writer.frames_written if self._writer is not None else 0

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        """See `sink.Writer`."""
        if self._writer is None:
            for frame in frames if stream in DATA_CHANNELS else ():  # what followers had alone is beside the archive
                self._held.put(stream, frame)
            self._held.trim(self._limit_bytes)
        elif stream == "level3" and (self._lagging or self._waiting or self._unplaced):
            new = [frame for frame in frames if self._is_new(frame)]
            if new:
                self._writer.append(stream, new)
        else:
            self._writer.append(stream, frames)

    def journal(self, record: Record) -> None:
        """See `sink.Writer`."""
        if self._writer is None:
            self._held.note(record)
        else:
            self._writer.journal(record)

    def flush(self) -> None:
        """See `sink.Writer`. This is where the splicing is done."""
        if self._opening:
            self._splice(*self._opening.popleft())
        elif self._waiting:
            self._look_at_waiting()
        if self._writer is not None:
            self._writer.flush()

    def sync(self) -> None:
        """See `sink.Writer`."""
        if self._writer is not None:
            self._writer.sync()

    def resume(self) -> bool:
        """See `sink.Writer`."""
        return self._writer is None or self._writer.resume()

    def restart_day(self, now_ns: int) -> None:
        """See `sink.Writer`."""
        if self._writer is None:
            self._restart_day_ns = now_ns
        else:
            self._writer.restart_day(now_ns)

    def close(self) -> None:
        """See `sink.Writer`. Without an archive what is held is gone: the other recorder has it."""
        for writer, _, _ in self._opening:
            writer.close()
        if self._writer is not None:
            self._writer.close()

    # -- splicing ------------------------------------------------------------------------------------------------------

    def _splice(self, writer: ArchiveWriter, level3: LastMessages, trades: LastMessages) -> None:
        held, self._held = self._held, HeldFrames()
        self._writer = writer
        done = _Done()
        try:
            if self._restart_day_ns is not None:
                writer.restart_day(self._restart_day_ns)
            before = writer.state.started
            for record in held.records:
                writer.journal(record)
            frames = held.by_key()
            self._place_books(frames, level3, done, _why_not_spliced(writer, before))
            self._place_trades(frames, held.acknowledged, trades, done)
            for stream, run in held.runs(done.skipped):
                writer.append(stream, run)
            # Behind the data: what they promise is in the operating system's hands by now.
            for record in [*done.records, *held.gaps.values()]:
                writer.journal(record)
        finally:
            self._tell(done)

    def _place_books(self, held: Mapping[Key, list[Frame]], last: LastMessages, done: _Done, why_not: str) -> None:
        assert self._writer is not None
        recent: dict[str, list[bytes]] = {}
        for frame in last.recent:
            recent.setdefault(symbol_of(frame.payload), []).append(frame.payload)
        for (stream, symbol), frames in held.items():
            if stream != "level3":
                continue
            gap = self._writer.state.gaps.get(("level3", symbol))
            known = [last.last[symbol].payload] if symbol in last.last else []
            archived = recent.get(symbol, known)
            if gap is None and not archived:
                continue  # new to this archive
            splice = Splice(archived, [frame.payload for frame in frames])
            if gap is not None and (why_not or gap.cause not in SPLICED_CAUSES):
                self._give_up(symbol, frames, gap, why_not or _NOT_WHOLE, done)
            elif splice.may_come:
                self._waiting[symbol] = _Waiting(archived, frames, self._clock.mono_ns())
                done.skipped["level3", symbol] = len(frames)
            elif splice.matched:
                self._place(symbol, frames, splice, done)
            else:
                self._give_up(symbol, frames, gap, splice.reason, done)

    def _place(self, symbol: str, frames: Sequence[Frame], splice: Splice, done: _Done) -> None:
        done.skipped["level3", symbol] = len(frames) - splice.ahead
        if splice.behind:
            self._lagging[symbol] = splice
        assert self._writer is not None
        ack = self._writer.state.subscriptions.get(("level3", symbol))  # its last frame may be of one that has ended
        connection = ack.connection if ack is not None else frames[-1].connection
        self._hand_over("level3", connection, symbol, splice.matched, splice.ahead, done, splice.behind)

    def _hand_over(
        self, channel: str, connection: int, symbol: str, matched: str, bridged: int, done: _Done, behind: int = 0
    ) -> None:
        assert self._writer is not None
        gap = self._writer.state.gaps.get((channel, symbol))
        if gap is not None:
            done.taken_back.append(gap)
        done.bridged[channel, symbol] = bridged
        done.records.append(
            HandedOver(
                at_ns=self._clock.wall_ns(),
                mono_ns=self._clock.mono_ns(),
                channel=channel,
                symbol=symbol,
                connection=connection,
                matched=matched,
                bridged=bridged,
                cause=gap.cause if gap is not None else "",
                behind=behind,
            )
        )

    def _give_up(
        self, symbol: str, frames: Sequence[Frame], gap: Optional[GapOpened], reason: str, done: _Done
    ) -> None:
        """The gap stays, as after any start; what is held before the archive's end would be there twice."""
        first = frames[0]
        if gap is None:
            return
        if SNAPSHOT in first.payload and first.recv_ns > gap.left_ns:
            done.records.append(self._closed(gap, first.recv_ns, first.connection))
            return
        done.skipped["level3", symbol] = len(frames)
        self._unplaced.add(symbol)
        done.again[symbol] = reason

    def _closed(self, gap: GapOpened, right_ns: int, connection: int) -> GapClosed:
        return GapClosed(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            channel=gap.channel,
            symbol=gap.symbol,
            cause=gap.cause,
            left_ns=gap.left_ns,
            right_ns=max(right_ns, gap.left_ns),
            connection=connection,
        )

    def _place_trades(
        self, held: Mapping[Key, list[Frame]], acknowledged: Mapping[str, Acknowledged], last: LastMessages, done: _Done
    ) -> None:
        """Trades are numbered: what is behind the archive's last one is new."""
        assert self._writer is not None
        for symbol, ack in acknowledged.items():
            gap = self._writer.state.gaps.get(("trade", symbol))
            frames = held.get(("trade", symbol), [])
            ids = [_trade_ids(frame.payload) for frame in frames]
            last_id = max(_trade_ids(last.last[symbol].payload), default=0) if symbol in last.last else 0
            known = sum(1 for each in ids if max(each, default=0) <= last_id)
            done.skipped["trade", symbol] = known
            if gap is None:
                continue
            first_id = min(each for each in ids[known] if each > last_id) if known < len(ids) else last_id + 1
            if first_id == last_id + 1:
                self._hand_over("trade", ack.connection, symbol, "trade_id", len(ids) - known, done)
            else:
                # not with the acknowledgement: of what came behind it the oldest may have gone, for want of memory
                done.records.append(self._closed(gap, frames[known].recv_ns, ack.connection))

    # -- connections that lag ------------------------------------------------------------------------------------------

    def _is_new(self, frame: Frame) -> bool:
        symbol = symbol_of(frame.payload)
        if symbol in self._unplaced or symbol in self._waiting:
            if SNAPSHOT in frame.payload:  # its line begins anew
                self._unplaced.discard(symbol)
                self._waiting.pop(symbol, None)
                return True
            if symbol in self._waiting:
                self._waiting[symbol].frames.append(frame)
            return False
        splice = self._lagging.get(symbol)
        if splice is None:
            return True
        is_new = splice.is_new(frame.payload)
        if not splice.behind:
            del self._lagging[symbol]
        return is_new

    def _look_at_waiting(self) -> None:
        assert self._writer is not None
        done = _Done()
        now_ns = self._clock.mono_ns()
        for symbol, waiting in list(self._waiting.items()):
            splice = Splice(waiting.archived, [frame.payload for frame in waiting.frames])
            if splice.matched:
                del self._waiting[symbol]
                self._place(symbol, waiting.frames, splice, done)
                if splice.ahead:
                    self._writer.append("level3", waiting.frames[-splice.ahead :])
            elif not splice.may_come or now_ns - waiting.since_ns > LAG_S * NS_PER_S:
                del self._waiting[symbol]
                self._unplaced.add(symbol)
                done.again[symbol] = splice.reason
        for record in done.records:
            self._writer.journal(record)
        if done.bridged or done.again:
            self._tell(done)

    def _tell(self, done: _Done) -> None:
        assert self._writer is not None
        gaps = list(self._writer.state.gaps.values())
        self.spliced(Spliced(done.bridged, done.taken_back, gaps, done.again))


_NOT_WHOLE = "the archive is not whole up to its end"


def _why_not_spliced(writer: ArchiveWriter, before: Optional[Started]) -> str:
    """Why no book can go on where the archive ends; `before`: the recorder that wrote it, as it had started."""
    if any(reason != "torn" for each in writer.recovered for _, _, reason in each.torn):
        return _NOT_WHOLE
    now = writer.state.started
    if before is not None and now is not None and before.config.get("depth") != now.config.get("depth"):
        return "the archive's books have another depth"
    return ""


class _Waiting(NamedTuple):
    """A symbol whose place may be found yet."""

    archived: Sequence[bytes]
    frames: list[Frame]
    since_ns: int


class _Done:
    """What one round of splicing came to: how many held frames of a key are not archived, and what is to be told."""

    def __init__(self) -> None:
        self.skipped: dict[Key, int] = {}
        self.bridged: dict[Key, int] = {}
        self.taken_back: list[GapOpened] = []
        self.records: list[Record] = []
        self.again: dict[str, str] = {}


def _trade_ids(payload: bytes) -> list[int]:
    try:
        return [trade.trade_id for trade in decode_trades(payload)]
    except MalformedMessage:
        return []
