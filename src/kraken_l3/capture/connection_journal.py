"""The journal records of one connection, except for gaps."""

from __future__ import annotations

from typing import Callable, Optional

import structlog

from kraken_l3.archive.journal import (
    Acknowledged,
    Connected,
    Control,
    Disconnected,
    Record,
    Rejected,
    Unrecognised,
)
from kraken_l3.capture.channel import Channel
from kraken_l3.clock import Clock
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.session import Acked, Dead, SymbolRejected

__all__ = ["UNRECOGNISED_KEPT", "ConnectionJournal"]

log = structlog.get_logger("kraken_l3.capture.connection")

FRAME_KEPT_BYTES = 64 * 1024
#: Further unrecognised frames are only counted.
UNRECOGNISED_KEPT = 100
#: Control frames above this rate are only counted. Kraken allows 100 subscriptions a second at most; the responses to
#: those are a quarter of it.
CONTROL_BYTES_PER_S = 128 * 1024
#: Size of a record without its frame.
RECORD_BYTES = 150


class ConnectionJournal:
    """Journals what happens on one connection. Times of frames are their receive times, wall clock and monotonic.

    Args:
        number: of the connection, as in receipts and journal.
        channel: what it carries.
        journal: called with each record.
        clock: timestamps records without a frame.
    """

    def __init__(self, number: int, channel: Channel, journal: Callable[[Record], None], clock: Clock) -> None:
        self._number = number
        self._channel = channel
        self._journal = journal
        self._clock = clock
        self._second = 0
        self._second_bytes = 0
        self._left_out = 0
        #: How many frames were neither control nor data.
        self.unrecognised_count = 0

    def connected(self, url: str, extensions: str) -> None:
        """The handshake is complete."""
        self._journal(
            Connected(
                at_ns=self._clock.wall_ns(),
                mono_ns=self._clock.mono_ns(),
                connection=self._number,
                url=url,
                channel=self._channel.name,
                symbols=self._channel.recorded_symbols(),
                extensions=extensions,
            )
        )

    def disconnected(self, dead: Dead, close_code: Optional[int], last_frame_ns: int) -> None:
        """The connection has ended."""
        if self._left_out:
            log.warning("control frames came too fast to be kept", connection=self._number, left_out=self._left_out)
            self._journal_control("", self._clock.wall_ns(), self._clock.mono_ns())
        self._journal(
            Disconnected(
                at_ns=self._clock.wall_ns(),
                mono_ns=self._clock.mono_ns(),
                connection=self._number,
                cause=dead.cause,
                detail=dead.detail,
                close_code=close_code,
                last_frame_ns=last_frame_ns,
            )
        )

    def control(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        """A status message or a response. Those above the rate are counted; the next record says how many."""
        size = min(len(payload), FRAME_KEPT_BYTES) + RECORD_BYTES
        if mono_ns // NS_PER_S != self._second:
            self._second, self._second_bytes = mono_ns // NS_PER_S, 0
        if self._second_bytes + size > CONTROL_BYTES_PER_S:
            self._left_out += 1
            return
        self._second_bytes += size
        self._journal_control(payload[:FRAME_KEPT_BYTES].decode(errors="replace"), recv_ns, mono_ns)

    def _journal_control(self, frame: str, at_ns: int, mono_ns: int) -> None:
        number, left_out = self._number, self._left_out
        self._journal(Control(at_ns=at_ns, mono_ns=mono_ns, connection=number, frame=frame, left_out=left_out))
        self._left_out = 0

    def unrecognised(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        """A frame that is neither control nor data; `recv_ns` 0: its receive time is unknown."""
        self.unrecognised_count += 1
        if self.unrecognised_count > UNRECOGNISED_KEPT:
            return
        self._journal(
            Unrecognised(
                at_ns=recv_ns or self._clock.wall_ns(),
                mono_ns=mono_ns,
                connection=self._number,
                size=len(payload),
                count=self.unrecognised_count,
                frame=payload[:FRAME_KEPT_BYTES].decode("latin-1"),
            )
        )

    def acknowledged(self, event: Acked, recv_ns: int, mono_ns: int) -> None:
        """A subscription was accepted. If Kraken does not repeat the depth, it is the requested one."""
        self._journal(
            Acknowledged(
                at_ns=recv_ns,
                mono_ns=mono_ns,
                connection=self._number,
                channel=self._channel.name,
                symbol=event.symbol or "",
                depth=event.depth if event.depth is not None else self._channel.depth,
            )
        )

    def rejected(self, event: SymbolRejected, at_ns: int) -> None:
        """A subscription was rejected, or got no response."""
        self._journal(
            Rejected(
                at_ns=at_ns,
                mono_ns=self._clock.mono_ns(),
                connection=self._number,
                channel=self._channel.name,
                symbol=event.symbol or "",
                error=event.error,
                retry_s=float(event.retry_s),
            )
        )
