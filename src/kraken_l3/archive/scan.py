"""One look over a data file and its receipts: what is good, what is not, which receipt belongs to which line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional, Protocol

import msgspec

from kraken_l3.archive.filesystem import File
from kraken_l3.archive.receipts import MALFORMED, RECEIPT_BYTES, RECEIVE_TIME_UNKNOWN, Receipt, ReceiptIndex
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = [
    "BOM",
    "CHUNK_BYTES",
    "LINE_LIMIT_BYTES",
    "Range",
    "Scan",
    "Segment",
    "check_object",
    "fault_of",
    "merge_ranges",
    "segments",
]

CHUNK_BYTES = 1 << 20
#: No message comes near: a longer line is damage, and is read no further into memory.
LINE_LIMIT_BYTES = 64 * 1024 * 1024
BOM = b"\xef\xbb\xbf"
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Range(NamedTuple):
    """A part of a file; a bad one carries the reason why."""

    offset: int
    length: int
    reason: str = ""


class Segment(NamedTuple):
    """A line without its newline.

    Attributes:
        offset: where it begins.
        data: its bytes; of a line longer than the limit only the first of them.
        length: all its bytes, the newline included.
        whole: whether it had a newline.
        is_cut: whether it is longer than the limit.
    """

    offset: int
    data: bytes
    length: int
    whole: bool
    is_cut: bool = False


def check_object(line: bytes) -> None:
    """Return when the line is one JSON object.

    Raises:
        MalformedMessage: it is not.
    """
    try:
        decode_json(_object, line)
    except MalformedMessage as error:
        raise MalformedMessage(f"not a JSON object ({error.__cause__})") from error.__cause__


class Readable(Protocol):
    """What lines can be taken from: a file of the file system, or a byte source."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end."""


def segments(file: Readable, offset: int, *, limit: int = LINE_LIMIT_BYTES) -> Iterator[Segment]:
    """Lines without their newlines; the last one may lack it.

    Every byte is looked at once, and no more than `limit` bytes of a line are kept, however long it is.
    """
    kept: list[bytes] = []
    length = 0
    while chunk := file.read_at(offset + length, CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        kept.append(first[: max(0, limit - length)])
        length += len(first)
        for line in others:
            yield Segment(offset, b"".join(kept), length + 1, whole=True, is_cut=length > limit)
            offset, kept, length = offset + length + 1, [line[:limit]], len(line)
    if length:
        yield Segment(offset, b"".join(kept), length, whole=False, is_cut=length > limit)


def fault_of(segment: Segment) -> str:
    """Why the segment is no good line; empty when it is one."""
    data = segment.data
    if b"\0" in data:
        return "NUL bytes"
    if segment.is_cut:
        return "too long"
    if not segment.whole:
        return "torn"
    try:
        check_object(data[len(BOM) :] if segment.offset == 0 and data.startswith(BOM) else data)
    except MalformedMessage:
        return "not a JSON object"
    return ""


class Scan:
    """One pass over a data file and its receipts: what is bad, and from where on anything differs."""

    def __init__(self, data: File, receipts: File, start: int, line: int) -> None:
        self._data, self._receipts, self._line = data, ReceiptIndex(receipts), line
        self._start = start
        self._size = data.size()
        self._receipts_bytes = receipts.size()
        self._pending: Optional[Receipt] = None
        self._source = self._read_receipts(line)
        self.bad: list[Range] = []
        self.padded = 0
        self.matched = 0

    def _read_receipts(self, line: int) -> Iterator[Receipt]:
        while True:
            batch = list(self._receipts.read(line, 4096))
            if not batch:
                return
            yield from batch
            line += len(batch)

    def _receipt_ending_at(self, end: int) -> Optional[Receipt]:
        while True:
            if self._pending is None:
                self._pending = next(self._source, None)
                if self._pending is None:
                    return None
            found = self._pending
            if found.end_offset > end and found.end_offset <= self._size:
                return None  # it belongs to a later line
            self._pending = None
            if found.end_offset == end and (found.recv_ns > 0 or found.flags & RECEIVE_TIME_UNKNOWN):
                return found  # with no time and no flag it is one that lost its first half

    def lines(self) -> Iterator[tuple[Range, Receipt]]:
        """Each good line with its receipt, its end offset already that of the file after the repair."""
        removed = 0
        previous = next(self._receipts.read(self._line - 1, 1), None) if self._line else None
        for segment in segments(self._data, self._start):
            length = segment.length
            end = segment.offset + length
            receipt = self._receipt_ending_at(end)
            fault = fault_of(segment)
            if fault and not (segment.whole and receipt is not None and receipt.flags & MALFORMED):
                self.bad.append(Range(segment.offset, length, fault))
                removed += length
                continue
            if receipt is None:
                self.padded += 1
                recv_ns, mono_ns = (previous.recv_ns, previous.mono_ns) if previous else (0, 0)
                receipt = Receipt(recv_ns, mono_ns, end, 0, RECEIVE_TIME_UNKNOWN)
            else:
                self.matched += 1
            previous = receipt = receipt._replace(end_offset=end - removed)
            yield Range(segment.offset, length), receipt

    @property
    def cut(self) -> int:
        """Receipts that belong to no good line; a torn one counts. Valid after `lines` ended."""
        return -(-self._receipts_bytes // RECEIPT_BYTES) - self._line - self.matched


def merge_ranges(ranges: Iterable[Range]) -> Iterator[Range]:
    """Ranges that touch and have one reason, joined."""
    last: Optional[Range] = None
    for part in ranges:
        if last is not None and last.offset + last.length == part.offset and last.reason == part.reason:
            last = Range(last.offset, last.length + part.length, last.reason)
        else:
            if last is not None:
                yield last
            last = part
    if last is not None:
        yield last
