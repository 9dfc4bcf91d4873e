"""Collects what a running recorder shows, as one plain `RecorderStatus`: for every display, alert and metric."""

from __future__ import annotations

import math
import os
import re
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3._version import __version__
from kraken_l3.app.recorder import Recorder
from kraken_l3.archive.journal import Finding, GapOpened, HandedOver, Record, Rejected, Resync
from kraken_l3.clock import Clock
from kraken_l3.model.frames import Frame
from kraken_l3.model.histogram import FSYNC_BOUNDS_S, LAG_BOUNDS_S, Histogram
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.monitor.status import (
    ClockStatus,
    ConnectionStatus,
    DiskStatus,
    RecorderStatus,
    RelayStatus,
    SymbolStatus,
    VerifierStatus,
)
from kraken_l3.protocol.session import SymbolState

__all__ = ["MessageCounter", "Observed", "RecordCounter", "StatusCollector"]

#: A rate forgets what is older than about this.
RATE_MEMORY_S = 3.0
#: Where a message names its symbol: behind the envelope, before the orders.
HEAD_BYTES = 120
#: Of the name of a symbol; and so many names: Kraken has 1,500.
NAME_BYTES, NAMES_MAX = 64, 10_000
#: The lag of so many messages of a batch is looked at, evenly spread.
LAG_SAMPLES = 10
_SYMBOL = b'"symbol":"'
_SNAPSHOT = b'"type":"snapshot"'
_STAMP = re.compile(rb'"timestamp":"([^"]{20,35})"')

STATE_WORDS = {
    SymbolState.WAITING: "waiting",
    SymbolState.REQUESTED: "subscribing",
    SymbolState.ACKED: "subscribed",
    SymbolState.LIVE: "recording",
    SymbolState.LEAVING: "resubscribing",
    SymbolState.REJECTED: "rejected",
}


class _Tally:
    """One symbol, as the writer's thread counts it."""

    __slots__ = ("lag_s", "last", "messages", "rated", "snapshot_ns")

    def __init__(self) -> None:
        self.messages = 0
        self.snapshot_ns: Optional[int] = None
        self.last: Optional[Frame] = None
        #: Of the frame `rated`.
        self.lag_s: Optional[float] = None
        self.rated: Optional[Frame] = None


class MessageCounter:
    """Counts level3 messages by symbol. It is the sink's observer: called in the writer's thread, so it only looks for
    two literals a frame, and at the lag of a sample; the rest is done when somebody reads."""

    def __init__(self) -> None:
        self.tallies: dict[str, _Tally] = {}
        #: The same by the bytes of the name: decoding them takes a fifth of the time.
        self._by_name: dict[bytes, _Tally] = {}
        self.frames: dict[str, int] = {}
        self.lag = Histogram.of(LAG_BOUNDS_S)
        #: Receive time of the last level3 message.
        self.last_ns = 0

    def __call__(self, stream: str, frames: Sequence[Frame]) -> None:
        """See `capture.sink.Observer`."""
        self.frames[stream] = self.frames.get(stream, 0) + len(frames)
        if stream != "level3" or not frames:
            return
        by_name = self._by_name
        for frame in frames:
            payload = frame[0]
            start = payload.find(_SYMBOL, 0, HEAD_BYTES)
            if start < 0 and (start := payload.find(_SYMBOL)) < 0:
                continue
            start += len(_SYMBOL)
            end = payload.find(b'"', start, start + NAME_BYTES)
            tally = by_name.get(name := payload[start:end])
            if tally is None:
                if end < 0 or len(by_name) == NAMES_MAX:  # a server that makes names up must not take the memory
                    continue
                tally = by_name[name] = self.tallies.setdefault(name.decode(errors="replace"), _Tally())
            tally.messages += 1
            if payload.find(_SNAPSHOT, 0, HEAD_BYTES) >= 0:
                tally.snapshot_ns = frame.recv_ns
            else:
                tally.last = frame
        self.last_ns = frames[-1].recv_ns
        self._sample_lag(frames)

    def _sample_lag(self, frames: Sequence[Frame]) -> None:
        stride = -(-len(frames) // LAG_SAMPLES)
        for frame in frames[::stride]:
            if frame.payload.find(_SNAPSHOT, 0, HEAD_BYTES) < 0:  # a snapshot's orders are old, and say nothing
                lag_s = _lag_s(frame)
                if lag_s is not None:
                    self.lag.add(lag_s, stride)


class RecordCounter:
    """Counts what is journalled. It is the sink's observer of records."""

    def __init__(self) -> None:
        self.gaps: Counter[str] = Counter()
        self.resyncs: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.rejections = 0
        self.handovers = 0

    def __call__(self, record: Record) -> None:
        """See `capture.sink.RecordObserver`."""
        if isinstance(record, GapOpened):
            if record.cause != "stop":
                self.gaps[record.cause] += 1
        elif isinstance(record, Resync):
            self.resyncs[record.cause] += 1
        elif isinstance(record, Finding):
            self.findings[record.what] += 1
        elif isinstance(record, HandedOver):
            self.handovers += 1
        elif isinstance(record, Rejected):
            self.rejections += 1


class Observed(NamedTuple):
    """What belongs to the event loop's thread, at one moment."""

    now_ns: int
    mono_ns: int
    states: dict[str, tuple[int, SymbolState]]
    connections: list[ConnectionStatus]
    without_standby: Optional[int] = None


class _Rate:
    """The growth of a count per second, smoothed."""

    def __init__(self) -> None:
        self._count = 0
        self._at_ns = 0
        self._rate = 0.0

    def update(self, count: int, at_ns: int) -> float:
        """The current rate; the first call returns 0."""
        passed_s = (at_ns - self._at_ns) / NS_PER_S
        if self._at_ns and passed_s > 0:
            weight = 1 - math.exp(-passed_s / RATE_MEMORY_S)
            self._rate += weight * ((count - self._count) / passed_s - self._rate)
        if passed_s > 0:
            self._count, self._at_ns = count, at_ns
        return self._rate


class StatusCollector:
    """Takes the status of a recorder again and again; rates are smoothed over successive ones.

    Args:
        recorder: before, during or after its run.
        directory: of its archive.
        clock: dates the statuses.
        messages: the recorder's observer.
        records: the recorder's observer of records.
    """

    def __init__(
        self, recorder: Recorder, directory: Path, clock: Clock, messages: MessageCounter, records: RecordCounter
    ) -> None:
        self._recorder = recorder
        self._directory = str(directory)
        self._clock = clock
        self._messages = messages
        self._records = records
        self._since_ns = clock.wall_ns()
        self._host = socket.gethostname()
        self._rates: dict[str, _Rate] = {}
        self._total = _Rate()

    def observe(self) -> Observed:
        """In the event loop: the part that nobody else may look at. It takes a fraction of a millisecond."""
        supervisor = self._recorder.supervisor
        connections = [
            ConnectionStatus(
                number=each.number,
                channel=each.channel.name,
                symbols=len(each.channel.symbols),
                last_frame_ns=each.last_recv_ns,
            )
            for each in self._recorder.connections
        ]
        states = supervisor.states() if supervisor is not None else {}
        leaders = self._recorder.leaders
        alone = None if leaders is None else sum(leaders.successor(symbol) is None for symbol in states)
        return Observed(self._clock.wall_ns(), self._clock.mono_ns(), states, connections, alone)

    def status(
        self,
        observed: Optional[Observed] = None,
        disk: DiskStatus = DiskStatus(),  # noqa: B008 - immutable
        clock: ClockStatus = ClockStatus(),  # noqa: B008 - immutable
    ) -> RecorderStatus:
        """The recorder as it was observed, by default now. Any one thread may do this: a thousand rows take a while."""
        seen = observed if observed is not None else self.observe()
        recorder, sink, records, messages = self._recorder, self._recorder.sink, self._records, self._messages
        count = sink.written_frames if sink is not None else 0
        return RecorderStatus(
            now_ns=seen.now_ns,
            since_ns=self._since_ns,
            directory=self._directory,
            rows=[
                self._row(name, *seen.states[name], seen.mono_ns) for name in recorder.symbols if name in seen.states
            ],
            pid=os.getpid(),
            host=self._host,
            version=__version__,
            messages=count,
            rate=self._total.update(count, seen.mono_ns),
            frames=dict(messages.frames),
            written_bytes=sink.written_bytes if sink is not None else 0,
            queue_bytes=sink.queued_bytes if sink is not None else 0,
            queue_limit_bytes=sink.limit_bytes if sink is not None else 0,
            paused=sink is not None and sink.is_full,
            reconnects=recorder.supervisor.reconnects if recorder.supervisor is not None else 0,
            connections=seen.connections,
            gaps_by_cause=dict(records.gaps),
            resyncs=dict(records.resyncs),
            findings=dict(records.findings),
            handovers=records.handovers,
            without_standby=seen.without_standby,
            rejections=records.rejections,
            lag=messages.lag.copy(),
            fsync=sink.syncs.copy() if sink is not None else Histogram.of(FSYNC_BOUNDS_S),
            verifier=self._verifier(),
            relay=self._relay(),
            disk=disk,
            clock=clock,
        )

    def _verifier(self) -> Optional[VerifierStatus]:
        verifier = self._recorder.verifier
        if verifier is None:
            return None
        told, last_ns = verifier.progress, self._messages.last_ns
        return VerifierStatus(
            ok=told.ok,
            mismatched=told.mismatched,
            symbols=told.symbols,
            not_synced=told.not_synced,
            lag_s=_behind_s(told.received_ns, last_ns),
            restarts=verifier.restarts,
        )

    def _relay(self) -> Optional[RelayStatus]:
        relay = self._recorder.relay
        if relay is None:
            return None
        told = relay.progress
        lag_s = _behind_s(told.received_ns, self._messages.last_ns)
        return RelayStatus(url=told.url, clients=told.clients, lag_s=lag_s, restarts=relay.restarts)

    def _row(self, symbol: str, connection: int, state: SymbolState, mono_ns: int) -> SymbolStatus:
        tally = self._messages.tallies.get(symbol) or _Tally()
        last, gaps = tally.last, self._recorder.gaps
        if last is not tally.rated:
            tally.rated, tally.lag_s = last, _lag_s(last)
        gap = gaps.open_gap("level3", symbol) if gaps is not None else None
        return SymbolStatus(
            symbol=symbol,
            connection=connection,
            state=STATE_WORDS[state],
            messages=tally.messages,
            rate=self._rates.setdefault(symbol, _Rate()).update(tally.messages, mono_ns),
            lag_s=tally.lag_s,
            last_message_ns=max(last.recv_ns if last is not None else 0, tally.snapshot_ns or 0) or None,
            last_snapshot_ns=tally.snapshot_ns,
            gaps=gaps.counts[symbol] if gaps is not None else 0,
            gap_cause=gap.cause if gap is not None else "",
            gap_since_ns=gap.left_ns if gap is not None else 0,
        )


def _behind_s(received_ns: int, last_ns: int) -> Optional[float]:
    """How far a reader of the archive is behind the last message written."""
    return max(0, last_ns - received_ns) / NS_PER_S if last_ns and received_ns else None


def _lag_s(frame: Optional[Frame]) -> Optional[float]:
    """Receive time minus the newest timestamp in the message, which is by the matching engine's clock."""
    if frame is None:
        return None
    stamps = _STAMP.findall(frame.payload)
    try:
        return (frame.recv_ns - parse_rfc3339(max(stamps).decode())) / NS_PER_S
    except ValueError:  # no stamp, or not one that we know
        return None
