"""Writes an archive directory: frames to the day's data files with a receipt each, records to the day's journal.

States: open -> (no room) full -> (`resume` finds room) open; a failed fsync, or files that others deleted or changed ->
broken, for good; `close` -> closed.

What is handed to `append` is in the operating system's hands when it returns; `sync` puts it on disk. All methods
belong to one thread.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from kraken_l3.archive.days import closed_days
from kraken_l3.archive.filesystem import FileSystem, OsFileSystem, is_full, opened
from kraken_l3.archive.journal import Disk, JournalState, Record, Recovered, Rotated, SyncPoint, encode_record
from kraken_l3.archive.layout import LOCK_NAME, RESERVE_NAME
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.open_day import OpenDay, changed_by_others
from kraken_l3.archive.receipts import SLACK_NS
from kraken_l3.archive.recovery import Recovery, recover
from kraken_l3.clock import Clock
from kraken_l3.errors import ArchiveError, DiskFull, SyncFailed
from kraken_l3.model.frames import Frame, FrameColumns
from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns

__all__ = ["RESERVE_BYTES", "ArchiveWriter"]

#: Kept on disk so that a full one still has room for the journal.
RESERVE_BYTES = 1024 * 1024
#: The reserve, and as much again to write to, so that a disk that stays full is not taken for one with room.
ROOM_TO_RESUME_BYTES = 2 * RESERVE_BYTES


class ArchiveWriter:
    """See the module; made by `open`.

    Attributes:
        state: what holds now, according to the journal.
        last_connection: highest connection number in this directory's newest journal; go on from there.
        recovered: what was repaired when the directory was opened.
        last_written_ns: receive time of the last line that is in the archive (0: none in this run).
        frames_written: frames that are in the archive, of this run.
        frames_lost: frames that were handed over and found no room, in this run.
    """

    @classmethod
    def open(cls, directory: Path, *, clock: Clock, filesystem: Optional[FileSystem] = None) -> ArchiveWriter:
        """Lock the directory (made when missing), recover it, and get ready to write.

        Raises:
            ArchiveLocked: another writer is at work there.
            DiskFull: there is not even room to start.
            ArchiveError: the directory cannot be used.
        """
        filesystem = filesystem or OsFileSystem()
        try:
            filesystem.make_directory(directory)
        except OSError as error:
            raise ArchiveError(f"cannot make the directory: {error.strerror}", where=str(directory)) from error
        lock = DirectoryLock(directory)
        try:
            with _local_faults(directory):
                return cls(directory, clock, filesystem, lock)
        except BaseException:
            lock.release()
            raise

    def __init__(self, directory: Path, clock: Clock, filesystem: FileSystem, lock: DirectoryLock) -> None:
        self._directory = directory
        self._clock = clock
        self._filesystem = filesystem
        self._lock = lock
        self._broken: Optional[ArchiveError] = None
        self._full = self._closed = False
        self._journal_head = b""  # what a new day's journal begins with, until it is written
        self.last_written_ns = 0
        self.frames_written = 0
        self.frames_lost = 0
        filesystem.remove(directory / RESERVE_NAME)  # recovery may need its room
        recovery = recover(directory, clock=clock, filesystem=filesystem)
        self.state: JournalState = recovery.state
        self.last_connection = recovery.last_connection
        self.recovered: list[Recovered] = [r for r in recovery.records if isinstance(r, Recovered)]
        self._closed_days = set(closed_days(filesystem, directory, day_of(clock.wall_ns())))
        self._make_reserve()
        self._start_day(recovery)

    def _start_day(self, recovery: Recovery) -> None:
        now_ns = self._clock.wall_ns()
        today = day_of(now_ns)
        day = recovery.day or self._next_free_day(today)
        self._enter_day(self._open_day(day))
        if recovery.day is not None:
            self._go_on_in(now_ns, slack_ns=SLACK_NS)

    def _next_free_day(self, day: dt.date) -> dt.date:
        while day in self._closed_days:
            day += dt.timedelta(days=1)
        return day

    @property
    def day(self) -> dt.date:
        """The UTC day whose files are written."""
        return self._files.day

    # -- what the recorder calls ---------------------------------------------------------------------------------------

    def append(self, stream: str, frames: Sequence[Frame]) -> None:
        """Write frames to their stream, each into the file of its day.

        Raises:
            DiskFull: not all fitted; whole lines that did are kept, `last_written_ns` is the last of them.
        """
        if frames:
            self.append_columns(stream, FrameColumns.of(frames))

    def append_columns(self, stream: str, frames: FrameColumns) -> None:
        """The same for frames in columns."""
        self._check()
        before = self.frames_written
        try:
            self._append_by_day(stream, frames)
        except DiskFull:
            self.frames_lost += len(frames.payloads) - (self.frames_written - before)
            raise

    def _append_by_day(self, stream: str, frames: FrameColumns) -> None:
        if self._full:
            raise self._disk_full()
        at, total = 0, len(frames.payloads)
        while at < total:
            end = self._end_before_midnight(frames.recv_ns, at)
            if end > at:
                self._append(stream, frames if end - at == total else frames.cut(at, end))
                at = end
            else:
                self._pass_midnight(frames.recv_ns[at])

    def journal(self, record: Record) -> None:
        """Write one record; `state` follows.

        Raises:
            DiskFull: there is no room for it, and it was not written.
        """
        self._check()
        if record.at_ns >= self._files.ends_ns:
            self._pass_midnight(record.at_ns)
        self._write_journal(encode_record(record) + b"\n")
        self.state.apply(record)
        self.last_connection = max(self.last_connection, getattr(record, "connection", 0))

    def flush(self) -> None:
        """Does nothing: `append` and `journal` hand everything to the operating system already."""
        self._check()

    def sync(self) -> None:
        """Return when everything is on disk, and a sync point in the journal says so.

        Raises:
            SyncFailed: fsync failed; this writer is of no more use.
            ArchiveError: a file was deleted, renamed or changed by another program; this writer is of no more use.
            DiskFull: there is no room for the sync point.
        """
        self._check()
        self._require_intact()
        changed = [files for files in self._files.streams.values() if files.unsynced]
        # Data first, its sync point after it: one that is on disk promises that so is the data before it. One fsync of
        # everything at the end would let the kernel write the promise before what it promises.
        with self._fatal_sync():
            for files in changed:
                files.sync()
        # Also when only the journal changed: recovery believes the edges that records tell when a sync point follows.
        journal = self._files.journal
        if changed or journal.unsynced:
            point = SyncPoint(
                at_ns=self._clock.wall_ns(),
                mono_ns=self._clock.mono_ns(),
                offsets=self._files.offsets(),
                lines=self._files.lines(),
            )
            self._write_journal(encode_record(point) + b"\n")
        if journal.unsynced:
            with self._fatal_sync():
                journal.sync()

    def restart_day(self, now_ns: int) -> None:
        """After a big step of the clock, continue in the day that it shows now, unless that day is closed.

        The recorder has closed all connections before.
        """
        self._check()
        self._go_on_in(now_ns, slack_ns=0)

    def resume(self) -> bool:
        """After `DiskFull`: whether there is room again. Takes the reserve back and journals it."""
        self._check()
        if not self._full:
            return True
        self._require_intact()
        if self._filesystem.free_bytes(self._directory) < ROOM_TO_RESUME_BYTES:
            return False
        # The reserve first: without it the disk could fill up again before the journal has a word on it.
        try:
            self._make_reserve()
        except DiskFull:
            return False
        self._full = False
        try:
            self._write_journal(encode_record(self._disk_record("ok")) + b"\n")
        except DiskFull:
            return False
        return True

    def close(self) -> None:
        """Sync, and let go of the directory. When the writer is broken it only lets go."""
        if self._closed:
            return
        try:
            if self._broken is None:
                with contextlib.suppress(DiskFull):  # without its last sync point recovery looks at more lines
                    self.sync()
        finally:
            self._closed = True
            self._files.close()
            self._lock.release()

    # -- days ----------------------------------------------------------------------------------------------------------

    def _end_before_midnight(self, recv_ns: Sequence[int], begin: int) -> int:
        midnight_ns = self._files.ends_ns
        if max(recv_ns) < midnight_ns:
            return len(recv_ns)
        return next((at for at in range(begin, len(recv_ns)) if recv_ns[at] >= midnight_ns), len(recv_ns))

    def _pass_midnight(self, now_ns: int) -> None:
        """Rotate to the day of `now_ns`. If that day is closed already, stay until it is over."""
        day = day_of(now_ns)
        if day in self._closed_days:
            self._files.ends_ns = day_start_ns(day) + NS_PER_DAY
        else:
            self._rotate(day)

    def _go_on_in(self, now_ns: int, *, slack_ns: int) -> None:
        day = day_of(now_ns)
        if now_ns >= self._files.ends_ns:
            self._pass_midnight(now_ns)
        elif day < self.day and day not in self._closed_days and day_start_ns(self.day) - now_ns >= slack_ns:
            self._rotate(day)

    def _rotate(self, day: dt.date) -> None:
        rotated = Rotated(at_ns=self._clock.wall_ns(), mono_ns=self._clock.mono_ns(), next_day=day)
        # The old day is whole on disk, with the word that another one follows, before there is a file of that one:
        # after a crash in between recovery finds one day to go on in, never two that are open.
        self.sync()
        self._write_journal(encode_record(rotated) + b"\n")
        with self._fatal_sync():
            self._files.journal.sync()
        next_files = self._open_day(day)
        self._files.close()
        self._closed_days.add(self._files.day)
        self._enter_day(next_files)
        self._journal_head = b"".join(encode_record(record) + b"\n" for record in self.state.restate())
        self._write_journal(b"")  # what holds still stands in the new journal before any data: a day is read alone
        with self._fatal_sync():
            self._files.journal.sync()

    def _open_day(self, day: dt.date) -> OpenDay:
        try:
            return OpenDay(self._filesystem, self._directory, day)
        except OSError as error:
            if not is_full(error):
                raise self._fault(error) from error
        self._filesystem.remove(self._directory / RESERVE_NAME)  # not even a name fits: the reserve is for this
        try:
            return OpenDay(self._filesystem, self._directory, day)
        except OSError as error:
            raise self._disk_full() from error

    def _enter_day(self, files: OpenDay) -> None:
        self._files = files
        self._sync_names()

    def _sync_names(self) -> None:
        """Call this before writing to a new file, so that no file survives without the one that it belongs to."""
        with self._fatal_sync():
            self._filesystem.sync_directory(self._directory)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _append(self, stream: str, frames: FrameColumns) -> None:
        files = self._files.streams.get(stream)
        before = files.lines if files else 0
        try:
            if files is None:
                files = self._files.open_stream(stream)
                before = files.lines
                self._sync_names()
            files.append(frames)
        except OSError as error:
            self._written(frames, files.lines - before if files else 0)
            if is_full(error):
                self._fill_up()
                raise self._disk_full() from error
            raise self._fault(error) from error
        self._written(frames, len(frames.payloads))

    def _written(self, frames: FrameColumns, count: int) -> None:
        if count:
            self.frames_written += count
            self.last_written_ns = frames.recv_ns[count - 1]

    def _write_journal(self, lines: bytes) -> None:
        journal = self._files.journal
        size = journal.size
        try:
            journal.append(self._journal_head + lines)
        except OSError as error:
            journal.cut(size)
            if not is_full(error):
                raise self._fault(error) from error
            if self._full:
                raise self._disk_full() from error
            self._fill_up()
            raise self._disk_full() from error
        self._journal_head = b""

    def _fill_up(self) -> None:
        """The disk is full: remove the reserve, and journal that in its room."""
        self._full = True
        self._filesystem.remove(self._directory / RESERVE_NAME)
        with contextlib.suppress(DiskFull):
            self._write_journal(encode_record(self._disk_record("full")) + b"\n")

    def _disk_record(self, state: str) -> Disk:
        free = self._filesystem.free_bytes(self._directory)
        return Disk(at_ns=self._clock.wall_ns(), mono_ns=self._clock.mono_ns(), state=state, free_bytes=free)

    def _make_reserve(self) -> None:
        path = self._directory / RESERVE_NAME
        try:
            with opened(self._filesystem, path) as file:
                file.truncate(0)
                file.append(b"\0" * RESERVE_BYTES)
                file.sync()
        except OSError as error:
            self._filesystem.remove(path)
            if is_full(error):
                raise self._disk_full() from error
            raise self._fault(error) from error

    # -- errors --------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise ArchiveError("the writer is closed", where=str(self._directory))

    def _require_intact(self) -> None:
        """End the writer if a file was taken away: what is written to it from then on would be lost, unnoticed."""
        try:
            self._files.require_intact()
            if not self._lock.is_in_place():
                raise changed_by_others(self._directory / LOCK_NAME, "deleted or replaced")
        except OSError as error:
            self._broken = self._fault(error)
            raise self._broken from error
        except ArchiveError as error:
            self._broken = error
            if self._lock.is_in_place():
                self._files.restate_lost_journal(self.state.restate())
            raise

    def _disk_full(self) -> DiskFull:
        return DiskFull("the disk is full", where=str(self._directory), hint="Make room: recording goes on by itself")

    def _fault(self, error: OSError) -> ArchiveError:
        return ArchiveError(f"cannot write: {error.strerror or error}", where=str(self._directory))

    @contextlib.contextmanager
    def _fatal_sync(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._broken = SyncFailed(
                f"fsync failed: {error.strerror or error}",
                where=str(self._directory),
                hint="Check the disk, then restart: recovery sets torn lines aside",
            )
            raise self._broken from error


@contextlib.contextmanager
def _local_faults(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull("no room to start", where=str(directory), hint="Make room, then start again") from error
        where = str(error.filename or directory)
        raise ArchiveError(f"cannot open the archive: {error.strerror or error}", where=where) from error
