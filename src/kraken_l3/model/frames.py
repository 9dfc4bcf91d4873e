"""Frames as they came off the wire, with the moments they came."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple, Union, overload

__all__ = ["Frame", "FrameColumns", "LinesOfText", "moved"]


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


class LinesOfText(Sequence[bytes]):
    """Payloads that stand in one text already.

    Args:
        text: them, each with a newline behind it, and no other newline.
        edges: where each begins, and where the last one ends with its newline, counted from anywhere.
    """

    def __init__(self, text: bytes, edges: array[int]) -> None:
        self.text = text
        self._edges = edges

    def __len__(self) -> int:
        return len(self._edges) - 1

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> LinesOfText: ...

    def __getitem__(self, place: Union[int, slice]) -> Union[bytes, LinesOfText]:
        if isinstance(place, int):
            place = range(len(self))[place]
            return self[place : place + 1].text[:-1]
        begin, end, step = place.indices(len(self))
        if step != 1:
            raise ValueError(f"lines of a text are cut in steps of 1, got {step}")
        edges = self._edges[begin : max(begin, end) + 1]
        return LinesOfText(self.text[edges[0] - self._edges[0] : edges[-1] - self._edges[0]], edges)

    def ends_from(self, offset: int) -> array[int]:
        """The end offset of each, newline included, when the first one begins at `offset`."""
        return moved(self._edges[1:], offset - self._edges[0])


def moved(offsets: array[int], by: int) -> array[int]:
    """Each offset with a number added, where none falls below 0.

    All are added to at once, as the digits of one number: one by one takes ten times as long.
    """
    ones = int.from_bytes((1).to_bytes(8, sys.byteorder) * len(offsets), sys.byteorder)
    total = int.from_bytes(offsets.tobytes(), sys.byteorder) + by * ones
    return array("q", total.to_bytes(8 * len(offsets), sys.byteorder))
