"""A repair is written down whole before it is done, so that a kill half way through costs nothing: it is done again.

`NAME.repair` beside `NAME.ndjson`: one JSON line (`Plan`), then the bytes that come after `keep` in the data file,
those after `receipts_keep` in the receipts, and those that go to the torn file. It exists only whole: written as
`.repair.tmp`, synced, renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.archive.filesystem import File, FileSystem
from kraken_l3.archive.journal import Record, Recovered, encode_record
from kraken_l3.archive.scan import CHUNK_BYTES, Range

__all__ = ["Plan", "Repairs"]


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """Where the parts of a repair belong: `keep` bytes of each file stay as they are, so many come behind them."""

    file: str
    keep: int
    tail: int
    receipts: str = ""
    receipts_keep: int = 0
    receipts_tail: int = 0
    torn_file: str = ""
    torn_keep: int = 0
    torn: int = 0
    record: Optional[Recovered] = None


def _copy(source: File, offset: int, length: int, target: File) -> None:
    while length > 0:
        chunk = source.read_at(offset, min(length, CHUNK_BYTES))
        target.append(chunk)
        offset += len(chunk)
        length -= len(chunk)


def _first_line(file: File) -> bytes:
    data = b""
    while b"\n" not in data:
        chunk = file.read_at(len(data), CHUNK_BYTES)
        if not chunk:
            break
        data += chunk
    return data.partition(b"\n")[0]


class Repairs:
    """The repairs in one directory; `journal` is where their records go."""

    def __init__(self, filesystem: FileSystem, directory: Path, journal: Path) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._journal = journal

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
        file, source = self._filesystem.open(draft), self._filesystem.open(path)
        try:
            file.append(msgspec.json.encode(plan) + b"\n")
            for good in tail:
                _copy(source, good.offset, good.length, file)
            file.append(added)
            for part in receipts:
                file.append(part)
            for torn in bad:
                _copy(source, torn.offset, torn.length, file)
            file.sync()
        finally:
            file.close()
            source.close()
        self._filesystem.rename(draft, path.with_suffix(".repair"))
        self._filesystem.sync_directory(self._directory)

    def apply(self, path: Path) -> Optional[Recovered]:
        """Do the repair of `path` that is written down; may be done any number of times."""
        repair_path = path.with_suffix(".repair")
        repair = self._filesystem.open(repair_path)
        try:
            head = _first_line(repair)
            plan = msgspec.json.decode(head, type=Plan)
            tail_at = len(head) + 1
            receipts_at = tail_at + plan.tail
            torn_at = receipts_at + plan.receipts_tail
            self._redo(plan.torn_file, plan.torn_keep, repair, Range(torn_at, plan.torn))
            self._redo(plan.file, plan.keep, repair, Range(tail_at, plan.tail))
            self._redo(plan.receipts, plan.receipts_keep, repair, Range(receipts_at, plan.receipts_tail))
        finally:
            repair.close()
        if plan.record is not None and plan.file != self._journal.name:
            self._note(plan.record)
        self._filesystem.sync_directory(self._directory)
        self._filesystem.remove(repair_path)
        self._filesystem.sync_directory(self._directory)
        return plan.record

    def _redo(self, name: str, keep: int, repair: File, part: Range) -> None:
        if not name:
            return
        file = self._filesystem.open(self._directory / name)
        try:
            file.truncate(keep)
            _copy(repair, part.offset, part.length, file)
            file.sync()
        finally:
            file.close()

    def _note(self, record: Record) -> None:
        line = encode_record(record) + b"\n"
        journal = self._filesystem.open(self._journal)
        try:
            reach = 16 * len(line)  # an earlier try wrote it last or nearly so
            if line not in journal.read_at(max(0, journal.size() - reach), reach):
                journal.append(line)
                journal.sync()
        finally:
            journal.close()
