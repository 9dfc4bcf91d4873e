"""The feed's clock: takes from the feed what is due and sends it to whoever subscribed to it."""

from __future__ import annotations

import asyncio
from typing import Callable

from kraken_l3.clock import Clock
from kraken_l3.exchange.clients import Clients
from kraken_l3.exchange.fault_injector import FaultInjector
from kraken_l3.exchange.feed import Feed

__all__ = ["Delivery"]

_NS_PER_S = 1_000_000_000
#: At `rate=inf` the feed pauses while every client has this much left to read.
_ENOUGH_BYTES = 1 << 20
#: The longest pause, so that a change of the feed's rate takes effect soon.
_MAX_PAUSE_S = 0.05


class Delivery:
    """Carries messages from the feed to the connections.

    Args:
        feed: where messages come from.
        clients: where they go.
        faults: what happens to them on the way.
        clock: both clocks.
        changed: called after each turn.
    """

    def __init__(
        self, feed: Feed, clients: Clients, faults: FaultInjector, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._clients = clients
        self._faults = faults
        self._clock = clock
        self._changed = changed

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            for message in self._feed.due(self._clock.wall_ns(), self._clock.mono_ns()):
                readers = self._clients.readers(message)
                if self._faults.touch_messages:
                    for connection in tuple(readers):
                        self._faults.deliver(connection, message.channel, message.symbol, message.payload)
                else:
                    for connection in readers:
                        connection.send(message.channel, message.payload)
            self._changed()
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        due_ns = self._feed.next_due_ns()
        if due_ns is None:
            return _MAX_PAUSE_S
        if due_ns == 0:
            # As fast as the clients read: without a look at the backlog a slow one would be cut at its bound
            backlogs = [c.backlog for c in self._clients.all() if c.session.subscribed]
            return 0.0 if backlogs and min(backlogs) < _ENOUGH_BYTES else 0.002
        return min(_MAX_PAUSE_S, max(0.0, (due_ns - self._clock.mono_ns()) / _NS_PER_S))
