"""The archive that a merge writes: by the recorder's own writer, and the same bytes each time.

An interrupted merge is gone on with by doing it again: what the days that were closed have is compared and not written
again, and the last day, which may be half done, is made anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3._version import __version__
from kraken_l3.archive.days import closed_days
from kraken_l3.archive.filesystem import File, FileSystem, OsFileSystem
from kraken_l3.archive.journal import Conflict, Record, Started, Stopped
from kraken_l3.archive.layout import DayPaths, Stream, days_in, parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.errors import ArchiveError, UsageError
from kraken_l3.model.frames import FrameColumns

__all__ = ["MergedArchive"]

#: Between two syncs. What is not on disk yet after a crash is made again anyway.
_SYNC_LINES = 500_000
_HOST = "merge"


class _Clock:
    """Stands at the receive time of the last line, so that the same sources give the same archive."""

    def __init__(self) -> None:
        self.now_ns = 0

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return 0


class _KeptFile:
    """A file of a day that is done: what would be written to it is compared with what it has."""

    def __init__(self, file: File, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = 0

    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, count: int) -> bytes:
        return self._file.read_at(offset, max(0, min(count, self._size - offset)))

    def append(self, data: bytes) -> None:
        if self._file.read_at(self._size, len(data)) != data:
            raise ArchiveError(
                f"differs from what these sources give, from offset {self._size} on",
                where=str(self._path),
                hint="Remove the directory and merge again",
            )
        self._size += len(data)

    def truncate(self, size: int) -> None:
        self._size = size

    def is_in_place(self) -> bool:
        return self._file.is_in_place()

    def sync(self) -> None:
        """It is on disk."""

    def close(self) -> None:
        self._file.close()


class _WithKeptDays(OsFileSystem):
    """Hides the days that are done from a writer, which begins anew, and lets nothing of them be written again."""

    def __init__(self, days: set[dt.date]) -> None:
        self._days = days

    def _is_kept(self, name: str) -> bool:
        parsed = parse_name(name)
        return parsed is not None and parsed.day in self._days

    def open(self, path: Path) -> File:
        file = super().open(path)
        return _KeptFile(file, path) if self._is_kept(path.name) else file

    def names(self, directory: Path) -> list[str]:
        return [name for name in super().names(directory) if not self._is_kept(name)]


class MergedArchive:
    """See the module.

    Args:
        directory: new, or left behind by an interrupted merge of the same sources.
        digests: of the sources, in their order.

    Raises:
        UsageError: something else is there.
    """

    def __init__(self, directory: Path, digests: Sequence[str]) -> None:
        started = Started(
            at_ns=0, version=__version__, host=_HOST, boot_id="", pid=0, config={"sources": list(digests)}
        )
        kept = _kept_days(directory, started)
        self._sources = len(digests)
        self._directory = directory
        self._clock = _Clock()
        self._filesystem: FileSystem = _WithKeptDays(kept)
        self._unsynced = 0
        self._rows: Optional[File] = None
        self._conflicts: Optional[File] = None
        self._companions_day: Optional[dt.date] = None
        self._started = started
        self._writer: Optional[ArchiveWriter] = None
        self._early: list[tuple[Record, Optional[bytes]]] = []

    @property
    def now_ns(self) -> int:
        """The latest receive time so far."""
        return self._clock.now_ns

    def append(self, stream: Stream, frames: FrameColumns, rows: bytes = b"") -> None:
        """Write lines.

        Args:
            stream: whose.
            frames: the lines with their receipts; those of a day and of the next one are not written together.
            rows: of `level3`, what `l3-D.sources` has of the lines.
        """
        if self._writer is None:
            self._open(frames.recv_ns[0])
        writer = self._opened()
        self._clock.now_ns = max(self._clock.now_ns, frames.recv_ns[0])
        writer.append_columns(stream.value, frames)
        self._clock.now_ns = max(self._clock.now_ns, max(frames.recv_ns))
        if rows:
            self._open_companions(writer.day).append(rows)
        self._unsynced += len(frames.payloads)
        if self._unsynced > _SYNC_LINES:
            self._unsynced = 0
            writer.sync()

    def journal(self, record: Record) -> None:
        """Write a record."""
        if self._writer is None:
            self._early.append((record, None))  # the first line says which day it is
        else:
            self._writer.journal(record)

    def conflict(self, record: Conflict, payload: bytes) -> None:
        """Keep a line that is not in the data, with the record that tells of it."""
        if self._writer is None:
            self._early.append((record, payload))
            return
        self._writer.journal(record)
        self._open_companions(self._writer.day)
        if self._conflicts is None:
            self._conflicts = self._filesystem.open(DayPaths(self._directory, self._writer.day).conflicts)
        self._conflicts.append(payload.replace(b"\n", b" ") + b"\n")

    def close(self, *, is_whole: bool) -> None:
        """Let go of the directory; `is_whole` says that all of the sources is in it."""
        if self._writer is None:
            if not is_whole:
                return
            self._open(self._clock.now_ns)
        try:
            if is_whole:
                self._opened().journal(Stopped(at_ns=self._clock.now_ns, reason="merged"))
        finally:
            self._close_companions()
            self._opened().close()

    def _opened(self) -> ArchiveWriter:
        assert self._writer is not None
        return self._writer

    def _open(self, first_ns: int) -> None:
        self._clock.now_ns = first_ns
        self._writer = ArchiveWriter.open(self._directory, clock=self._clock, filesystem=self._filesystem)
        self._writer.journal(msgspec.structs.replace(self._started, at_ns=first_ns))
        for record, payload in self._early:
            if isinstance(record, Conflict) and payload is not None:
                self.conflict(record, payload)
            else:
                self._writer.journal(record)
        self._early.clear()

    def _open_companions(self, day: dt.date) -> File:
        if self._companions_day != day or self._rows is None:
            self._close_companions()
            self._companions_day = day
            self._rows = self._filesystem.open(DayPaths(self._directory, day).sources)
        return self._rows

    def _close_companions(self) -> None:
        for file in (self._rows, self._conflicts):
            if file is not None:
                file.sync()
                file.close()
        self._rows = self._conflicts = None


def _kept_days(directory: Path, started: Started) -> set[dt.date]:
    """The days that an interrupted merge of the same sources had done; the one that it had begun is removed."""
    filesystem = OsFileSystem()
    if not directory.exists():
        return set()
    if not directory.is_dir():
        raise UsageError("not a directory", where=str(directory), hint="Choose another --out")
    names = filesystem.names(directory)
    days = days_in(names)
    foreign = [name for name in names if parse_name(name) is None and name not in ("writer.lock", "disk.reserve")]
    if foreign or any(not _is_by(directory, day, started) for day in days):
        raise UsageError(
            "there is something else than an unfinished merge of these archives",
            where=str(directory),
            hint="Choose another --out",
        )
    kept = set(closed_days(filesystem, directory, dt.date.max))
    kept = {day for day in kept if DayPaths(directory, day).sources.name in names}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.day not in kept:
            filesystem.remove(directory / name)
    return kept


def _is_by(directory: Path, day: dt.date, started: Started) -> bool:
    """Whether a day's journal begins as the one that these sources give; that of a day just begun may be empty yet."""
    first = next(iter(Archive(directory).journal(day)), None)
    if first is None:  # lines without a journal are somebody's recording
        its = [path for path in directory.iterdir() if (name := parse_name(path.name)) and name.day == day]
        return all(path.stat().st_size == 0 for path in its)
    return isinstance(first, Started) and (first.host, first.config) == (started.host, started.config)
