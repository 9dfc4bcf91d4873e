"""A feed without a pace of its own goes as fast as its readers, so it has to wait for them.

It waits for the slowest, or that one would be cut at its bound. One that takes nothing in for a while is not waited
for: a client that hangs does not stop the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from kraken_l3.exchange.connection import Connection

__all__ = ["Backpressure"]

#: A client with so much left to read is behind.
_ENOUGH_BYTES = 1 << 20
_PATIENCE_NS = 5_000_000_000


class _Behind(NamedTuple):
    """How much a client that is behind has taken in so far, and since when it has that."""

    taken_bytes: int
    since_ns: int


class Backpressure:
    """Whom a feed waits for.

    Args:
        enough_bytes: a client with so much left to read is behind.
        patience_ns: one that is behind, and has taken nothing in for so long, is not waited for.
    """

    def __init__(self, enough_bytes: int = _ENOUGH_BYTES, patience_ns: int = _PATIENCE_NS) -> None:
        self._enough_bytes = enough_bytes
        self._patience_ns = patience_ns
        self._behind: dict[Connection, _Behind] = {}

    def holds(self, readers: Collection[Connection], mono_ns: int) -> bool:
        """Whether nothing more is to be sent now."""
        behind = {}
        for reader in readers:
            if reader.backlog >= self._enough_bytes:
                now = _Behind(reader.queued_bytes - reader.backlog, mono_ns)
                before = self._behind.get(reader, now)
                behind[reader] = before if before.taken_bytes == now.taken_bytes else now
        self._behind = behind
        return any(mono_ns - each.since_ns < self._patience_ns for each in behind.values())
