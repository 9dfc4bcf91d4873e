"""For tests that run an exchange in their own event loop: waiting for it to get somewhere, and what it had to send."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Callable

from kraken_l3.exchange.feed import Message
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.server import Exchange

__all__ = ["NotedFlow", "until", "until_sent", "until_subscribed"]

#: Long enough for a machine that does much else meanwhile; nothing waits longer than it has to.
WAIT_S = 60.0


class NotedFlow(OrderFlow):
    """Order flow that keeps the level3 updates it gave, before any fault: what the connections together should have.

    Updates are made only for depths that somebody watches: `watch` a pair to go on while no connection reads it.

    Attributes:
        updates: symbol and depth to its updates, in order.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.updates: dict[tuple[str, int], list[bytes]] = defaultdict(list)

    def due(self, wall_ns: int, mono_ns: int) -> list[Message]:
        """See `feed.Feed`."""
        messages = super().due(wall_ns, mono_ns)
        for message in messages:
            if message.channel == "level3":
                self.updates[message.symbol, message.depth].append(message.payload)
        return messages


async def until(exchange: Exchange, condition: Callable[[Exchange], bool], timeout_s: float = WAIT_S) -> None:
    """Waits until the condition holds; it is looked at whenever something happened in the exchange.

    Raises:
        asyncio.TimeoutError: it did not come true in time.
    """

    async def wait() -> None:
        while not condition(exchange):
            exchange.changed.clear()
            await exchange.changed.wait()

    await asyncio.wait_for(wait(), timeout_s)


async def until_sent(exchange: Exchange, messages: int, timeout_s: float = WAIT_S) -> None:
    """Waits until so many level3 messages were handed to sockets, over all connections."""
    await until(exchange, lambda e: e.sent.level3_count >= messages, timeout_s)


async def until_subscribed(exchange: Exchange, subscriptions: int, timeout_s: float = WAIT_S) -> None:
    """Waits until so many level3 subscriptions are alive, over all connections."""
    await until(
        exchange, lambda e: sum(len(c.session.depths) for c in e.clients.level3.values()) >= subscriptions, timeout_s
    )
