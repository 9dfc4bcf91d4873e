"""The two clocks: wall time for the record, monotonic time for everything that waits."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where the time comes from; tests bring one that jumps."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC. May step in either direction."""

    def mono_ns(self) -> int:
        """Nanoseconds since some fixed moment. Never steps back."""


class SystemClock:
    """The machine's own clocks: the functions themselves, since every frame is stamped with both."""

    wall_ns = staticmethod(time.time_ns)
    mono_ns = staticmethod(time.monotonic_ns)
