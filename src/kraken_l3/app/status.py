"""Collects what a running recorder shows, as one plain `RecorderView`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from kraken_l3.app.recorder import Recorder
from kraken_l3.clock import Clock
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339
from kraken_l3.monitor.view import RecorderView, SymbolRow
from kraken_l3.protocol.session import SymbolState

__all__ = ["MessageCounter", "StatusCollector"]

#: A rate forgets what is older than about this.
RATE_MEMORY_S = 3.0
#: Where a message names its symbol: behind the envelope, before the orders.
HEAD_BYTES = 120
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

    __slots__ = ("last", "messages", "snapshot_ns")

    def __init__(self) -> None:
        self.messages = 0
        self.snapshot_ns: Optional[int] = None
        self.last: Optional[Frame] = None


class MessageCounter:
    """Counts level3 messages by symbol. It is the sink's observer: called in the writer's thread, so it only looks for
    two literals a frame; the rest is done when somebody reads."""

    def __init__(self) -> None:
        self.tallies: dict[str, _Tally] = {}

    def __call__(self, stream: str, frames: Sequence[Frame]) -> None:
        """See `capture.sink.Observer`."""
        if stream != "level3":
            return
        for frame in frames:
            payload = frame.payload
            start = payload.find(_SYMBOL, 0, HEAD_BYTES)
            if start < 0 and (start := payload.find(_SYMBOL)) < 0:
                continue
            start += len(_SYMBOL)
            name = payload[start : payload.find(b'"', start)].decode(errors="replace")
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies[name] = _Tally()
            tally.messages += 1
            if payload.find(_SNAPSHOT, 0, HEAD_BYTES) >= 0:
                tally.snapshot_ns = frame.recv_ns
            else:
                tally.last = frame


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
    """Takes views of a recorder; rates are smoothed over successive views.

    Args:
        recorder: before, during or after its run.
        directory: of its archive.
        clock: dates the views.
        counter: the recorder's observer (None: single symbols are not shown).
    """

    def __init__(
        self, recorder: Recorder, directory: Path, clock: Clock, counter: Optional[MessageCounter] = None
    ) -> None:
        self._recorder = recorder
        self._directory = str(directory)
        self._clock = clock
        self._tallies = counter.tallies if counter is not None else {}
        self._since_ns = clock.wall_ns()
        self._rates: dict[str, _Rate] = {}
        self._total = _Rate()

    def view(self, disk_free_bytes: Optional[int] = None) -> RecorderView:
        """The recorder at this moment."""
        recorder, mono_ns = self._recorder, self._clock.mono_ns()
        sink, progress = recorder.sink, recorder.verifier.progress if recorder.verifier is not None else None
        messages = sink.written_frames if sink is not None else 0
        return RecorderView(
            now_ns=self._clock.wall_ns(),
            since_ns=self._since_ns,
            directory=self._directory,
            rows=self._rows(mono_ns),
            messages=messages,
            rate=self._total.update(messages, mono_ns),
            written_bytes=sink.written_bytes if sink is not None else 0,
            queue_bytes=sink.queued_bytes if sink is not None else 0,
            disk_free_bytes=disk_free_bytes,
            reconnects=recorder.supervisor.reconnects if recorder.supervisor is not None else 0,
            verified=progress.ok if progress is not None else None,
            mismatched=progress.mismatched if progress is not None else 0,
        )

    def _rows(self, mono_ns: int) -> list[SymbolRow]:
        supervisor = self._recorder.supervisor
        if supervisor is None:
            return []
        states = supervisor.states()
        return [self._row(symbol, *states[symbol], mono_ns) for symbol in self._recorder.symbols if symbol in states]

    def _row(self, symbol: str, connection: int, state: SymbolState, mono_ns: int) -> SymbolRow:
        tally = self._tallies.get(symbol) or _Tally()
        gaps = self._recorder.gaps
        return SymbolRow(
            symbol=symbol,
            connection=connection,
            state=STATE_WORDS[state],
            messages=tally.messages,
            rate=self._rates.setdefault(symbol, _Rate()).update(tally.messages, mono_ns),
            lag_s=_lag_s(tally.last),
            last_snapshot_ns=tally.snapshot_ns,
            gaps=gaps.counts[symbol] if gaps is not None else 0,
        )


def _lag_s(frame: Optional[Frame]) -> Optional[float]:
    """Receive time minus the newest timestamp in the message, which is by the matching engine's clock."""
    if frame is None:
        return None
    stamps = _STAMP.findall(frame.payload)
    try:
        return (frame.recv_ns - parse_rfc3339(max(stamps).decode())) / NS_PER_S
    except ValueError:  # no stamp, or not one that we know
        return None
