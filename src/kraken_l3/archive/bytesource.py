"""The port that readers get their bytes through: random access to content of a known size, however it is stored."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ByteSource"]


class ByteSource(Protocol):
    """Uncompressed bytes by offset. Threads may share one: no call moves a position that another call depends on."""

    def size(self) -> int:
        """How many bytes there are now; a file that is being written grows between two calls."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end."""

    def close(self) -> None:
        """Let go of the file."""
