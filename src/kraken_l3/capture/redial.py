"""Replaces connections that are a day old, one at a time, and only those that another connection can stand in for.

Whoever closes old connections, a proxy or Kraken, does so at a moment of his own choosing; this one is ours.
"""

from __future__ import annotations

import asyncio
from typing import Callable, NamedTuple

import structlog

from kraken_l3.capture.connection import Connection
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.clock import Clock
from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["Redial", "RedialTimes"]

log = structlog.get_logger("kraken_l3.capture.redial")


class RedialTimes(NamedTuple):
    """When connections are replaced.

    Attributes:
        age_s: at this age.
        look_s: between two looks; at most one connection is replaced at each.
    """

    age_s: float = 86_400.0
    look_s: float = 60.0


class Redial:
    """See the module.

    Args:
        connections: the open ones.
        may_leave: whether nothing would be lost if a connection ended now.
        clock: tells their age.
        times: see `RedialTimes`.
    """

    def __init__(
        self,
        connections: OpenConnections,
        may_leave: Callable[[Connection], bool],
        clock: Clock,
        times: RedialTimes = RedialTimes(),  # noqa: B008 - immutable
    ) -> None:
        self._connections = connections
        self._may_leave = may_leave
        self._clock = clock
        self._times = times
        self._since_ns: dict[int, int] = {}

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await asyncio.sleep(self._times.look_s)
            self.look()

    def look(self) -> None:
        """Replace the oldest connection that is old enough and may leave."""
        now_ns = self._clock.mono_ns()
        present = {each.number: each for each in self._connections.of_channel("level3")}
        self._since_ns = {number: self._since_ns.get(number, now_ns) for number in present}
        for number in sorted(present):
            age_s = (now_ns - self._since_ns[number]) / NS_PER_S
            if age_s >= self._times.age_s and self._may_leave(present[number]):
                log.info(
                    "replacing a connection by a new one, the other one goes on", connection=number, hours=age_s / 3600
                )
                present[number].end("redial", "old enough to be replaced")
                return
