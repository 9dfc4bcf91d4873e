"""Checks sealed files against their manifest, and says where in a damaged one the damage is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from kraken_l3.archive.layout import SEALED_SUFFIX, stem
from kraken_l3.archive.manifest import Content, SealedFile, read_manifest
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.receipts import ReceiptIndex
from kraken_l3.archive.zstd import Frame, read_table, scan_frames, unpack
from kraken_l3.errors import ArchiveError, DamageFound

__all__ = ["Checked", "Fault", "check_manifest"]

Progress = Callable[[int], Any]
#: Read at once: small enough to be in the processor's cache still when it is hashed.
_READ_BYTES = 256 * 1024
#: Files hashed at the same time. Disks gain nothing by more.
_MOST_THREADS = 4


class Fault(msgspec.Struct, omit_defaults=True):
    """Something that is not as it was sealed. For a frame of a .zst file with where its content stood.

    Attributes:
        file: its name.
        what: in words.
        missing: the file is not there at all.
        frame: number of the damaged frame, from 0.
        first_line, last_line: of the file, from 0; None where nothing tells.
        begin, end: of the frame's content, in bytes of the whole content.
    """

    file: str
    what: str
    missing: bool = False
    frame: Optional[int] = None
    first_line: Optional[int] = None
    last_line: Optional[int] = None
    begin: Optional[int] = None
    end: Optional[int] = None


class Checked(msgspec.Struct):
    """One manifest: how many files and bytes were read for it, and what was wrong."""

    manifest: str
    files: int = 0
    bytes: int = 0
    faults: list[Fault] = []


def check_manifest(path: Path, *, progress: Optional[Progress] = None) -> Checked:
    """Hold every file of a manifest against its size and sum; several at a time, for hashing lets other threads run.

    Args:
        path: the manifest.
        progress: called with bytes read, from any thread.

    Raises:
        ArchiveError: a file cannot be read.
    """
    checked = Checked(manifest=path.name)
    try:
        manifest = read_manifest(path)
    except (DamageFound, ArchiveError) as error:
        checked.faults.append(Fault(path.name, error.what))
        return checked
    entries = []
    for entry in manifest.files:
        if entry.name in ("", "..") or Path(entry.name).name != entry.name:  # it would be looked for elsewhere
            checked.faults.append(Fault(entry.name, "is not the name of a file in this directory"))
            continue
        entries.append(entry)
        checked.files += 1
        checked.bytes += entry.bytes
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as threads:
        found = threads.map(partial(_fault_of, path.parent, progress=progress or (lambda _: None)), entries)
        wrong = [(entry, fault) for entry, fault in zip(entries, found) if fault is not None]
    names = {entry.name for entry, _ in wrong}
    for entry, fault in wrong:
        located = [] if fault.missing or entry.content is None else _locate(path.parent / entry.name, entry, names)
        checked.faults += located or [fault]
    return checked


def _fault_of(directory: Path, entry: SealedFile, progress: Progress) -> Optional[Fault]:
    path = directory / entry.name
    if not path.exists():
        plain = path.name[: -len(SEALED_SUFFIX)]
        instead = f"; {plain} is there instead" if entry.content and path.with_name(plain).exists() else ""
        return Fault(entry.name, f"is missing{instead}", missing=True)
    try:
        source = PlainFile(path)
    except ArchiveError as error:
        return Fault(entry.name, error.what)
    sha, at = hashlib.sha256(), 0
    try:
        size = source.size()
        while data := source.read_at(at, min(_READ_BYTES, entry.bytes - at)):
            sha.update(data)
            at += len(data)
            progress(len(data))
    finally:
        source.close()
    may_grow = path.suffix == ".checkpoints"  # a verifier that was late adds to them
    if size != entry.bytes and not (may_grow and size > entry.bytes):
        return Fault(entry.name, f"has {size:,} bytes instead of {entry.bytes:,}")
    return None if sha.hexdigest() == entry.sha256 else Fault(entry.name, "is not what was sealed (SHA-256 differs)")


# -- where in a sealed file --------------------------------------------------------------------------------------------


def _locate(path: Path, entry: SealedFile, wrong: set[str]) -> list[Fault]:
    """The frames that are damaged; or that what surrounds them is; empty when that cannot be told."""
    try:
        packed = PlainFile(path)
    except ArchiveError:
        return []
    try:
        frames = read_table(packed)
        if frames is None:
            return _without_table(packed, path, entry)
        return _look(packed, frames, path, entry, wrong)
    finally:
        packed.close()


def _without_table(packed: PlainFile, path: Path, entry: SealedFile) -> list[Fault]:
    try:
        frames = list(scan_frames(packed, path.name))
    except DamageFound as error:
        return [Fault(path.name, f"{error.where}: {error.what}")]
    return _look(packed, frames, path, entry, set())


def _look(packed: PlainFile, frames: Sequence[Frame], path: Path, entry: SealedFile, wrong: set[str]) -> list[Fault]:
    assert entry.content is not None
    sha, start, lines = hashlib.sha256(), 0, []
    placed, faults = [], {}
    for index, frame in enumerate(frames):
        try:
            content: Optional[bytes] = b"".join(part for _, part in unpack(packed, frame.offset, path.name))
        except DamageFound as error:
            content, faults[index] = None, error.what
        size = frame.size if content is None else len(content)
        placed.append((start, start + size))
        lines.append(None if content is None else content.count(b"\n"))
        sha.update(content or b"")
        start += size
    if not faults:
        return [_around(path.name, entry.content, sha.hexdigest())]
    spans = _Spans(path, placed, lines, entry.content, wrong)
    return [spans.fault(index, what) for index, what in faults.items()]


def _around(name: str, content: Content, sha256: str) -> Fault:
    if content.sha256 == sha256:
        return Fault(name, "its seek table or the head of a frame is damaged; what it holds is whole")
    return Fault(name, "is another file: its frames are whole, and hold something else")


class _Spans:
    """The lines of frames: from the receipts if they are whole, else by counting those of the other frames."""

    def __init__(
        self,
        path: Path,
        placed: Sequence[tuple[int, int]],
        lines: Sequence[Optional[int]],
        content: Content,
        wrong: set[str],
    ) -> None:
        self._path = path
        self._placed = placed
        self._lines = lines
        self._content = content
        receipts = path.with_name(f"{stem(path)}.receipts")
        self._receipts = receipts if receipts.exists() and receipts.name not in wrong else None

    def fault(self, index: int, what: str) -> Fault:
        begin, end = self._placed[index]
        first, last = self._by_receipts(begin, end) if self._receipts is not None else self._by_counting(index)
        return Fault(self._path.name, what, frame=index, first_line=first, last_line=last, begin=begin, end=end)

    def _by_receipts(self, begin: int, end: int) -> tuple[int, int]:
        assert self._receipts is not None
        source = PlainFile(self._receipts)
        try:
            index = ReceiptIndex(source)
            return index.line_at_offset(begin), index.line_at_offset(end - 1)
        finally:
            source.close()

    def _by_counting(self, index: int) -> tuple[Optional[int], Optional[int]]:
        before = [count for count in self._lines[:index] if count is not None]
        after = [count for count in self._lines[index + 1 :] if count is not None]
        first = sum(before) if len(before) == index else None
        is_told = len(after) == len(self._lines) - index - 1
        return first, self._content.lines - sum(after) - 1 if is_told else None
