"""Content that can only be unpacked on and on: gzip, and zstd in one large frame, have nowhere to enter."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Callable

__all__ = ["RunningContent"]


class RunningContent:
    """Unpacks from a place on; only what lies behind the last offset asked for is still there.

    Going back means unpacking again. One reader at a time: how far unpacking has come belongs to the whole file, so a
    lock is held over a read.

    Args:
        unpack_from: the nearest place at or before an offset from which it can be unpacked, and the content from there
            on in parts.
    """

    def __init__(self, unpack_from: Callable[[int], tuple[int, Iterator[bytes]]]) -> None:
        self._unpack_from = unpack_from
        self._lock = Lock()
        self._behind = bytearray()
        self._at, self._parts = unpack_from(0)

    def read_at(self, offset: int, count: int) -> bytes:
        """See `ByteSource.read_at`.

        Raises:
            DamageFound: it cannot be unpacked.
        """
        with self._lock:
            if offset < self._at:
                self._behind = bytearray()
                self._at, self._parts = self._unpack_from(offset)
            while len(self._behind) < offset + count - self._at:
                part = next(self._parts, None)
                if part is None:
                    break
                self._behind += part
                self._drop_before(offset)
            self._drop_before(offset)
            return bytes(self._behind[:count]) if offset >= self._at else b""

    def _drop_before(self, offset: int) -> None:
        passed = min(max(offset - self._at, 0), len(self._behind))
        del self._behind[:passed]
        self._at += passed
