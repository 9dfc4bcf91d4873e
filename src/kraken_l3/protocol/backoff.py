"""How long to wait before a reconnect: 1, 2, 4 ... 60 s with jitter, starting over after each success.

A connection succeeded once every symbol that was not rejected had its acknowledgement and its snapshot. If it held for
a minute, the next attempt is made at once, except during maintenance; if it broke sooner, after 1 s. When connections
keep breaking within seconds, attempts keep the distance that Kraken allows. During maintenance Kraken asks for at least
5 s between attempts.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro
"""

from __future__ import annotations

from typing import Callable

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["Backoff"]

FIRST_S = 1.0
LARGEST_S = 60.0
MAINTENANCE_S = 5.0
#: Kraken allows about 150 attempts in 10 minutes, one every 4 s.
ATTEMPT_SPACING_S = 5.0
HEALTHY_AFTER_NS = 60 * NS_PER_S
#: A delay grows by this fraction at most, so that connections which broke together do not reconnect together.
JITTER = 0.1


class Backoff:
    """The delays of one connection. `random` returns numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0
        self._was_short = False

    def next_delay_s(self, *, healthy_ns: int, maintenance: bool) -> float:
        """Seconds to wait before the next attempt.

        Args:
            healthy_ns: for how long all symbols were whole on the connection that just ended (0: never).
            maintenance: Kraken's status is not "online".
        """
        if healthy_ns:
            self._failures = 0
        if healthy_ns >= HEALTHY_AFTER_NS and not maintenance:
            return 0.0
        delay = min(FIRST_S * 2.0**self._failures, LARGEST_S)
        self._failures = min(self._failures + 1, 16)
        was_short_before, self._was_short = self._was_short, 0 < healthy_ns < ATTEMPT_SPACING_S * NS_PER_S
        if self._was_short and was_short_before:
            delay = max(delay, ATTEMPT_SPACING_S - healthy_ns / NS_PER_S)
        delay *= 1.0 + JITTER * self._random()
        return max(delay, MAINTENANCE_S) if maintenance else delay
