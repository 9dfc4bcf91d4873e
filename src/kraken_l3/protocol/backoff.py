"""How long to wait before connecting again: 1, 2, 4 ... 60 s with jitter, and the one exception.

A link that was healthy for a minute may be tried again at once, one time, unless maintenance is on. During maintenance
Kraken asks for at least 5 s between attempts. The sequence starts again when the link was good for a minute, that is:
every symbol that was not rejected had its acknowledgement and its snapshot, and 60 s have passed since.

Source: https://docs.kraken.com/api/docs/guides/spot-ws-intro
"""

from __future__ import annotations

from typing import Callable

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["Backoff"]

FIRST_S = 1.0
LARGEST_S = 60.0
MAINTENANCE_S = 5.0
HEALTHY_AFTER_NS = 60 * NS_PER_S
#: A delay grows by at most this part, so that connections that fell together do not come back together.
JITTER = 0.1


class Backoff:
    """The delays of one connection. `random` gives numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures = 0

    def next_delay_s(self, *, healthy_ns: int, maintenance: bool) -> float:
        """The delay before the next attempt.

        Args:
            healthy_ns: for how long the connection that just ended was whole (0: it never was).
            maintenance: Kraken said that it is not online.
        """
        if healthy_ns >= HEALTHY_AFTER_NS:
            self._failures = 0
            if not maintenance:
                return 0.0
        delay = min(FIRST_S * 2.0**self._failures, LARGEST_S)
        self._failures = min(self._failures + 1, 16)
        delay *= 1.0 + JITTER * self._random()
        return max(delay, MAINTENANCE_S) if maintenance else delay
