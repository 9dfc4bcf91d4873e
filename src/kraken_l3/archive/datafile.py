"""One data file, ours or anybody's NDJSON: its lines, with what its receipts tell of them.

Lines count from 0 and are physical: a blank line has a number, though nothing is yielded for it. Reading starts at a
`Position`, which `DataFile.at_line`, `at_offset` and `at_time` find. Two ways to read:

- `blocks`: pieces of whole lines as they stand in the file, for engines that take lines apart themselves;
- `lines`: one `Line` after the other with its receipt, each checked to be one JSON object.

A line longer than 64 MiB is passed over, and `TOO_LONG` stands for it. As the first line of a file it is an error: that
is hardly NDJSON.

Only whole lines are yielded. Of a file that grows (`growing`), a line counts when its receipt is there. The last line
of a file without receipts may lack its newline, unless the file grows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Optional, Protocol

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.envelope import LEFT_OUT, is_wrapped, unwrap_lines
from kraken_l3.archive.layout import DayPaths, Stream, parse_name
from kraken_l3.archive.opening import PlainFile, open_source
from kraken_l3.archive.receipts import RECEIPT_BYTES, SLACK_NS, Receipt, ReceiptIndex
from kraken_l3.archive.remote import RemotePath
from kraken_l3.archive.scan import BOM, LINE_LIMIT_BYTES, check_object
from kraken_l3.errors import ArchiveError, DamageFound, MalformedMessage

__all__ = ["BEGINNING", "BLOCK_BYTES", "TOO_LONG", "Block", "DataFile", "Line", "Position", "Skipped"]

BLOCK_BYTES = 4 * 1024 * 1024
#: Stands for a line that is longer than the limit: no JSON, so that everybody counts it as damage, where it lies.
TOO_LONG = b"\0 a line that is too long\n"
#: So much of a file, or its first line, tells whether its messages are in envelopes.
_HEAD_BYTES = 64 * 1024
#: So much at the end of a block is looked through for the end of a line, before the block is read.
_TAIL_BYTES = 4 * 1024


class Digest(Protocol):
    """A checksum in the making, of `hashlib`."""

    def update(self, data: bytes, /) -> object:
        """Some more bytes."""


class Position(NamedTuple):
    """The beginning of a line."""

    line: int = 0
    offset: int = 0


#: Of every file.
BEGINNING = Position()


class Block(NamedTuple):
    """Whole lines as they stand in the file; where it has its messages in envelopes, the messages alone.

    Attributes:
        data: the bytes, each line with its newline; only the last line of a file may lack it.
        first_line: number of the first line.
        offset: where `data` begins in the file.
        file: the file it comes from.
        left_out: lines with level3 messages in a form that cannot be read (`envelope`).
    """

    data: bytes
    first_line: int
    offset: int
    file: DataFile
    left_out: int = 0


class Line(NamedTuple):
    """One message.

    Attributes:
        number: counts from 0 in its file.
        offset: where it begins.
        end_offset: just behind its newline.
        payload: its bytes without newline.
        receipt: when and on which connection it came, where that is known.
    """

    number: int
    offset: int
    end_offset: int
    payload: bytes
    receipt: Optional[Receipt]


class Skipped:
    """What a salvaging reader passed over: how many lines, and the first of them (`KEPT` at most)."""

    KEPT = 100

    def __init__(self) -> None:
        self.count = 0
        self.errors: list[MalformedMessage] = []

    def add(self, error: MalformedMessage) -> None:
        """Count one."""
        self.count += 1
        if len(self.errors) < self.KEPT:
            self.errors.append(error)


class DataFile:
    """The messages of one stream on one day, or a file of somebody else's; a context manager.

    Attributes:
        path: the file.
        day: its UTC day, or None when the name does not tell.
        part: which of the day's files it is, from 0; receipts and checkpoints are those of the first.
        stream: what it holds ("level3" where the name does not tell).
        receipts: an index over its receipts, or None when it has none.
    """

    def __init__(self, path: Path, *, line_limit: int = LINE_LIMIT_BYTES) -> None:
        name = parse_name(path.name)
        self._line_limit = line_limit
        self.path = path
        self.day: Optional[dt.date] = name.day if name else None
        self.part = name.part if name else 0
        self.stream = (name.stream if name else None) or Stream.LEVEL3
        self.source: ByteSource = open_source(path)
        self._is_wrapped: Optional[bool] = None
        self.receipts: Optional[ReceiptIndex] = None
        self._receipts_source: Optional[ByteSource] = None
        if name and name.stream and not name.part:
            self._open_receipts(DayPaths(path.parent, name.day).receipts(name.stream))

    def _open_receipts(self, path: Path) -> None:
        """Receipts that cannot be those of this file are left alone (`companions` says so): it is read without."""
        try:
            source = PlainFile(path)  # as all companions are: nobody packs them, and one in parts is worth no unpacking
        except ArchiveError:
            return
        receipts = ReceiptIndex(source, slack_ns=_slack_ns(path))
        newest = receipts.last()
        try:
            fits = newest is None or self._begins_line(newest.end_offset)
        except DamageFound:  # of the data, which says so when it is read
            fits = True
        if fits:
            self._receipts_source, self.receipts = source, receipts
        else:
            source.close()

    def _begins_line(self, offset: int) -> bool:
        return offset == 0 or (offset <= self.source.size() and self.source.read_at(offset - 1, 1) == b"\n")

    def __enter__(self) -> DataFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self.source.close()
        if self._receipts_source is not None:
            self._receipts_source.close()

    def receipt_bytes(self, first: int, count: int) -> bytes:
        """Receipts as they stand in their file, for those who take them apart as columns."""
        if self._receipts_source is None:
            return b""
        return self._receipts_source.read_at(first * RECEIPT_BYTES, count * RECEIPT_BYTES)

    # -- where to start

    def at_line(self, line: int) -> Position:
        """The beginning of a line; the end of the file when it has fewer lines."""
        if self.receipts is not None and line <= len(self.receipts):
            offset = self.receipts.start_of(line)
            if (offset > 0) == (line > 0) and self._begins_line(offset):  # else they are damaged: count the lines
                return Position(line, offset)
        position = Position()
        for position in self._line_starts(line):
            if position.line >= line:
                break
        return position

    def at_offset(self, offset: int) -> Position:
        """The beginning of the line that holds this byte; the end of the file when it lies behind."""
        if self.receipts is not None and offset < self._receipted():
            line = self.receipts.line_at_offset(offset)
            begin, end = self.receipts.start_of(line), self.receipts[line].end_offset
            if begin <= offset < end and self._begins_line(begin):
                return Position(line, begin)
        last = Position()
        for position in self._line_starts():
            if position.offset > offset:
                break
            last = position
        return last

    def at_time(self, recv_ns: int) -> Position:
        """The first line received at this moment or later; the beginning of the file when nothing tells the time."""
        return Position() if self.receipts is None else self.at_line(self.receipts.line_at_time(recv_ns))

    def _receipted(self) -> int:
        newest = self.receipts.last() if self.receipts is not None else None
        return newest.end_offset if newest else 0

    def _line_starts(self, first: int = 0) -> Iterator[Position]:
        """The beginning of every line from a line on (and of some before it), and last the end of the file."""
        end = Position()
        for block in self.blocks():
            line, at, stop = block.first_line, 0, len(block.data)
            if block.data.endswith(b"\n") and line + block.data.count(b"\n") <= first:
                end = Position(line + block.data.count(b"\n"), block.offset + stop)
                continue
            while 0 <= at < stop:
                yield Position(line, block.offset + at)
                line, at = line + 1, block.data.find(b"\n", at) + 1 or stop
            end = Position(line, block.offset + stop)
        yield end

    # -- reading

    def end(self, *, growing: bool) -> int:
        """How far the file can be read now."""
        size = self.source.size()
        if self.receipts is not None and growing:
            return min(size, self._receipted())
        return size

    def has_grown(self, since: Position) -> bool:
        """Whether there may be lines behind a place: less work than to read none."""
        if self.receipts is not None:
            return len(self.receipts) > since.line
        return self.source.size() > since.offset

    def blocks(
        self,
        start: Position = BEGINNING,
        *,
        size: int = BLOCK_BYTES,
        growing: bool = False,
        numbered: bool = True,
        digest: Optional[Digest] = None,
        until: Optional[int] = None,
    ) -> Iterator[Block]:
        """The file in pieces of whole lines of about `size` bytes; `growing`: as far as it was written by now.

        `until` is an offset at which a line begins: nothing from there on is read.
        `digest` is fed the bytes that were read. Counting lines takes as long as the rest of the reading. Whoever
        counts them anyway says `numbered=False`; then every block has the first line of the first.

        Raises:
            ArchiveError: `growing`, and the file is shorter than where to start.
        """
        line, offset = start
        if offset == 0 and self.source.read_at(0, len(BOM)) == BOM:
            offset = len(BOM)
        while True:
            end = self.end(growing=growing)
            if until is not None:
                end = min(end, until)
            data, length = self._whole_lines(offset, end, size, growing=growing)
            if not data:
                break
            if digest is not None:
                self._update(digest, data, offset, length)
            shown, left_out = unwrap_lines(data) if self._has_envelopes() else (data, 0)
            yield Block(shown, line, offset, self, left_out)
            offset += length
            line += data.count(b"\n") if numbered else 0
        if growing and self.source.size() < offset:
            raise ArchiveError("the file became shorter while it was followed", where=f"{self.path}, offset {offset}")

    def _has_envelopes(self) -> bool:
        """Whether the messages are in envelopes, which the first lines tell. None of our own, with receipts, are."""
        if self._is_wrapped is None:
            is_foreign = self.receipts is None and self.stream is Stream.LEVEL3
            head, _ = self._whole_lines(0, self.source.size(), _HEAD_BYTES, growing=False) if is_foreign else (b"", 0)
            self._is_wrapped = is_wrapped(head.removeprefix(BOM).split(b"\n"))
        return self._is_wrapped

    def _update(self, digest: Digest, data: bytes, offset: int, length: int) -> None:
        """With what the file has there: a line that is too long is not in memory."""
        if len(data) == length:
            digest.update(data)
            return
        for at in range(offset, offset + length, BLOCK_BYTES):
            digest.update(self.source.read_at(at, min(BLOCK_BYTES, offset + length - at)))

    def _whole_lines(self, offset: int, end: int, size: int, *, growing: bool) -> tuple[bytes, int]:
        """Lines from an offset on, and how many bytes of the file they are; `TOO_LONG` for one that is too long."""
        data = self._read(offset, self._up_to_line_end(offset, min(size, max(0, end - offset))))
        cut = data.rfind(b"\n") + 1
        if not cut and offset + len(data) < end:  # a line longer than a block
            parts = [data]
            length = len(data)
            while not cut and 0 < length < end - offset:
                if length > self._line_limit and offset > len(BOM) and not growing:
                    return TOO_LONG, self._end_of_line(offset + length, end, size) - offset
                if length > self._line_limit:
                    raise DamageFound(
                        f"a line longer than {self._line_limit:,} bytes",
                        where=f"{self.path}, offset {offset}",
                        hint="Is it NDJSON?",
                    )
                parts.append(self._read(offset + length, min(size, end - offset - length)))
                if not parts[-1]:
                    break
                cut = length + parts[-1].rfind(b"\n") + 1 if b"\n" in parts[-1] else 0
                length += len(parts[-1])
            data = b"".join(parts)
        if not cut:
            cut = 0 if growing or self._is_torn(offset) else len(data)
        return data if cut == len(data) else data[:cut], cut

    def _up_to_line_end(self, offset: int, size: int) -> int:
        """A size that ends with a line, where the last bytes tell it: what is read so need not be copied to be cut."""
        if size <= _TAIL_BYTES or not isinstance(self.source, PlainFile):
            return size
        tail = self.source.read_at(offset + size - _TAIL_BYTES, _TAIL_BYTES)
        return size - _TAIL_BYTES + (tail.rfind(b"\n") + 1 or _TAIL_BYTES)

    def _read(self, offset: int, size: int) -> bytes:
        """So many bytes, or fewer in front of damage: no line before it is lost with it."""
        try:
            return self.source.read_at(offset, size)
        except DamageFound:
            if size <= 1:
                raise
            return self._read(offset, size // 2)

    def _end_of_line(self, at: int, end: int, size: int) -> int:
        while at < end and (part := self.source.read_at(at, min(size, end - at))):
            if b"\n" in part:
                return at + part.index(b"\n") + 1
            at += len(part)
        return at

    def _is_torn(self, offset: int) -> bool:
        """Whether a last line without newline is one that our writer had not finished."""
        return self.receipts is not None and offset >= self._receipted()

    def lines(
        self,
        start: Position = BEGINNING,
        *,
        growing: bool = False,
        skipped: Optional[Skipped] = None,
        check: bool = True,
    ) -> Iterator[Line]:
        """One message after the other.

        Args:
            start: where to begin.
            growing: see `blocks`.
            skipped: given, lines that are no JSON object are passed over and counted there; else they raise.
            check: False yields every line, whatever it is.

        Raises:
            MalformedMessage: a line is no JSON object, and `skipped` was not given.
        """
        for block in self.blocks(start, growing=growing):
            for line in self._lines_of(block):
                if not check or self._is_good(line, skipped):
                    yield line

    def _lines_of(self, block: Block) -> Iterator[Line]:
        at, number = block.offset, block.first_line
        texts = block.data.split(b"\n")
        if not texts[-1]:
            texts.pop()
        receipts = self.receipts.read(number, len(texts)) if self.receipts is not None else iter(())
        for text in texts:
            begin, at = at, at + len(text) + 1
            receipt = next(receipts, None)
            if receipt is None and text.endswith(b"\r"):
                text = text[:-1]
            if self._is_wrapped:
                text = text.rstrip()
            if text and not (self._is_wrapped and text == LEFT_OUT):
                fits = receipt is not None and receipt.end_offset == at
                yield Line(number, begin, at, text, receipt if fits else None)
            number += 1

    def _is_good(self, line: Line, skipped: Optional[Skipped]) -> bool:
        try:
            check_object(line.payload)
        except MalformedMessage as error:
            error.where = f"{self.path}, line {line.number}, offset {line.offset}"
            if skipped is None:
                raise
            skipped.add(error)
            return False
        return True


#: How far a clock that never stepped may be off from one line to the next.
_STEADY_NS = 1_000_000_000


@lru_cache(maxsize=64)
def _slack_ns(receipts: Path) -> int:
    """How far the clock of a day may have stepped back.

    In an object store every byte counts, and the journal, which is much smaller than an hour of receipts, tells steps.
    """
    name = parse_name(receipts.name)
    if not isinstance(receipts, RemotePath) or name is None:
        return SLACK_NS
    try:
        journal = PlainFile(DayPaths(receipts.parent, name.day).journal)
    except ArchiveError:
        return SLACK_NS
    try:
        has_steps = b'"clock_step"' in journal.read_at(0, journal.size())
    finally:
        journal.close()
    return SLACK_NS if has_steps else _STEADY_NS
