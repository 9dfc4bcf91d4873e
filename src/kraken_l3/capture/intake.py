"""Whether connections may be opened and read, depending on the queue and the disk.

A full queue pauses reading: TCP then holds the data back, and nothing is lost unless it lasts long. A full disk ends
the connections, because what they receive could not be kept.
"""

from __future__ import annotations

import asyncio
from typing import Optional

import structlog

from kraken_l3.archive.journal import GapClosed
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.clock import Clock
from kraken_l3.errors import KrakenL3Error

__all__ = ["Intake"]

PAUSE_LIMIT_S = 20.0

log = structlog.get_logger("kraken_l3.capture.intake")


class Intake:
    """Implements `sink.SinkListener`.

    Args:
        connections: paused, resumed and ended here.
        gaps: extended to the left when frames that were received are lost.
        clock: for the time at which this run began.
        pause_limit_s: a longer pause ends the connections, so that the gap is recorded.
    """

    def __init__(
        self, connections: OpenConnections, gaps: GapLedger, clock: Clock, *, pause_limit_s: float = PAUSE_LIMIT_S
    ) -> None:
        self._connections = connections
        self._gaps = gaps
        self._started_ns = self._kept_until_ns = clock.wall_ns()
        self._pause_limit_s = pause_limit_s
        self._pause_timer: Optional[asyncio.TimerHandle] = None
        self._queue_is_full = False
        self._disk_is_full = False
        #: Set while connections may be opened.
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        #: Done when nothing more can be written.
        self.fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def on_full(self, queued_bytes: int) -> None:
        """See `SinkListener`."""
        log.warning("the disk cannot keep up, reading is paused", queued_bytes=queued_bytes)
        self._queue_is_full = True
        for connection in self._connections:
            connection.pause()
        loop = asyncio.get_running_loop()
        self._pause_timer = loop.call_later(self._pause_limit_s, self._on_paused_too_long)
        self._decide()

    def on_room(self) -> None:
        """See `SinkListener`."""
        self._queue_is_full = False
        self.close()
        for connection in self._connections:
            connection.resume()
        self._decide()

    def on_disk_full(self, kept_until_ns: int) -> None:
        """See `SinkListener`."""
        log.error("the disk is full, recording stops until there is room", hint="Free space on the archive's disk")
        self._disk_is_full = True
        self._decide()
        self._kept_until_ns = kept_until_ns or self._started_ns
        self._gaps.reach_back("disk", self._kept_until_ns)
        self._connections.end("disk", "the disk is full", kept_until_ns=self._kept_until_ns)

    def on_close_lost(self, record: GapClosed) -> None:
        """See `SinkListener`."""
        self._gaps.reopen(record)
        self._gaps.reach_back("disk", self._kept_until_ns)

    def on_disk_ok(self) -> None:
        """See `SinkListener`."""
        log.info("the disk has room again")
        self._disk_is_full = False
        self._decide()

    def on_fault(self, error: KrakenL3Error) -> None:
        """See `SinkListener`."""
        if not self.fault.done():
            self.fault.set_result(error)

    def close(self) -> None:
        """Stop the timer of a pause."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()

    def _decide(self) -> None:
        # On a full disk a new connection's snapshot would be lost; with a full queue it would not be paused.
        if self._disk_is_full or self._queue_is_full:
            self.may_connect.clear()
        else:
            self.may_connect.set()

    def _on_paused_too_long(self) -> None:
        self._connections.end("writer", f"the archive accepted nothing for {self._pause_limit_s:.0f} s")
