"""What is wrong with the files beside the data: journals, receipts, checkpoints, manifests, repair notes.

Companions are as untrusted as data. A reader passes over what it cannot use, and reads the data without it; this says
what was passed over, where, and why, so that nobody takes silence for soundness.
"""

from __future__ import annotations

import datetime as dt
import sys
from array import array
from collections.abc import Iterator
from operator import ge
from pathlib import Path
from typing import Callable, Optional

import msgspec

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.journal import is_damaged
from kraken_l3.archive.layout import JOURNAL_PREFIX, DayPaths, Stream
from kraken_l3.archive.opening import PlainFile, existing, open_source
from kraken_l3.archive.reader import Archive, sound_records
from kraken_l3.archive.receipts import RECEIPT_BYTES
from kraken_l3.archive.scan import fault_of, segments
from kraken_l3.errors import ArchiveError, DamageFound, DataMissing, MalformedMessage

__all__ = ["CompanionDamage", "companion_damage", "journal_damage"]

#: So many of each file are told; a file that is damaged all over says no more with a million.
MOST_PER_FILE = 20
_RECEIPTS_AT_ONCE = 131_072


class CompanionDamage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was passed over.

    Attributes:
        file: name of the companion.
        what: in words.
        line: of the file, from 0, or the number of the receipt; None when it concerns all of it.
        offset: where that begins, in bytes.
    """

    file: str
    what: str
    line: Optional[int] = None
    offset: Optional[int] = None

    @property
    def is_journal(self) -> bool:
        """Whether it is a journal's: then not all gaps may be known."""
        return self.file.startswith(f"{JOURNAL_PREFIX}-")

    def __str__(self) -> str:
        where = "" if self.line is None else f", line {self.line}, offset {self.offset}"
        return f"{self.file}{where}: {self.what}"


def companion_damage(archive: Archive, *, is_growing: bool = False, briefly: bool = False) -> list[CompanionDamage]:
    """Look at every companion once.

    Args:
        archive: what to look at.
        is_growing: a recorder is at work: the last line of a journal may be half written, and receipts behind the data.
        briefly: leave out checkpoints, and receipts but the last: they are a part of the data in size.
    """
    found: list[CompanionDamage] = []
    for day in archive.days:
        found += _of_day(archive, day, is_growing=is_growing, briefly=briefly)
    return found


def journal_damage(archive: Archive) -> list[CompanionDamage]:
    """Look at the journals alone; a recorder may be at work."""
    paths = (DayPaths(archive.directory, day).journal for day in archive.days)
    return [each for path in paths for each in _in_lines(path, _journal_fault, is_growing=True)]


def _of_day(archive: Archive, day: dt.date, *, is_growing: bool, briefly: bool) -> Iterator[CompanionDamage]:
    paths = DayPaths(archive.directory, day)
    yield from _in_lines(paths.journal, _journal_fault, is_growing=is_growing)
    if not briefly:
        yield from _in_lines(paths.checkpoints, _checkpoint_fault, is_growing=is_growing)
    for path in (paths.journal, paths.checkpoints, *map(paths.receipts, Stream)):
        packed = existing(path)
        if packed is not None and packed != path:
            yield CompanionDamage(packed.name, "packed, and not read: unpack it first")
    for stream in (Stream.TRADE, Stream.INSTRUMENT, Stream.FOLLOWER):
        yield from _in_opening(paths.data(stream))
    for stream in Stream:
        yield from _in_receipts(paths, stream, is_growing=is_growing, briefly=briefly)
        if paths.data(stream).with_suffix(".repair").exists():
            name = paths.data(stream).with_suffix(".repair").name
            yield CompanionDamage(name, "a repair that was not finished: run `kraken-l3 recover`")
    if paths.manifest.exists():
        from kraken_l3.archive.manifest import read_manifest  # only here: most days that are looked at have none

        try:
            read_manifest(paths.manifest)
        except (ArchiveError, DamageFound) as error:
            yield CompanionDamage(paths.manifest.name, error.what)


def _in_opening(path: Path) -> Iterator[CompanionDamage]:
    """Data that books do not need."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        source = open_source(path)
        try:
            source.size()
        finally:
            source.close()
    except (ArchiveError, DataMissing, DamageFound) as error:
        yield CompanionDamage(path.name, error.what)


def _in_lines(path: Path, fault: Callable[[bytes], str], *, is_growing: bool) -> Iterator[CompanionDamage]:
    if not path.exists() and not path.is_symlink():
        return
    try:
        source = PlainFile(path)
    except ArchiveError as error:
        yield CompanionDamage(path.name, error.what)
        return
    told = 0
    try:
        begin, first = 0, 0
        for records, end in sound_records(source) if fault is _journal_fault else ():
            begin, first = end, first + len(records)
        for number, segment in enumerate(segments(source, begin), first):
            if not segment.whole and is_growing:
                return
            is_sound = segment.whole and not segment.is_cut and b"\0" not in segment.data and not fault(segment.data)
            # a sound line is decoded once; only of another one it is asked what is wrong
            what = "" if is_sound else fault_of(segment) or fault(segment.data)
            if what:
                yield CompanionDamage(path.name, what, number, segment.offset)
                told += 1
            if told == MOST_PER_FILE:
                return
    finally:
        source.close()


def _journal_fault(line: bytes) -> str:
    return "not a journal record" if is_damaged(line) else ""


def _checkpoint_fault(line: bytes) -> str:
    from kraken_l3.archive.checkpoints import decode_checkpoint  # as above

    try:
        decode_checkpoint(line)
    except MalformedMessage:
        return "not a checkpoint"
    return ""


def _in_receipts(paths: DayPaths, stream: Stream, *, is_growing: bool, briefly: bool) -> Iterator[CompanionDamage]:
    path, data = paths.receipts(stream), existing(paths.data(stream))
    if data is None or not (path.exists() or path.is_symlink()):
        return
    try:
        receipts = PlainFile(path)
    except ArchiveError as error:
        yield CompanionDamage(path.name, error.what)
        return
    try:
        size = receipts.size()
        if size % RECEIPT_BYTES and not is_growing:
            count = size // RECEIPT_BYTES
            yield CompanionDamage(path.name, "the last receipt is torn", count, count * RECEIPT_BYTES)
        last_end = 0
        begin = max(0, size // RECEIPT_BYTES - _RECEIPTS_AT_ONCE) if briefly else 0
        for first in range(begin, size // RECEIPT_BYTES, _RECEIPTS_AT_ONCE):
            whole = receipts.read_at(first * RECEIPT_BYTES, _RECEIPTS_AT_ONCE * RECEIPT_BYTES)
            words = array("Q", whole[: len(whole) - len(whole) % RECEIPT_BYTES])
            if sys.byteorder == "big":
                words.byteswap()
            ends = array("Q", [last_end]) + words[2::4]
            if any(map(ge, ends, ends[1:])):
                at = first + next(i for i in range(len(ends) - 1) if ends[i] >= ends[i + 1])
                yield CompanionDamage(path.name, "offsets of lines that do not rise", at, at * RECEIPT_BYTES)
                return
            last_end = ends[-1]
        with DataFile(data) as file:
            if file.receipts is None:
                what = f"ends at offset {last_end} of {data.name}, where no line ends: read without receipts"
                yield CompanionDamage(path.name, what)
    except (ArchiveError, DataMissing, DamageFound):
        return  # of the data: whoever reads it says so
    finally:
        receipts.close()
