"""How symbols are spread over connections, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Union

from kraken_l3.protocol.budget import MARGIN, RATE_PER_S, SUBSCRIPTION_COST, SYMBOLS_PER_CONNECTION

__all__ = ["Plan", "make_plan", "redundancy_for", "shards"]

#: Calm-day figures per symbol: a liquid pair at depth 10 was measured at 370 bytes a message and 17.8 KiB/s
#: (BTC/USD, 2026-09-16); four pairs in a busy 10 s of 2024-11-12 at 63 to 127 messages/s each. The median pair trades
#: far less. Depth 100 and 1000 were never measured; level 2 books send 2 and 3.2 times as much at depth 25 and 100.
LIQUID_BYTES_PER_DAY = 17.8 * 1024 * 86_400
DEPTH_FACTOR = {10: 1.0, 100: 3.2, 1000: 6.0}

#: With two connections a symbol at most so many in all (half of what Kraken lets one address open in 10 minutes is for
#: reconnecting), and all symbols subscribed in so many seconds: so long a connection that drops has no other.
REDUNDANT_CONNECTIONS = 12
REDUNDANT_SUBSCRIBE_S = 120.0


class Plan(NamedTuple):
    """What a configuration needs: connections, time to subscribe, disk per day.

    Attributes:
        shards: the symbols of each connection.
        redundancy: how many connections carry each symbol.
        subscribe_s: seconds until the last subscription of each symbol's first connection is sent, within Kraken's
            budget; a second one takes as long again.
        disk_bytes_per_day: (for symbols that trade little, for symbols as liquid as BTC/USD), from the figures above.
    """

    shards: list[list[str]]
    redundancy: int
    subscribe_s: float
    disk_bytes_per_day: tuple[float, float]

    @property
    def connections(self) -> int:
        """Level3 connections."""
        return len(self.shards) * self.redundancy

    @property
    def received_bytes_per_s(self) -> tuple[float, float]:
        """What the connections receive, for the same symbols as `disk_bytes_per_day`."""
        low, high = (part * self.redundancy / 86_400 for part in self.disk_bytes_per_day)
        return low, high


def shards(symbols: Sequence[str], per_connection: int = SYMBOLS_PER_CONNECTION) -> list[list[str]]:
    """The symbols of each connection: as few connections as allowed, evenly filled."""
    count = -(-len(symbols) // per_connection)
    return [list(symbols[i::count]) for i in range(count)]


def redundancy_for(symbols: int, depth: int, tier: str, wanted: Union[str, int]) -> int:
    """How many connections carry each symbol: as many as wanted, or for "auto" two where Kraken's limits have room."""
    if isinstance(wanted, int):
        return wanted
    connections = 2 * -(-symbols // SYMBOLS_PER_CONNECTION)
    is_quick = _subscribe_s(symbols, depth, tier) <= REDUNDANT_SUBSCRIBE_S
    return 2 if connections <= REDUNDANT_CONNECTIONS and is_quick else 1


def _subscribe_s(symbols: int, depth: int, tier: str) -> float:
    return symbols * SUBSCRIPTION_COST[depth] / (RATE_PER_S[tier] * MARGIN)


def make_plan(symbols: Sequence[str], depth: int, tier: str, redundancy: Union[str, int] = "auto") -> Plan:
    """The plan of a configuration; `redundancy` as it is configured."""
    liquid = len(symbols) * LIQUID_BYTES_PER_DAY * DEPTH_FACTOR[depth]
    return Plan(
        shards(symbols),
        redundancy_for(len(symbols), depth, tier, redundancy),
        _subscribe_s(len(symbols), depth, tier),
        (liquid * 0.02, liquid),
    )
