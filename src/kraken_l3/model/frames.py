"""Frames as they came off the wire, with the moments they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Frame", "FrameColumns"]


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


class FrameColumns(NamedTuple):
    """Some frames, each of their values in a column: what is written many at a time is never taken apart."""

    payloads: Sequence[bytes]
    recv_ns: Sequence[int]
    mono_ns: Sequence[int]
    connections: Sequence[int]
    flags: Sequence[int]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> FrameColumns:
        """At least one frame."""
        return cls(*zip(*frames))

    def cut(self, begin: int, end: int) -> FrameColumns:
        """Some of them."""
        payloads, recv_ns, mono_ns, connections, flags = self
        times = recv_ns[begin:end], mono_ns[begin:end]
        return FrameColumns(payloads[begin:end], *times, connections[begin:end], flags[begin:end])
