"""A frame as it came off the wire, with the moment it came."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Frame"]


class Frame(NamedTuple):
    """One WebSocket message, exactly as received.

    Attributes:
        payload: the bytes, untouched.
        recv_ns: wall clock at reception, nanoseconds since 1970 UTC, taken before any other work.
        mono_ns: monotonic clock at reception, nanoseconds.
        connection: number of the connection, unique within an archive directory's day.
        flags: `archive.receipts` flag bits known at reception.
    """

    payload: bytes
    recv_ns: int
    mono_ns: int
    connection: int
    flags: int = 0
