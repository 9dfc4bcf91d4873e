"""Brings a directory back in order after its writer was killed, lost power, or ran out of disk.

The rules:
 1. Only the current day can be damaged: a day is synced before it is left, and its journal then ends with `rotated`.
 2. A repair is written down whole (`*.repair`, synced, renamed into place) before it is done. A repair that is found at
    start-up is done again from its beginning, so that a kill half way costs nothing. Rules 3 to 5 are such repairs.
 3. The journal first: lines that are no JSON object, and those of a kind that we know but not as it must be, go to
    `journal-D.torn`.
 4. Each data file: what stands before the last journalled sync point was on disk and is taken as it is. Behind it a
    line is good when it ends with a newline, holds no NUL and is one JSON object, or when its receipt says that it came
    MALFORMED. Everything else (a torn tail, a run of NULs, a hole) goes to `l3-D.torn`; the good lines close up.
 5. Each receipts file: a receipt belongs to the good line that ends where it says. Others are cut; a line without one
    gets one with RECEIVE_TIME_UNKNOWN, connection 0 and the times of the line before it, so that search goes on
    working.
 6. A new day's journal that has no sync point yet may have lost its restated head: what of the day before still holds
    is said again.
 7. Last, every connection that the journal leaves open is closed (`disconnect`, cause "crash"), and for every symbol
    subscribed on it a gap is opened (cause "crash") from the last moment known on that connection. What the journal
    says behind its last sync point may be newer than the data: `crash_gaps` says what is believed.

Doing it twice changes nothing the second time; after an orderly stop it changes nothing at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import msgspec

from kraken_l3.archive.crash_gaps import StreamEnd, crash_records
from kraken_l3.archive.days import closed_days, current_day
from kraken_l3.archive.filesystem import File, FileSystem, OsFileSystem, opened
from kraken_l3.archive.journal import (
    JournalState,
    Record,
    Recovered,
    Started,
    SyncPoint,
    decode_record,
    encode_record,
    is_damaged,
)
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.receipts import MAX_CONNECTION, RECEIPT_BYTES, SLACK_NS, Receipt, ReceiptIndex, pack_receipt
from kraken_l3.archive.repair import Plan, Repairs
from kraken_l3.archive.scan import Range, Scan, fault_of, merge_ranges, segments
from kraken_l3.clock import Clock
from kraken_l3.errors import ArchiveError, MalformedMessage
from kraken_l3.model.timestamps import day_of

__all__ = ["Recovery", "recover", "recover_directory"]


class Recovery(NamedTuple):
    """What recovery found and did.

    Attributes:
        day: the current day of the directory, or None when it has none.
        state: what the journal says, after the repair.
        records: the journal records that were added now; empty when nothing had to be done.
        last_connection: highest connection number in the day's journal and newest receipts.
    """

    day: Optional[dt.date]
    state: JournalState
    records: list[Record]
    last_connection: int


def _record_of(line: bytes) -> Optional[Record]:
    """The record, or None for a kind that a later version writes: it is kept, and not understood."""
    try:
        return decode_record(line)
    except MalformedMessage:
        return None


def _records_in(filesystem: FileSystem, journal: Path) -> Iterator[Record]:
    with opened(filesystem, journal) as file:
        for segment in segments(file, 0):
            record = _record_of(segment.data)
            if record is not None:
                yield record


def _plain(record: Record) -> bytes:
    return encode_record(msgspec.structs.replace(record, restated=False))


# -- the repair of one day ---------------------------------------------------------------------------------------------


def recover(directory: Path, *, clock: Clock, filesystem: FileSystem) -> Recovery:
    """Apply the rules above to a directory that nobody writes to (the caller holds its lock)."""
    closed = closed_days(filesystem, directory, day_of(clock.wall_ns()))
    day = current_day(filesystem, directory, closed)
    for name in filesystem.names(directory):
        if name.endswith(".repair.tmp"):
            filesystem.remove(directory / name)
    if day is None:
        return Recovery(None, JournalState(), [], 0)
    before = next((DayPaths(directory, earlier) for earlier, later in closed.items() if later == day), None)
    return _Day(DayPaths(directory, day), before, clock, filesystem).recover()


def recover_directory(directory: Path, *, clock: Clock) -> list[Record]:
    """Lock a directory, recover it, and say what was added to its journal.

    Raises:
        ArchiveLocked: a recorder is at work there.
        ArchiveError: it cannot be read or written.
    """
    lock = DirectoryLock(directory)
    try:
        return recover(directory, clock=clock, filesystem=OsFileSystem()).records
    except OSError as error:
        where = str(error.filename or directory)
        raise ArchiveError(f"cannot recover: {error.strerror or error}", where=where) from error
    finally:
        lock.release()


class _Day:
    def __init__(self, paths: DayPaths, before: Optional[DayPaths], clock: Clock, filesystem: FileSystem) -> None:
        self._paths = paths
        self._before = before
        self._clock = clock
        self._filesystem = filesystem
        self._repairs = Repairs(filesystem, paths.directory, paths.journal, clock)
        self._state = JournalState()
        self._synced: dict[str, tuple[int, int]] = {}
        self._records: list[Record] = []
        self._last_connection = 0
        self._sizes: dict[str, int] = {}
        self._holes: dict[str, int] = {}

    def recover(self) -> Recovery:
        # The journal first: its sync points tell how much of the data needs no look. The connections last: where they
        # ended is told by the receipts that are left.
        self._repair_journal()
        if self._before is not None and not self._synced:
            self._restate(self._before)
        names = set(self._filesystem.names(self._paths.directory))
        for stream in Stream:
            if self._paths.data(stream).name in names or self._paths.receipts(stream).name in names:
                self._repair_stream(stream)
        self._close_connections()
        return Recovery(self._paths.day, self._state, self._records, self._last_connection)

    # -- the journal

    def _repair_journal(self) -> None:
        path = self._paths.journal
        if self._repairs.pending(path):
            self._records.append(self._repairs.apply(path))
        with opened(self._filesystem, path) as file:
            bad, good = [], []
            for segment in segments(file, 0):
                fault = fault_of(segment) or ("not a journal record" if is_damaged(segment.data) else "")
                where = Range(segment.offset, segment.length, fault)
                if where.reason:
                    bad.append(where)
                else:
                    good.append(where)
                    self._fold(_record_of(segment.data))
        if bad:
            self._plan_journal(list(merge_ranges(bad)), good)
            self._records.append(self._repairs.apply(path))

    def _fold(self, record: Optional[Record]) -> None:
        if record is None:
            return
        self._state.apply(record)
        if isinstance(record, Started):
            self._holes.clear()
        elif isinstance(record, Recovered):  # of a recovery that did not come to its end
            self._note_hole(record)
        elif isinstance(record, SyncPoint):
            for name, offset in record.offsets.items():
                self._synced[name] = (offset, record.lines.get(name, 0))
        self._last_connection = max(self._last_connection, getattr(record, "connection", 0))

    def _restate(self, before: DayPaths) -> None:
        """The head of a new day's journal may have been lost: say what of the day before still holds."""
        present = list(_records_in(self._filesystem, self._paths.journal))
        self._state = JournalState([*_records_in(self._filesystem, before.journal), *present])
        known = {_plain(record) for record in present}
        head = [record for record in self._state.restate() if _plain(record) not in known]
        if head:
            self._append(head)

    def _plan_journal(self, bad: list[Range], good: list[Range]) -> None:
        path = self._paths.journal
        keep = bad[0].offset
        tail = [part for part in good if part.offset > keep]
        record = self._recovered(path, bad)
        added = encode_record(record) + b"\n"
        plan = Plan(
            file=path.name,
            keep=keep,
            tail=sum(part.length for part in tail) + len(added),
            torn_file=record.torn_file,
            torn_keep=self._torn_size(record.torn_file),
            torn=sum(part.length for part in bad),
            record=record,
        )
        self._repairs.write(path, plan, tail=merge_ranges(tail), bad=bad, added=added)

    # -- a stream

    def _repair_stream(self, stream: Stream) -> None:
        path = self._paths.data(stream)
        if self._repairs.pending(path):
            self._do_repair(path)
        with opened(self._filesystem, path) as data, opened(self._filesystem, self._paths.receipts(stream)) as receipts:
            changed = self._plan_stream(stream, data, receipts)
        if changed:
            self._do_repair(path)
        with opened(self._filesystem, path) as data:
            self._sizes[path.name] = data.size()

    def _do_repair(self, path: Path) -> None:
        record = self._repairs.apply(path)
        self._records.append(record)
        self._note_hole(record)

    def _note_hole(self, record: Recovered) -> None:
        """Remember where lines were first set aside since the recorder started: what lies before did not move."""
        if record.torn:
            self._holes[record.file] = min(record.torn[0][0], self._holes.get(record.file, record.torn[0][0]))

    def _known_good(self, path: Path, data: File, receipts: File) -> tuple[int, int]:
        """Offset and line up to which both files were on disk and fit together."""
        offset, line = self._synced.get(path.name, (0, 0))
        index = ReceiptIndex(receipts)
        fits = 0 < line <= len(index) and data.size() >= offset > 0 and index.start_of(line) == offset
        if fits and data.read_at(offset - 1, 1) == b"\n":
            return offset, line
        return 0, 0

    def _plan_stream(self, stream: Stream, data: File, receipts: File) -> bool:
        """Write the repair of a stream down, if it needs one."""
        path = self._paths.data(stream)
        start, line = self._known_good(path, data, receipts)
        # Three scans, so that no number of lines is held in memory: this one finds what is bad, the next one where the
        # good lines behind it lie, and the third one gives their receipts as they are written.
        scan = Scan(data, receipts, start, line)
        lines, last_ns = 0, 0
        for _, receipt in scan.lines():
            lines, last_ns = lines + 1, receipt.recv_ns
        bad = list(merge_ranges(scan.bad))
        if not (bad or scan.padded or scan.cut):
            return False
        record = self._recovered(path, bad, cut=scan.cut, padded=scan.padded, last_ns=last_ns)
        keep = bad[0].offset if bad else data.size()
        again = Scan(data, receipts, start, line)
        tail = list(merge_ranges(where for where, _ in again.lines() if where.offset > keep))
        plan = Plan(
            file=path.name,
            keep=keep,
            tail=sum(part.length for part in tail),
            receipts=self._paths.receipts(stream).name,
            receipts_keep=line * RECEIPT_BYTES,
            receipts_tail=lines * RECEIPT_BYTES,
            torn_file=record.torn_file,
            torn_keep=self._torn_size(record.torn_file),
            torn=sum(part.length for part in bad),
            record=record,
        )
        packed = (pack_receipt(receipt) for _, receipt in Scan(data, receipts, start, line).lines())
        self._repairs.write(path, plan, tail=tail, bad=bad, receipts=packed)
        return True

    def _recovered(self, path: Path, bad: list[Range], *, cut: int = 0, padded: int = 0, last_ns: int = 0) -> Recovered:
        return Recovered(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            file=path.name,
            torn=[(part.offset, part.length, part.reason) for part in bad],
            torn_file=path.with_suffix(".torn").name if bad else "",
            receipts_cut=cut,
            receipts_padded=padded,
            last_known_ns=last_ns,
        )

    def _torn_size(self, name: str) -> int:
        if not name:
            return 0
        with opened(self._filesystem, self._paths.directory / name) as file:
            return file.size()

    # -- the connections

    def _close_connections(self) -> None:
        sure = self._sure_state()
        concerned = {*self._state.connections, *sure.connections, *(g.connection for g in self._state.gaps.values())}
        began_ns = min((c.at_ns for c in (*self._state.connections.values(), *sure.connections.values())), default=0)
        names = set(self._filesystem.names(self._paths.directory))
        ends = {
            stream.value: self._stream_end(stream, concerned, began_ns - SLACK_NS)
            for stream in Stream
            if self._paths.data(stream).name in names
        }
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        records = crash_records(self._state, sure, ends, at_ns=at_ns, mono_ns=mono_ns)
        if records:
            self._append(records)

    def _sure_state(self) -> JournalState:
        """What the journal says up to its last sync point that the data bears out, and what it restates at its head."""
        journal = self._paths.journal
        sure_records = 0
        for number, record in enumerate(_records_in(self._filesystem, journal), 1):
            if isinstance(record, SyncPoint) and all(map(self._is_borne_out, record.offsets.items())):
                sure_records = number
        sure = JournalState()
        for number, record in enumerate(_records_in(self._filesystem, journal), 1):
            if number > sure_records and not record.restated:
                break
            sure.apply(record)
        return sure

    def _is_borne_out(self, offset: tuple[str, int]) -> bool:
        return self._sizes.get(offset[0], 0) >= offset[1]

    def _stream_end(self, stream: Stream, connections: set[int], floor_ns: int) -> StreamEnd:
        """The newest receipt of each connection, looked for from the end of the file, and the hole of this repair."""
        with opened(self._filesystem, self._paths.receipts(stream)) as file:
            index = ReceiptIndex(file)
            newest = index.last()
            if newest is None:
                return StreamEnd()
            if newest.connection <= MAX_CONNECTION:
                self._last_connection = max(self._last_connection, newest.connection)
            missing, found = set(connections), {}
            for receipt in _backwards(index):
                if not missing or receipt.recv_ns < floor_ns:
                    break
                if receipt.connection in missing:
                    missing.discard(receipt.connection)
                    found[receipt.connection] = receipt.recv_ns
            hole_ns = None
            torn_at = self._holes.get(self._paths.data(stream).name)
            if torn_at is not None and torn_at < newest.end_offset:
                line = index.line_at_offset(torn_at)
                hole_ns = index[line - 1].recv_ns if line else index[0].recv_ns
            return StreamEnd(newest.recv_ns, found, hole_ns)

    def _append(self, records: list[Record]) -> None:
        with opened(self._filesystem, self._paths.journal) as journal:
            journal.append(b"".join(encode_record(record) + b"\n" for record in records))
            journal.sync()
        self._filesystem.sync_directory(self._paths.directory)
        for record in records:
            self._records.append(record)
            self._state.apply(record)


def _backwards(index: ReceiptIndex) -> Iterator[Receipt]:
    end = len(index)
    while end > 0:
        first = max(0, end - 4096)
        yield from reversed(list(index.read(first, end - first)))
        end = first
