"""Reads archives: a directory of ours, or any single NDJSON file, with what companions it has.

`Archive.lines` goes through all days of a stream as one (see `datafile` for the two ways to read a file).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.datafile import BEGINNING, DataFile, Line, Skipped
from kraken_l3.archive.days import next_day_in, written_order
from kraken_l3.archive.journal import Record, decode_record, decode_records
from kraken_l3.archive.layout import DayPaths, FileName, Stream, data_files, days_in, parse_name
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.scan import CHUNK_BYTES, segments
from kraken_l3.errors import ArchiveError, MalformedMessage, UsageError

__all__ = ["Archive", "open_archive", "sound_records"]


class Archive:
    """A directory, or a single file. Files are opened as they are read.

    Args:
        path: what to open.
        since: of a directory, days before this one are left out; each day can be read alone.

    Attributes:
        path: what was opened.
        is_directory: whether it is a whole archive.
    """

    def __init__(self, path: Path, since: dt.date = dt.date.min) -> None:
        self.path = path
        self._since = since
        self.is_directory = path.is_dir()
        #: Of closed days, whose journals are never written again.
        self._next_days: dict[dt.date, dt.date] = {}

    @property
    def directory(self) -> Path:
        """Where the companions are."""
        return self.path if self.is_directory else self.path.parent

    @property
    def days(self) -> list[dt.date]:
        """The days that have data or a journal, as they were written; empty for a file whose name tells no day."""
        if self.is_directory:
            days = days_in(self._names())
            return written_order((day for day in days if day >= self._since), self._next_day)
        name = parse_name(self.path.name)
        return [name.day] if name else []

    def files(self, stream: str = Stream.LEVEL3, *, parts: bool = True) -> list[Path]:
        """The data files of a stream, as they were written (see `layout.data_files`)."""
        if not self.is_directory:
            return [self.path]
        names = data_files(self._names(), stream, parts=parts)
        by_day: dict[dt.date, list[Path]] = {}
        for name in names:
            parsed = parse_name(name)
            assert parsed is not None
            if parsed.day >= self._since:
                by_day.setdefault(parsed.day, []).append(self.path / name)
        return [path for day in written_order(by_day, self._next_day) for path in by_day[day]]

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in self.path.iterdir()]
        except OSError as error:  # it was there when the archive was opened
            hint = "Leave the directory alone while it is used"
            raise ArchiveError(f"cannot be listed: {error.strerror}", where=str(self.path), hint=hint) from error

    def _next_day(self, day: dt.date) -> Optional[dt.date]:
        if day not in self._next_days:
            with suppress(ArchiveError):
                journal = PlainFile(DayPaths(self.directory, day).journal)
                try:
                    next_day = next_day_in(journal)
                finally:
                    journal.close()
                if next_day is not None:
                    self._next_days[day] = next_day
        return self._next_days.get(day)

    def goes_on(self, last: FileName, name: FileName) -> bool:
        """Whether nothing is missing between two files that follow one another here.

        That is so for the next part of a day and the next day, also when the days between were written before.
        """
        if name.continues(last):
            return True
        between = sum(last.day < day < name.day for day in self.days)
        is_next = last.day < name.day and between == (name.day - last.day).days - 1
        return is_next and not name.part and self._next_day(last.day) == name.day

    def journal(self, day: dt.date, *, strict: bool = False) -> Iterator[Record]:
        """The records of a day, as far as they can be read; none when there is no journal.

        What is passed over, `companions.companion_damage` tells.

        Raises:
            ArchiveError: `strict`, and the journal cannot be read, or a line is not a record of this version.
        """
        path = DayPaths(self.directory, day).journal
        if not path.exists():
            return
        try:
            source = PlainFile(path)
        except ArchiveError:
            if strict:
                raise
            return
        try:
            begin, first = 0, 0
            for records, end in sound_records(source):
                yield from records
                begin, first = end, first + len(records)
            for number, segment in enumerate(segments(source, begin), first):
                try:
                    yield decode_record(segment.data)
                except MalformedMessage as error:  # noqa: PERF203 - each line may be bad by itself
                    if strict:
                        raise ArchiveError(error.what, where=f"{path}, line {number}") from error
        finally:
            source.close()

    def lines(
        self,
        stream: str = Stream.LEVEL3,
        *,
        start_ns: Optional[int] = None,
        skipped: Optional[Skipped] = None,
        check: bool = True,
    ) -> Iterator[Line]:
        """All days of a stream line by line (`DataFile.lines`), from a receive time on, or from the first line."""
        for path in self.files(stream):
            with DataFile(path) as file:
                start = file.at_time(start_ns) if start_ns is not None else BEGINNING
                for line in file.lines(start, skipped=skipped, check=check):
                    if start_ns is None or line.receipt is None or line.receipt.recv_ns >= start_ns:
                        yield line


def sound_records(journal: ByteSource) -> Iterator[tuple[list[Record], int]]:
    """The records of a journal up to about where the first line is that is none; with each part of them, its end.

    From there on, each line has to be looked at by itself.
    """
    at = 0
    while lines := journal.read_at(at, CHUNK_BYTES):
        lines = lines[: lines.rfind(b"\n") + 1]
        records = decode_records(lines) if lines else None
        if records is None:
            return
        at += len(lines)
        yield records, at


def open_archive(path: Path, since: dt.date = dt.date.min) -> Archive:
    """An archive to read (see `Archive`).

    Raises:
        UsageError: there is nothing of that name.
    """
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    return Archive(path, since)
