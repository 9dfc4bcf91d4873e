"""How much Kraken lets a client ask for.

Sources: https://docs.kraken.com/api/docs/websocket-v2/level3 (symbols, subscription rate),
https://docs.kraken.com/api/docs/guides/spot-ws-intro (connections), https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["AttemptLimit", "DecayingCounter", "Limits", "SlidingWindow", "subscription_cost"]

_NS_PER_S = 1_000_000_000
_COSTS = {10: 5, 100: 25, 1000: 100}


def subscription_cost(depth: int) -> int:
    """What subscribing to one symbol counts. Source: https://docs.kraken.com/api/docs/websocket-v2/level3"""
    return _COSTS.get(depth, max(_COSTS.values()))


class Limits(NamedTuple):
    """The numbers an exchange goes by.

    Attributes:
        symbols_per_connection: level3 symbols on one connection.
        subscriptions_per_s: the subscription rate counter, of which symbols cost 5, 25 or 100.
        attempts: WebSocket connection attempts of one address in `attempts_window_s`; more are refused as long again.
        attempts_window_s: see `attempts`.
        idle_s: a connection without subscription and without requests is closed after this.
        token_s: a token must be used within this time.
        rest_counter: size of the private REST counter; a call costs 1.
        rest_decay_per_s: what the counter loses a second.
        invalid_keys: so many wrong keys one after another lock the address out (the number is invented).
        lockout_s: for this long.
        backlog_bytes: what is kept for a client that reads slowly; over it the connection is cut, so that memory stays
            bounded (Kraken queues without a known bound: 26 s were seen).
        rising_nonces: whether each nonce of a key must be larger than the one before.
    """

    symbols_per_connection: int = 200
    subscriptions_per_s: int = 200
    attempts: int = 150
    attempts_window_s: float = 600.0
    idle_s: float = 60.0
    token_s: float = 900.0
    rest_counter: float = 20.0
    rest_decay_per_s: float = 0.5
    invalid_keys: int = 10
    lockout_s: float = 900.0
    backlog_bytes: int = 64 * 1024 * 1024
    rising_nonces: bool = True

    @classmethod
    def of_tier(cls, tier: str) -> Limits:
        """Those of an account tier: "standard" or "pro".

        Raises:
            KeyError: any other tier.
        """
        return {"standard": cls(), "pro": cls(subscriptions_per_s=500, rest_decay_per_s=1.0)}[tier]


class SlidingWindow:
    """At most `size` within any `span_s` seconds; what is refused does not count."""

    def __init__(self, size: int, span_s: float) -> None:
        self.size = size
        self._span_ns = int(span_s * _NS_PER_S)
        self._used: deque[tuple[int, int]] = deque()
        self._sum = 0

    def take(self, cost: int, mono_ns: int) -> bool:
        """Whether there is room for this much now; then it is taken."""
        while self._used and self._used[0][0] <= mono_ns - self._span_ns:
            self._sum -= self._used.popleft()[1]
        if self._sum + cost > self.size:
            return False
        self._used.append((mono_ns, cost))
        self._sum += cost
        return True


class DecayingCounter:
    """Kraken's REST counter: a call adds, time takes away, over the size the call is refused."""

    def __init__(self, size: float, decay_per_s: float) -> None:
        self._size = size
        self._decay = decay_per_s
        self._value = 0.0
        self._at_ns = 0

    def take(self, cost: float, mono_ns: int) -> bool:
        """Whether the call may be made; then it counts."""
        self._value = max(0.0, self._value - (mono_ns - self._at_ns) / _NS_PER_S * self._decay)
        self._at_ns = mono_ns
        if self._value + cost > self._size:
            return False
        self._value += cost
        return True


class AttemptLimit:
    """Cloudflare's limit on connection attempts: too many ban the address for as long as the window is.

    Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro
    """

    def __init__(self, attempts: int, window_s: float) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._windows: dict[str, SlidingWindow] = {}
        self._banned_until_ns: dict[str, int] = {}

    def take(self, address: str, mono_ns: int) -> bool:
        """Whether this address may connect now; then the attempt counts."""
        if mono_ns < self._banned_until_ns.get(address, 0):
            return False
        if self._windows.setdefault(address, SlidingWindow(self._attempts, self._window_s)).take(1, mono_ns):
            return True
        self._banned_until_ns[address] = mono_ns + int(self._window_s * _NS_PER_S)
        return False
