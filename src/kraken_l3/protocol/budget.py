"""Kraken's limits on the subscription rate and on connection attempts. All connections share both.

Costs of a level3 subscription by depth, against a counter that drains by 200 (standard) or 500 (pro) a second; and
about 150 connection attempts in any 10 minutes from one address, above which the address is banned for 10 minutes.

Sources: https://docs.kraken.com/api/docs/websocket-v2/level3 and .../guides/spot-ws-intro
"""

from __future__ import annotations

from collections import deque

from kraken_l3.model.timestamps import NS_PER_S

__all__ = [
    "CONNECTION_ATTEMPTS",
    "MARGIN",
    "RATE_PER_S",
    "SUBSCRIPTION_COST",
    "SYMBOLS_PER_CONNECTION",
    "ConnectionBudget",
    "SubscriptionBudget",
]

SUBSCRIPTION_COST = {10: 5, 100: 25, 1000: 100}
RATE_PER_S = {"standard": 200, "pro": 500}
SYMBOLS_PER_CONNECTION = 200
#: Below Kraken's 150, because other programs at the same address count too.
CONNECTION_ATTEMPTS = 120
CONNECTION_WINDOW_NS = 600 * NS_PER_S
#: Subscriptions are spaced evenly and with a margin, so that no second exceeds Kraken's rate, whenever it begins.
MARGIN = 0.95


class SubscriptionBudget:
    """Spaces subscriptions so that their costs stay below `rate_per_s` in any second."""

    def __init__(self, rate_per_s: int) -> None:
        self._rate = rate_per_s * MARGIN
        self._free_at_ns = 0

    def reserve(self, cost: int, now_ns: int) -> int:
        """Reserve the next place; returns how many nanoseconds to wait for it."""
        start = max(self._free_at_ns, now_ns)
        self._free_at_ns = start + int(cost * NS_PER_S / self._rate)
        return start - now_ns


class ConnectionBudget:
    """At most `attempts` starts in any window of 10 minutes."""

    def __init__(self, attempts: int = CONNECTION_ATTEMPTS) -> None:
        self._attempts = attempts
        self._starts: deque[int] = deque()

    def reserve(self, now_ns: int) -> int:
        """Reserve one attempt; returns how many nanoseconds to wait before it."""
        start = now_ns
        if len(self._starts) >= self._attempts:
            start = max(now_ns, self._starts[-self._attempts] + CONNECTION_WINDOW_NS)
        self._starts.append(start)
        while len(self._starts) > self._attempts:
            self._starts.popleft()
        return start - now_ns
