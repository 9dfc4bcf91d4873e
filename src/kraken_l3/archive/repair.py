"""A repair is written down whole before it is done, so that a kill half way through costs nothing: it is done again.

`NAME.repair` beside `NAME.ndjson`: one JSON line (`Plan`); then the bytes that come after `keep` in the data file,
those after `receipts_keep` in the receipts, and those that go to the torn file; last the SHA-256 of all that. It exists
only whole: written as `.repair.tmp`, synced, renamed.

A note that was damaged, or that somebody made up, must do no harm: nothing is changed before its sum was checked, it
can name no file but the three that belong to its own, and it can make none of them much larger than it is. A note that
is refused is renamed to `NAME.repair.refused`, and the files are looked at as if it had never been there.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from kraken_l3.archive.filesystem import File, FileSystem, opened
from kraken_l3.archive.journal import Record, Recovered, encode_record
from kraken_l3.archive.layout import DayPaths, parse_name
from kraken_l3.archive.scan import CHUNK_BYTES, Range
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = ["Plan", "Repairs"]

#: A power cut may have taken from a file what `keep` counts and was never synced; no recorder leaves more unsynced.
MOST_UNSYNCED_BYTES = 256 * 1024 * 1024
#: The first line names three files and lists what is torn.
_LONGEST_PLAN_BYTES = 64 * 1024 * 1024
_SUM_BYTES = hashlib.sha256().digest_size

_Size = Annotated[int, Meta(ge=0, le=2**62)]


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """Where the parts of a repair belong: `keep` bytes of each file stay as they are, so many come behind them."""

    file: str
    keep: _Size
    tail: _Size
    receipts: str = ""
    receipts_keep: _Size = 0
    receipts_tail: _Size = 0
    torn_file: str = ""
    torn_keep: _Size = 0
    torn: _Size = 0
    record: Recovered


_plans = msgspec.json.Decoder(Plan)


class _Note:
    """A note as it is written: appended to, and summed."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._sum = hashlib.sha256()

    def append(self, data: bytes) -> None:
        self._sum.update(data)
        self._file.append(data)

    def copy(self, source: File, part: Range) -> None:
        for chunk in _chunks(source, part):
            self.append(chunk)

    def finish(self) -> None:
        self._file.append(self._sum.digest())
        self._file.sync()


def _chunks(source: File, part: Range) -> Iterable[bytes]:
    offset, end = part.offset, part.offset + part.length
    while offset < end:
        chunk = source.read_at(offset, min(end - offset, CHUNK_BYTES))
        if not chunk:
            raise OSError(errno.EIO, "a file became shorter while it was repaired")
        yield chunk
        offset += len(chunk)


class Repairs:
    """The repairs in one directory; `journal` is where their records go."""

    def __init__(self, filesystem: FileSystem, directory: Path, journal: Path, clock: Clock) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._journal = journal
        self._clock = clock

    def pending(self, path: Path) -> bool:
        """Whether a repair of this data file was written down and not finished."""
        return path.with_suffix(".repair").name in self._filesystem.names(self._directory)

    def write(
        self,
        path: Path,
        plan: Plan,
        *,
        tail: Iterable[Range],
        bad: Iterable[Range],
        added: bytes = b"",
        receipts: Iterable[bytes] = (),
    ) -> None:
        """Write a repair of `path` down.

        Args:
            path: the data file or journal.
            plan: the lengths of all parts.
            tail: ranges of `path` that are its new tail.
            bad: ranges of `path` that go to the torn file.
            added: what comes behind the tail.
            receipts: the new tail of the receipts.
        """
        draft = path.with_suffix(".repair.tmp")
        self._filesystem.remove(draft)
        with opened(self._filesystem, draft) as file, opened(self._filesystem, path) as source:
            note = _Note(file)
            note.append(msgspec.json.encode(plan) + b"\n")
            for good in tail:
                note.copy(source, good)
            note.append(added)
            for part in receipts:
                note.append(part)
            for torn in bad:
                note.copy(source, torn)
            note.finish()
        self._filesystem.rename(draft, path.with_suffix(".repair"))
        self._filesystem.sync_directory(self._directory)

    def apply(self, path: Path) -> Recovered:
        """Do the repair of `path` that is written down, or refuse it; may be done any number of times.

        Returns:
            What was done, as it stands in the journal now.
        """
        repair_path = path.with_suffix(".repair")
        try:
            repair = self._filesystem.open(repair_path)
        except OSError as error:  # a link, a directory, a device: nothing of ours
            return self._refuse(repair_path, 0, error.strerror or "it cannot be opened")
        try:
            size = repair.size()
            try:
                plan, body_at = self._read(path, repair)
            except MalformedMessage as error:
                return self._refuse(repair_path, size, error.what)
            receipts_at = body_at + plan.tail
            torn_at = receipts_at + plan.receipts_tail
            # The torn file first: bytes that are in no other file any more must be in this one.
            self._redo(plan.torn_file, plan.torn_keep, repair, Range(torn_at, plan.torn))
            self._redo(plan.file, plan.keep, repair, Range(body_at, plan.tail))
            self._redo(plan.receipts, plan.receipts_keep, repair, Range(receipts_at, plan.receipts_tail))
        finally:
            repair.close()
        if plan.file != self._journal.name:  # the new journal holds its record already
            self._note(plan.record)
        # The names of new files and the journal's record are on disk before the note is gone: till then it is redone.
        self._filesystem.sync_directory(self._directory)
        self._filesystem.remove(repair_path)
        self._filesystem.sync_directory(self._directory)
        return plan.record

    def _read(self, path: Path, repair: File) -> tuple[Plan, int]:
        """The plan, and where its parts begin.

        Raises:
            MalformedMessage: it is not one that was written for this file, or not as it was written.
        """
        head = b""
        while b"\n" not in head and len(head) < _LONGEST_PLAN_BYTES:
            # twice as much each time, from the start: the cost stays in proportion to the line
            head, known = repair.read_at(0, max(CHUNK_BYTES, 2 * len(head))), len(head)
            if len(head) == known:
                break
        head, newline, _ = head.partition(b"\n")
        plan = decode_json(_plans, head if newline else b"")
        body_at, end = len(head) + 1, repair.size() - _SUM_BYTES
        if body_at + plan.tail + plan.receipts_tail + plan.torn != end:
            raise MalformedMessage("its parts do not add up to its size")
        checked = hashlib.sha256()
        for chunk in _chunks(repair, Range(0, end)):
            checked.update(chunk)
        if checked.digest() != repair.read_at(end, _SUM_BYTES):
            raise MalformedMessage("it is not as it was written (SHA-256 differs)")
        self._check_targets(path, plan)
        return plan, body_at

    def _check_targets(self, path: Path, plan: Plan) -> None:
        """A sum shows damage, not intent: whoever makes a note up can sum it too."""
        name = parse_name(path.name)
        stream = name.stream if name else None
        receipts = DayPaths(self._directory, name.day).receipts(stream).name if name and stream else ""
        torn = path.with_suffix(".torn").name
        if plan.file != path.name or plan.receipts not in ("", receipts) or plan.torn_file not in ("", torn):
            raise MalformedMessage("it names files that are not its own")
        for target, keep in (
            (plan.file, plan.keep),
            (plan.receipts, plan.receipts_keep),
            (plan.torn_file, plan.torn_keep),
        ):
            if target and keep > self._size(target) + MOST_UNSYNCED_BYTES:
                raise MalformedMessage(f"{target} is not as large as it says")

    def _size(self, name: str) -> int:
        with opened(self._filesystem, self._directory / name) as file:
            return file.size()

    def _refuse(self, path: Path, size: int, why: str) -> Recovered:
        refused = path.with_name(path.name + ".refused")
        record = Recovered(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            file=path.name,
            torn=[(0, size, f"not a repair: {why}")],
            torn_file=refused.name,
        )
        self._note(record)
        self._filesystem.rename(path, refused)
        self._filesystem.sync_directory(self._directory)
        return record

    def _redo(self, name: str, keep: int, repair: File, part: Range) -> None:
        if not name:
            return
        with opened(self._filesystem, self._directory / name) as file:
            file.truncate(keep)
            for chunk in _chunks(repair, part):
                file.append(chunk)
            file.sync()

    def _note(self, record: Record) -> None:
        line = encode_record(record) + b"\n"
        with opened(self._filesystem, self._journal) as journal:
            reach = 16 * len(line)  # an earlier try wrote it last or nearly so
            recent = journal.read_at(max(0, journal.size() - reach), reach)
            if line not in recent:
                # behind a torn line it would be torn with it
                journal.append(line if recent.endswith(b"\n") or not recent else b"\n" + line)
                journal.sync()
