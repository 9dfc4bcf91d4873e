"""Waiting for an exchange to get somewhere, for tests that run it in their own event loop."""

from __future__ import annotations

import asyncio
from typing import Callable

from kraken_l3.exchange.server import Exchange

__all__ = ["until", "until_sent", "until_subscribed"]

#: Long enough for a machine that does much else meanwhile; nothing waits longer than it has to.
WAIT_S = 60.0


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
