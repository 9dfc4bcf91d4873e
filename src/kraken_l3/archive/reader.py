"""Reads archives: a directory of ours, or any single NDJSON file, with what companions it has.

Lines count from 0 and are physical: a blank line has a number, though nothing is yielded for it. Reading starts at a
`Position`, which `DataFile.at_line`, `at_offset` and `at_time` find. Two ways to read:

- `blocks`: pieces of whole lines as they stand in the file, for engines that take lines apart themselves;
- `lines`: one `Line` after the other with its receipt, each checked to be one JSON object.

Only whole lines are yielded. While a file with receipts is followed, a line counts when its receipt is there. The last
line of a file without receipts may lack its newline, unless the file is followed.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.journal import Record, decode_record
from kraken_l3.archive.layout import DayPaths, Stream, days_in, parse_name, stem
from kraken_l3.archive.opening import existing, open_source
from kraken_l3.archive.receipts import RECEIPT_BYTES, Receipt, ReceiptIndex
from kraken_l3.archive.scan import BOM, check_object
from kraken_l3.errors import ArchiveError, MalformedMessage, UsageError

__all__ = ["BEGINNING", "Archive", "Block", "DataFile", "Follow", "Line", "Position", "Skipped", "open_archive"]

BLOCK_BYTES = 4 * 1024 * 1024
#: No message comes near; a file without newlines is refused instead of read into memory.
LINE_LIMIT_BYTES = 256 * 1024 * 1024


class Position(NamedTuple):
    """The beginning of a line."""

    line: int = 0
    offset: int = 0


#: Of every file.
BEGINNING = Position()


class Block(NamedTuple):
    """Whole lines as they stand in the file.

    Attributes:
        data: the bytes, each line with its newline; only the last line of a file may lack it.
        first_line: number of the first line.
        offset: where `data` begins in the file.
        file: the file it comes from.
    """

    data: bytes
    first_line: int
    offset: int
    file: DataFile


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


class Follow:
    """How to wait for a file to grow: until `stop` is set, or for what `wait` says.

    Args:
        poll_s: seconds between two looks.
        stop: set it to end the reading, after what is there was read.
        wait: called with `poll_s` between looks instead of waiting for `stop`; True ends the reading.
    """

    def __init__(
        self,
        poll_s: float = 0.1,
        *,
        stop: Optional[threading.Event] = None,
        wait: Optional[Callable[[float], bool]] = None,
    ) -> None:
        self._poll_s = poll_s
        self._wait = wait or (stop or threading.Event()).wait

    def is_over(self) -> bool:
        """Wait a little; whether to stop."""
        return self._wait(self._poll_s)


class DataFile:
    """The messages of one stream on one day, or a file of somebody else's; a context manager.

    Attributes:
        path: the file.
        day: its UTC day, or None when the name does not tell.
        stream: what it holds ("level3" where the name does not tell).
        receipts: an index over its receipts, or None when it has none.
    """

    def __init__(self, path: Path) -> None:
        name = parse_name(path.name)
        self.path = path
        self.day: Optional[dt.date] = name.day if name else None
        self.stream = (name.stream if name else None) or Stream.LEVEL3
        self.source: ByteSource = open_source(path)
        self.receipts: Optional[ReceiptIndex] = None
        self._receipts_source: Optional[ByteSource] = None
        receipts_path = path.with_name(f"{stem(path)}.receipts")
        if name is not None and receipts_path.exists():
            self._receipts_source = open_source(receipts_path)
            self.receipts = ReceiptIndex(self._receipts_source)

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
            return Position(line, self.receipts.start_of(line))
        position = Position()
        for position in self._line_starts():
            if position.line >= line:
                break
        return position

    def at_offset(self, offset: int) -> Position:
        """The beginning of the line that holds this byte; the end of the file when it lies behind."""
        if self.receipts is not None and offset < self._receipted():
            return self.at_line(self.receipts.line_at_offset(offset))
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

    def _line_starts(self) -> Iterator[Position]:
        """The beginning of every line, and last the end of the file."""
        end = Position()
        for block in self.blocks():
            line, at, stop = block.first_line, 0, len(block.data)
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

    def blocks(
        self,
        start: Position = BEGINNING,
        *,
        size: int = BLOCK_BYTES,
        follow: Optional[Follow] = None,
        numbered: bool = True,
    ) -> Iterator[Block]:
        """The file in pieces of whole lines of about `size` bytes; `follow` waits at the end for more.

        Counting lines takes as long as the rest of the reading. Whoever counts them anyway says `numbered=False`; then
        every block has the first line of the first.
        """
        line, offset = start
        if offset == 0 and self.source.read_at(0, len(BOM)) == BOM:
            offset = len(BOM)
        over = follow is None
        while True:
            end = self.end(growing=follow is not None)
            data = self._whole_lines(offset, end, size, growing=follow is not None)
            if data:
                yield Block(data, line, offset, self)
                offset += len(data)
                line += data.count(b"\n") if numbered else 0
            elif over or follow is None:
                return
            elif self.source.size() < offset:
                raise ArchiveError(
                    "the file became shorter while it was followed", where=f"{self.path}, offset {offset}"
                )
            else:
                over = follow.is_over()  # and then one more look: what came before the end is read

    def _whole_lines(self, offset: int, end: int, size: int, *, growing: bool) -> bytes:
        while True:
            data = self.source.read_at(offset, min(size, max(0, end - offset)))
            cut = data.rfind(b"\n") + 1
            if cut:
                return data if cut == len(data) else data[:cut]
            if offset + len(data) >= end:
                return b"" if growing or self._is_torn(offset) else data
            size *= 4
            if size > 4 * LINE_LIMIT_BYTES:
                raise ArchiveError("a line without end", where=f"{self.path}, offset {offset}", hint="Is it NDJSON?")

    def _is_torn(self, offset: int) -> bool:
        """Whether a last line without newline is one that our writer had not finished."""
        return self.receipts is not None and offset >= self._receipted()

    def lines(
        self,
        start: Position = BEGINNING,
        *,
        follow: Optional[Follow] = None,
        skipped: Optional[Skipped] = None,
        check: bool = True,
    ) -> Iterator[Line]:
        """One message after the other.

        Args:
            start: where to begin.
            follow: wait at the end for more.
            skipped: given, lines that are no JSON object are passed over and counted there; else they raise.
            check: False yields every line, whatever it is.

        Raises:
            MalformedMessage: a line is no JSON object, and `skipped` was not given.
        """
        for block in self.blocks(start, follow=follow):
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
            if text:
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


class Archive:
    """A directory, or a single file. Files are opened as they are read.

    Attributes:
        path: what was opened.
        is_directory: whether it is a whole archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_directory = path.is_dir()

    @property
    def directory(self) -> Path:
        """Where the companions are."""
        return self.path if self.is_directory else self.path.parent

    @property
    def days(self) -> list[dt.date]:
        """The days that have data or a journal, oldest first; empty for a file whose name tells no day."""
        if self.is_directory:
            return days_in(entry.name for entry in self.path.iterdir())
        name = parse_name(self.path.name)
        return [name.day] if name else []

    def files(self, stream: str = Stream.LEVEL3) -> list[Path]:
        """The data files of a stream, oldest day first."""
        if not self.is_directory:
            return [self.path]
        found = []
        for day in self.days:
            path = existing(DayPaths(self.path, day).data(stream))
            found += [path] if path is not None else []
        return found

    def journal(self, day: dt.date, *, strict: bool = False) -> Iterator[Record]:
        """The records of a day, as far as they are whole; none when there is no journal.

        Raises:
            ArchiveError: `strict`, and a line is not a record of this version.
        """
        path = DayPaths(self.directory, day).journal
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    yield decode_record(line)
                except MalformedMessage as error:  # noqa: PERF203 - each line may be bad by itself
                    if strict:
                        raise ArchiveError(error.what, where=f"{path}, line {number}") from error

    def blocks(
        self,
        stream: str = Stream.LEVEL3,
        *,
        start_ns: Optional[int] = None,
        begin: Optional[tuple[Path, Position]] = None,
        size: int = BLOCK_BYTES,
        follow: Optional[Follow] = None,
    ) -> Iterator[Block]:
        """All days of a stream in blocks (`DataFile.blocks`), followed over midnight.

        It starts at a receive time, or at a place in one of the files, or at the first line of all.
        """
        for file, start, waiting in self._walk(stream, start_ns, follow, begin):
            yield from file.blocks(start, size=size, follow=waiting)

    def lines(
        self,
        stream: str = Stream.LEVEL3,
        *,
        start_ns: Optional[int] = None,
        follow: Optional[Follow] = None,
        skipped: Optional[Skipped] = None,
        check: bool = True,
    ) -> Iterator[Line]:
        """All days of a stream line by line (`DataFile.lines`)."""
        for file, start, waiting in self._walk(stream, start_ns, follow):
            for line in file.lines(start, follow=waiting, skipped=skipped, check=check):
                if start_ns is None or line.receipt is None or line.receipt.recv_ns >= start_ns:
                    yield line

    def _walk(
        self,
        stream: str,
        start_ns: Optional[int],
        follow: Optional[Follow],
        begin: Optional[tuple[Path, Position]] = None,
    ) -> Iterator[tuple[DataFile, Position, Optional[Follow]]]:
        seen = {stem(path) for path in self.files(stream) if begin is not None and stem(path) < stem(begin[0])}
        while True:
            new = [path for path in self.files(stream) if stem(path) not in seen]
            for path in new:
                seen.add(stem(path))
                waiting = _UntilNextFile(follow, self, stream, seen) if follow and path == new[-1] else None
                with DataFile(path) as file:
                    if begin is not None and stem(path) == stem(begin[0]):
                        yield file, begin[1], waiting
                    else:
                        yield file, file.at_time(start_ns) if start_ns is not None else Position(), waiting
                if waiting and waiting.is_stopped:
                    return
            if follow is None or (not new and follow.is_over()):
                return


class _UntilNextFile(Follow):
    """Follows a file until there is a newer one and this is read to its end: a file once left stays as it is."""

    def __init__(self, follow: Follow, archive: Archive, stream: str, seen: set[str]) -> None:
        self._follow, self._archive, self._stream, self._seen = follow, archive, stream, seen
        self.is_stopped = False

    def is_over(self) -> bool:
        if any(stem(path) not in self._seen for path in self._archive.files(self._stream)):
            return True
        self.is_stopped = self._follow.is_over()
        return self.is_stopped


def open_archive(path: Path) -> Archive:
    """An archive to read.

    Raises:
        UsageError: there is nothing of that name.
    """
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    return Archive(path)
