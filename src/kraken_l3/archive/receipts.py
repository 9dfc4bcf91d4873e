"""Receipts: one 32-byte little-endian record for each line of a data file, in the same order.

    offset  type  field
    0       i64   recv_ns     wall clock at reception, nanoseconds since 1970 UTC, raw: it steps when the clock steps
    8       i64   mono_ns     monotonic clock at reception, nanoseconds; comparable within one boot of the machine
    16      u64   end_offset  offset in the data file just behind the line's newline
    24      u32   connection  number of the connection, as in the journal (0: unknown)
    28      u32   flags       NEWLINE_REPLACED 1, RECEIVE_TIME_UNKNOWN 2, MALFORMED 4

Search by offset or line is exact: end_offset always rises. Search by time bisects recv_ns, which need not be sorted: it
looks for the time less `SLACK_NS` and walks on from there, so that a clock that stepped back by less than that costs a
longer walk and nothing else. After a bigger step back the recorder has closed its connections (gap cause `clock`), and
the search may come out at either side of the step.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat
from operator import add, lshift, or_
from typing import NamedTuple, Optional, Protocol

__all__ = [
    "MALFORMED",
    "MAX_CONNECTION",
    "NEWLINE_REPLACED",
    "RECEIPT_BYTES",
    "RECEIVE_TIME_UNKNOWN",
    "SLACK_NS",
    "Receipt",
    "ReceiptIndex",
    "end_offsets",
    "ends_of",
    "pack_columns",
    "pack_receipt",
    "receive_times",
    "unpack_receipts",
]

NEWLINE_REPLACED = 1
RECEIVE_TIME_UNKNOWN = 2
MALFORMED = 4

#: Numbers go up by one a connection, over days: far more than there can be, and far enough from what 32 bits hold.
MAX_CONNECTION = 2**31 - 1

_RECORD = struct.Struct("<qqQII")
RECEIPT_BYTES = _RECORD.size
#: A day's file goes on over clock steps back of less than an hour.
SLACK_NS = 3_600 * 1_000_000_000


class Receipt(NamedTuple):
    """One record; see the module."""

    recv_ns: int
    mono_ns: int
    end_offset: int
    connection: int
    flags: int


def ends_of(payloads: Sequence[bytes], offset: int) -> list[int]:
    """The end offset of each line, newline included, when the first one begins at `offset`."""
    ends = accumulate(map(add, map(len, payloads), repeat(1)), initial=offset)
    next(ends)
    return list(ends)


def pack_columns(
    recv_ns: Sequence[int],
    mono_ns: Sequence[int],
    ends: Sequence[int],
    connections: Sequence[int],
    flags: Sequence[int],
) -> bytes:
    """Many records at once, given as columns of one length."""
    # connection and flags are one 64-bit word here, so that the format is one repeated code: nothing to compile a batch
    last = map(or_, connections, map(lshift, flags, repeat(32))) if any(flags) else connections
    if not isinstance(recv_ns, array):
        return struct.pack(f"<{4 * len(ends)}q", *chain.from_iterable(zip(recv_ns, mono_ns, ends, last)))
    words = array("q", bytes(RECEIPT_BYTES * len(ends)))
    for place, column in enumerate((recv_ns, mono_ns, ends, last)):
        words[place::4] = array("q", column)  # of arrays both are copies of memory
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


def pack_receipt(receipt: Receipt) -> bytes:
    """One record."""
    return _RECORD.pack(*receipt)


def unpack_receipts(data: bytes) -> Iterator[Receipt]:
    """All whole records of `data`; a torn last one is left out."""
    whole = len(data) - len(data) % RECEIPT_BYTES
    return map(Receipt._make, _RECORD.iter_unpack(memoryview(data)[:whole]))


_FIRST_STEP, _WALK = 256, 16_384


def receive_times(data: bytes) -> array[int]:
    """The receive times of all whole records of `data`."""
    return _words(data)[::4]


def end_offsets(data: bytes) -> array[int]:
    """The end offsets of all whole records of `data`."""
    return _words(data)[2::4]


def _words(data: bytes) -> array[int]:
    words = array("q", data[: len(data) - len(data) % RECEIPT_BYTES])
    if sys.byteorder == "big":
        words.byteswap()
    return words


class _Readable(Protocol):
    def size(self) -> int: ...

    def read_at(self, offset: int, count: int) -> bytes: ...


class ReceiptIndex:
    """Looks into a receipts file that may be growing, without reading all of it.

    Args:
        source: the file.
        slack_ns: by how much the clock may have stepped back; so much is walked through for a time that is looked for.
    """

    def __init__(self, source: _Readable, *, slack_ns: int = SLACK_NS) -> None:
        self._source = source
        self._slack_ns = slack_ns

    def __len__(self) -> int:
        return self._source.size() // RECEIPT_BYTES

    def __getitem__(self, line: int) -> Receipt:
        """The receipt of a line. A line without one has the times of the last receipt and RECEIVE_TIME_UNKNOWN."""
        found = next(self.read(line, 1), None)
        if found is None:
            newest = self.last() or Receipt(0, 0, 0, 0, 0)
            return Receipt(newest.recv_ns, newest.mono_ns, newest.end_offset, 0, RECEIVE_TIME_UNKNOWN)
        return found

    def __iter__(self) -> Iterator[Receipt]:
        return self.read(0, len(self))

    def read(self, first: int, count: int) -> Iterator[Receipt]:
        """Up to `count` receipts from line `first` on."""
        if first >= len(self):  # a damaged companion may name any line
            return iter(())
        return unpack_receipts(self._source.read_at(first * RECEIPT_BYTES, count * RECEIPT_BYTES))

    def start_of(self, line: int) -> int:
        """The offset where a line begins (also the line just behind the last one)."""
        return self[line - 1].end_offset if line else 0

    def line_at_offset(self, offset: int) -> int:
        """The line that holds the byte at `offset`; the number of lines when it lies behind the last one."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle].end_offset <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def line_at_time(self, recv_ns: int) -> int:
        """The first line received at `recv_ns` or later; with a clock that stepped see the module."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle].recv_ns < recv_ns - self._slack_ns:
                low = middle + 1
            else:
                high = middle
        return self._walk(low, recv_ns)

    def _walk(self, line: int, recv_ns: int) -> int:
        total = len(self)
        step = _FIRST_STEP
        while line < total:
            times = receive_times(self._source.read_at(line * RECEIPT_BYTES, step * RECEIPT_BYTES))
            step = min(2 * step, _WALK)
            if max(times, default=recv_ns) >= recv_ns:
                return line + next((i for i, time_ns in enumerate(times) if time_ns >= recv_ns), 0)
            line += len(times)
        return total

    def last(self) -> Optional[Receipt]:
        """The newest receipt, or None in an empty file."""
        count = len(self)
        return self[count - 1] if count else None
