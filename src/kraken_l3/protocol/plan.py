"""How symbols are spread over connections, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kraken_l3.protocol.budget import MARGIN, RATE_PER_S, SUBSCRIPTION_COST, SYMBOLS_PER_CONNECTION

__all__ = ["Plan", "make_plan", "shards"]

#: Calm-day figures per symbol: a liquid pair at depth 10 was measured at 370 bytes a message and 17.8 KiB/s
#: (BTC/USD, 2026-09-16); four pairs in a busy 10 s of 2024-11-12 at 63 to 127 messages/s each. The median pair trades
#: far less. Depth 100 and 1000 were never measured; level 2 books send 2 and 3.2 times as much at depth 25 and 100.
LIQUID_BYTES_PER_DAY = 17.8 * 1024 * 86_400
DEPTH_FACTOR = {10: 1.0, 100: 3.2, 1000: 6.0}


class Plan(NamedTuple):
    """What a configuration needs: connections, time to subscribe, disk per day.

    Attributes:
        shards: the symbols of each connection.
        subscribe_s: seconds until the last subscription is sent, within Kraken's budget.
        disk_bytes_per_day: (for symbols that trade little, for symbols as liquid as BTC/USD), from the figures above.
    """

    shards: list[list[str]]
    subscribe_s: float
    disk_bytes_per_day: tuple[float, float]


def shards(symbols: Sequence[str], per_connection: int = SYMBOLS_PER_CONNECTION) -> list[list[str]]:
    """The symbols of each connection: as few connections as allowed, evenly filled."""
    count = -(-len(symbols) // per_connection)
    return [list(symbols[i::count]) for i in range(count)]


def make_plan(symbols: Sequence[str], depth: int, tier: str) -> Plan:
    """The plan of a configuration."""
    seconds = len(symbols) * SUBSCRIPTION_COST[depth] / (RATE_PER_S[tier] * MARGIN)
    liquid = len(symbols) * LIQUID_BYTES_PER_DAY * DEPTH_FACTOR[depth]
    return Plan(shards(symbols), seconds, (liquid * 0.02, liquid))
