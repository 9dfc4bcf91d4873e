"""The open files of the day that is being written: the journal, and for each stream its data and receipts.

They only grow, and only through this writer. Anything else that happens to one of them (deleted, renamed, cut, written
by another program) is found by `OpenDay.require_intact`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from operator import or_
from pathlib import Path

from kraken_l3.archive.filesystem import FileSystem, opened
from kraken_l3.archive.journal import Record, encode_record
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.receipts import NEWLINE_REPLACED, RECEIPT_BYTES, ends_of, pack_columns
from kraken_l3.errors import ArchiveError
from kraken_l3.model.frames import FrameColumns, LinesOfText
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns

__all__ = ["GrowingFile", "OpenDay", "StreamFiles", "changed_by_others"]


def changed_by_others(path: Path, what: str) -> ArchiveError:
    """The error for a file that another program has deleted, renamed or changed."""
    return ArchiveError(
        f"{what} while the recorder was using it",
        where=str(path),
        hint="Leave the files of the current day alone while it is recorded, then start the recorder again",
    )


class GrowingFile:
    """A file that only this writer appends to.

    Attributes:
        size: what it holds, in bytes, by what was written to it.
        unsynced: whether anything was written since the last sync.
    """

    def __init__(self, filesystem: FileSystem, path: Path) -> None:
        self._file = filesystem.open(path)
        self.path = path
        self.size = self._file.size()
        self.unsynced = False

    def append(self, data: bytes) -> None:
        """Write all of `data`.

        Raises:
            OSError: a part of it may be in the file: call `cut`.
        """
        self.unsynced = True
        self._file.append(data)
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Cut the file to this length, after `append` failed."""
        self._file.truncate(size)
        self.size = size

    def size_on_disk(self) -> int:
        """The length of the file itself, which is more than `size` if `append` wrote a part and failed."""
        return self._file.size()

    def require_intact(self) -> None:
        """Check that the file still has its name, and the length that this writer gave it.

        Raises:
            ArchiveError: it has not.
            OSError: it cannot be looked at.
        """
        if not self._file.is_in_place():
            raise changed_by_others(self.path, "deleted or renamed")
        size = self._file.size()
        if size != self.size:
            raise changed_by_others(self.path, f"changed to {size:,} bytes from {self.size:,}")

    def sync(self) -> None:
        """Return when all of it is on disk."""
        self._file.sync()
        self.unsynced = False

    def close(self) -> None:
        """Let go of the file; does not sync."""
        self._file.close()


class StreamFiles:
    """The data and receipts of one stream, always whole lines with their receipts."""

    def __init__(self, filesystem: FileSystem, paths: DayPaths, stream: str) -> None:
        # receipts first: whoever sees data appear, and follows it, finds them there
        self.receipts = GrowingFile(filesystem, paths.receipts(stream))
        self.data = GrowingFile(filesystem, paths.data(stream))

    @property
    def lines(self) -> int:
        """How many lines have a receipt, which is all of them."""
        return self.receipts.size // RECEIPT_BYTES

    @property
    def unsynced(self) -> bool:
        """Whether anything was written since the last sync."""
        return self.data.unsynced or self.receipts.unsynced

    def append(self, frames: FrameColumns) -> None:
        """Write lines and receipts.

        Raises:
            OSError: not everything was written; `lines` says how much is.
        """
        payloads, recv_ns, mono_ns, connections, flags = frames
        start, lines = self.data.size, self.lines
        if isinstance(payloads, LinesOfText):
            ends: Sequence[int] = payloads.ends_from(start)
            text = payloads.text
        else:
            text, ends = b"\n".join(payloads) + b"\n", ends_of(payloads, start)
            if text.count(b"\n") != len(payloads):
                flags = tuple(map(or_, flags, (NEWLINE_REPLACED if b"\n" in p else 0 for p in payloads)))
                text = b"\n".join([p.replace(b"\n", b" ") for p in payloads]) + b"\n"
        receipts = pack_columns(recv_ns, mono_ns, ends, connections, flags)
        try:
            self.data.append(text)
            self.receipts.append(receipts)
        except OSError:
            self._take_back(start, lines, ends, receipts)
            raise

    def _take_back(self, start: int, lines: int, ends: Sequence[int], receipts: bytes) -> None:
        """Keep the lines that are whole and have a receipt; where only the data fitted, none of the batch has."""
        wrote_receipts = self.receipts.size_on_disk() // RECEIPT_BYTES - lines
        written = self.data.size_on_disk()
        whole = sum(1 for end in ends if end <= written)
        if wrote_receipts < whole:
            with contextlib.suppress(OSError):  # the data was what did not fit: its receipts may still
                self.receipts.cut(lines * RECEIPT_BYTES)
                self.receipts.append(receipts[: whole * RECEIPT_BYTES])
            whole = min(whole, self.receipts.size_on_disk() // RECEIPT_BYTES - lines)
        self.data.cut(ends[whole - 1] if whole else start)
        self.receipts.cut((lines + whole) * RECEIPT_BYTES)

    def sync(self) -> None:
        """Return when both are on disk, the data first: a line without a receipt is a line that is not finished."""
        self.data.sync()
        self.receipts.sync()


class OpenDay:
    """See the module.

    Args:
        filesystem: holds the files.
        directory: of the archive.
        day: the UTC day.

    Attributes:
        journal: the day's journal.
        streams: the files of each stream that has data on this day, by the stream's name.
        ends_ns: when the day is over, by the wall clock.

    Raises:
        OSError: the journal cannot be opened.
    """

    def __init__(self, filesystem: FileSystem, directory: Path, day: dt.date) -> None:
        self.day = day
        self.paths = DayPaths(directory, day)
        self.ends_ns = day_start_ns(day) + NS_PER_DAY
        self.journal = GrowingFile(filesystem, self.paths.journal)
        self.journal.unsynced = True  # its name may be new
        self.streams: dict[str, StreamFiles] = {}
        self._filesystem = filesystem

    def open_stream(self, stream: str) -> StreamFiles:
        """Open the files of one more stream.

        Raises:
            OSError: they cannot be opened.
        """
        files = self.streams[stream] = StreamFiles(self._filesystem, self.paths, Stream(stream))
        return files

    def offsets(self) -> dict[str, int]:
        """Bytes in each data file, by its name."""
        return {files.data.path.name: files.data.size for files in self.streams.values()}

    def lines(self) -> dict[str, int]:
        """Lines in each data file, by its name."""
        return {files.data.path.name: files.lines for files in self.streams.values()}

    def require_intact(self) -> None:
        """Check every file; see `GrowingFile.require_intact`."""
        for file in self._files():
            file.require_intact()

    def restate_lost_journal(self, records: Sequence[Record]) -> None:
        """If the journal was deleted, renamed or cut, write down what holds still, as far as that is possible.

        The next start finds there which connections ended here, and opens their gaps.
        """
        with contextlib.suppress(OSError), opened(self._filesystem, self.paths.journal) as journal:
            size = journal.size()
            if size < self.journal.size:
                # recovery sets a line aside that was cut through
                begin = b"\n" if size and journal.read_at(size - 1, 1) != b"\n" else b""
                journal.append(begin + b"".join(encode_record(record) + b"\n" for record in records))
                journal.sync()
                self._filesystem.sync_directory(self.paths.directory)

    def close(self) -> None:
        """Let go of all files; does not sync."""
        for file in self._files():
            file.close()

    def _files(self) -> Iterator[GrowingFile]:
        for files in self.streams.values():
            yield from (files.data, files.receipts)
        yield self.journal
