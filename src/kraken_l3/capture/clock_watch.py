"""Checks the clocks once a second: steps of the wall clock, new days, and `alive` records in the journal."""

from __future__ import annotations

import asyncio

import structlog

from kraken_l3.archive.journal import Alive, ClockStep
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.capture.sink import Sink
from kraken_l3.clock import Clock
from kraken_l3.model.timestamps import NS_PER_S, day_of

__all__ = ["ClockWatch"]

WATCH_S = 1.0
ALIVE_S = 10.0
#: The wall clock may drift and be slewed; only larger steps are journalled.
CLOCK_STEP_NS = NS_PER_S
#: After a larger step the day itself is in doubt: all connections are closed and opened again.
CLOCK_JUMP_NS = 3600 * NS_PER_S

log = structlog.get_logger("kraken_l3.capture.clock_watch")


class ClockWatch:
    """See the module.

    Args:
        sink: journals the records.
        connections: ended after a big step; on a new day the list of instruments is subscribed to again.
        clock: the two clocks.
        alive_s: seconds between two `alive` records.
    """

    def __init__(self, sink: Sink, connections: OpenConnections, clock: Clock, *, alive_s: float = ALIVE_S) -> None:
        self._sink = sink
        self._connections = connections
        self._clock = clock
        self._alive_ns = int(alive_s * NS_PER_S)
        self._offset_ns = clock.wall_ns() - clock.mono_ns()
        self._alive_at_ns = clock.mono_ns()
        self._day = day_of(clock.wall_ns())

    async def run(self) -> None:
        """Check once a second, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.look()

    def look(self) -> None:
        """Check once."""
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        step_ns = (wall_ns - mono_ns) - self._offset_ns
        self._offset_ns += step_ns
        if abs(step_ns) > CLOCK_STEP_NS:
            self._on_step(wall_ns, mono_ns, step_ns)
        if mono_ns - self._alive_at_ns >= self._alive_ns:
            self._alive_at_ns = mono_ns
            for connection in self._connections:
                connection.deliver()
            last = {connection.number: connection.last_recv_ns for connection in self._connections}
            lines = self._sink.written_frames
            self._sink.journal(Alive(at_ns=wall_ns, mono_ns=mono_ns, last_frame_ns=last, lines=lines))
        # Not "later than": a clock that was years ahead and is set right begins a new day too.
        if day_of(wall_ns) != self._day:
            self._day = day_of(wall_ns)
            # Each day's file of instruments opens with the whole list.
            for connection in self._connections.of_channel("instrument"):
                connection.resync(None)

    def _on_step(self, wall_ns: int, mono_ns: int, step_ns: int) -> None:
        log.warning("the wall clock stepped", seconds=step_ns / NS_PER_S)
        if abs(step_ns) > CLOCK_JUMP_NS:
            self._connections.end("clock", f"the wall clock stepped by {step_ns / NS_PER_S:.0f} s")
            self._sink.restart_day(wall_ns)
        self._sink.journal(ClockStep(at_ns=wall_ns, mono_ns=mono_ns, step_ns=step_ns))
