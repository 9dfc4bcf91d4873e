"""Seals days: compresses the data, proves the copy, writes the manifest, and only then removes the plain files.

For each data file of the day:
 1. `NAME.zst.tmp` is written, synced, read back and compared with the plain file, byte for byte;
 2. it is renamed to `NAME.zst`, and the directory synced.
Then, when all of them have come so far:
 3. the manifest is written as `.tmp`, synced, renamed, and the directory synced;
 4. the plain files are removed.

While a plain file is there it is the one that is read, so a process that ends at any point has lost nothing. The next
sealing starts over: a `.tmp` is removed, a `.zst` beside its plain file is read back and compared again, a
manifest is believed when it agrees with what was read back. Receipts, journal and checkpoints stay as they are, and are
summed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from kraken_l3._version import __version__
from kraken_l3.archive.days import closed_days
from kraken_l3.archive.filesystem import File, FileSystem, is_full, opened
from kraken_l3.archive.journal import Rotated, encode_record
from kraken_l3.archive.layout import SEALED_SUFFIX, DayPaths, Stream, days_in, parse_name, stem
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.manifest import (
    MANIFEST_SUFFIX,
    Content,
    Description,
    Manifest,
    SealedFile,
    decode_manifest,
    encode_manifest,
)
from kraken_l3.archive.recovery import recover
from kraken_l3.archive.zstd import FRAME_BYTES, Frame, UnpackedFile, compress, encode_table, pieces
from kraken_l3.clock import Clock
from kraken_l3.errors import ArchiveError, DamageFound, DiskFull, UsageError
from kraken_l3.model.timestamps import day_of

__all__ = ["SPARE_BYTES", "Sealing", "close_newest_day", "day_sealing", "file_sealing", "seal", "unsealed_days"]

#: Left free for a recorder that writes to the same disk.
SPARE_BYTES = 64 * 1024 * 1024
#: Written between two syncs, so that none takes long: it would hold up those of the recorder.
SYNC_BYTES = 16 * 1024 * 1024

Describe = Callable[["Sealing"], Description]
Progress = Callable[[int], Any]


class Sealing(NamedTuple):
    """What is sealed together: a day, or one file of somebody else's.

    Attributes:
        directory: where all of it lies.
        day: None for a file whose name tells none.
        data: names of the data files, without ".zst".
        companions: names of the files that stay as they are.
        manifest: name of the manifest.
    """

    directory: Path
    day: Optional[dt.date]
    data: list[str]
    companions: list[str]
    manifest: str


def day_sealing(filesystem: FileSystem, directory: Path, day: dt.date) -> Sealing:
    """All files of a day."""
    names = set(filesystem.names(directory))
    paths = DayPaths(directory, day)
    data = [paths.data(stream).name for stream in Stream]
    taken = {paths.manifest.name, *data, *(name + SEALED_SUFFIX for name in data)}
    own = [name for name in sorted(names - taken) if _is_of(name, day) and not name.endswith(".tmp")]
    present = [name for name in data if name in names or name + SEALED_SUFFIX in names]
    return Sealing(directory, day, present, own, paths.manifest.name)


def _is_of(name: str, day: dt.date) -> bool:
    parsed = parse_name(name)
    return parsed is not None and parsed.day == day


def file_sealing(path: Path) -> Sealing:
    """A file that belongs to no archive of ours.

    Raises:
        UsageError: the manifest, which is JSON, could not name it.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise UsageError("the name of the file is not UTF-8", where=str(path), hint="Rename it, then seal it") from None
    name = path.name[: -len(SEALED_SUFFIX)] if path.suffix == SEALED_SUFFIX else path.name
    return Sealing(path.parent, None, [name], [], f"{stem(path)}.{MANIFEST_SUFFIX}")


def unsealed_days(filesystem: FileSystem, directory: Path, today: dt.date) -> list[dt.date]:
    """The closed days that have no manifest, or still a plain file beside it; oldest first."""
    names = set(filesystem.names(directory))
    closed = sorted(closed_days(filesystem, directory, today))
    return [day for day in closed if not _is_sealed(day_sealing(filesystem, directory, day), names)]


def _is_sealed(sealing: Sealing, names: set[str]) -> bool:
    return sealing.manifest in names and not names.intersection(sealing.data)


def close_newest_day(filesystem: FileSystem, directory: Path, clock: Clock) -> Optional[dt.date]:
    """Close the newest day, so that it can be sealed, if no recorder is at work and it is not today's.

    It is repaired where that is needed, and its journal says that the next recorder goes on today.

    Returns:
        The day that was closed; None when there was nothing to do.

    Raises:
        ArchiveLocked: a recorder is at work there.
        ArchiveError: something there cannot be read or written.
    """
    today = day_of(clock.wall_ns())
    newest = set(days_in(filesystem.names(directory))) - set(closed_days(filesystem, directory, today))
    if not newest or max(newest) >= today:
        return None
    lock = DirectoryLock(directory)
    try:
        day = recover(directory, clock=clock, filesystem=filesystem).day
        if day is not None and day < today:
            _end_day(filesystem, DayPaths(directory, day), today, clock)
        return day
    except OSError as error:
        where = str(error.filename or directory)
        raise ArchiveError(f"cannot close the newest day: {error.strerror or error}", where=where) from error
    finally:
        lock.release()


def _end_day(filesystem: FileSystem, paths: DayPaths, today: dt.date, clock: Clock) -> None:
    record = Rotated(at_ns=clock.wall_ns(), mono_ns=clock.mono_ns(), next_day=today)
    with opened(filesystem, paths.journal) as journal:
        journal.append(encode_record(record) + b"\n")
        journal.sync()


def seal(
    sealing: Sealing,
    *,
    filesystem: FileSystem,
    clock: Clock,
    describe: Describe,
    progress: Optional[Progress] = None,
    frame_bytes: int = FRAME_BYTES,
    sync_bytes: int = SYNC_BYTES,
) -> Optional[Manifest]:
    """Seal what was named; doing it again changes nothing.

    Args:
        sealing: what to seal; nobody writes to it any more.
        filesystem: where.
        clock: for the manifest's date.
        describe: called when all sealed files are in place, for what the manifest says of them.
        progress: called with bytes of plain data compressed or compared.
        frame_bytes: about so much is in a frame.
        sync_bytes: so much is written between two syncs.

    Returns:
        The manifest; None when all had been done before.

    Raises:
        DamageFound: a sealed copy or a manifest that was found there differs from the plain file; nothing was removed.
        DiskFull: there is not enough room; the plain files are as they were.
        ArchiveError: it cannot be read or written.
    """
    try:
        return _Run(sealing, filesystem, progress or (lambda _: None), frame_bytes, sync_bytes).run(clock, describe)
    except OSError as error:
        where = str(sealing.directory)
        if is_full(error):
            raise DiskFull("no room for sealing", where=where, hint="Nothing is lost; make room and retry") from error
        raise ArchiveError(f"cannot seal: {error.strerror or error}", where=where) from error


class _Run:
    def __init__(
        self, sealing: Sealing, filesystem: FileSystem, progress: Progress, frame_bytes: int, sync_bytes: int
    ) -> None:
        self._sealing = sealing
        self._directory = sealing.directory
        self._filesystem = filesystem
        self._progress = progress
        self._frame_bytes = frame_bytes
        self._sync_bytes = sync_bytes
        self._names = set(filesystem.names(sealing.directory))

    def run(self, clock: Clock, describe: Describe) -> Optional[Manifest]:
        self._remove_drafts()
        if _is_sealed(self._sealing, self._names):
            return None
        files = [self._seal_data(name) for name in self._sealing.data]
        files += [self._sum_companion(name) for name in self._sealing.companions]
        manifest = self._earlier_manifest(files) or self._write_manifest(files, clock, describe)
        self._remove_plain()
        return manifest

    def _remove_drafts(self) -> None:
        drafts = [f"{name}{SEALED_SUFFIX}.tmp" for name in self._sealing.data] + [f"{self._sealing.manifest}.tmp"]
        for name in self._names.intersection(drafts):
            self._filesystem.remove(self._directory / name)

    # -- data files

    def _seal_data(self, name: str) -> SealedFile:
        """The sealed file, proved against the plain one if that is still there."""
        sealed = self._directory / (name + SEALED_SUFFIX)
        if name not in self._names:
            with opened(self._filesystem, sealed) as file:
                return self._read_back(file, sealed, None)
        with opened(self._filesystem, self._directory / name) as plain:
            if sealed.name in self._names:
                with opened(self._filesystem, sealed) as file:
                    return self._read_back(file, sealed, plain)
            return self._compress(plain, sealed)

    def _compress(self, plain: File, sealed: Path) -> SealedFile:
        draft = sealed.with_name(sealed.name + ".tmp")
        try:
            with opened(self._filesystem, draft) as file:
                self._write_frames(plain, file)
                file.sync()
                summed = self._read_back(file, sealed, plain)
        except (OSError, DiskFull, DamageFound) as error:
            with contextlib.suppress(OSError):
                self._filesystem.remove(draft)
            if isinstance(error, DamageFound):
                raise ArchiveError(
                    "what was written reads back differently", where=str(draft), hint=_STILL_WRITTEN
                ) from error
            raise
        self._publish(draft, sealed)
        return summed

    def _read_back(self, packed: File, path: Path, plain: Optional[File]) -> SealedFile:
        """Unpack all of a sealed file, and compare it with the plain file if there is one.

        Raises:
            DamageFound: it cannot be unpacked, or is not the same.
        """
        sha, at, newlines, last = hashlib.sha256(), 0, 0, b"\n"
        source = UnpackedFile(_Kept(packed), str(path))
        try:
            while data := source.read_at(at, self._frame_bytes):
                if plain is not None and plain.read_at(at, len(data)) != data:
                    break
                sha.update(data)
                at, newlines, last = at + len(data), newlines + data.count(b"\n"), data[-1:]
                self._progress(len(data))
        finally:
            source.close()
        if plain is not None and (data or plain.size() != at):
            raise DamageFound(
                f"does not hold what the plain file holds at byte {at}", where=str(path), hint=_TWO_COPIES
            )
        content = Content(bytes=at, sha256=sha.hexdigest(), lines=newlines + (last != b"\n"))
        return SealedFile(name=path.name, bytes=packed.size(), sha256=_sha256(packed), content=content)

    def _write_frames(self, plain: File, file: File) -> None:
        frames: list[Frame] = []
        offset = start = unsynced = 0
        for piece in pieces(plain, self._frame_bytes):
            packed = compress(piece)
            self._check_room(len(packed))
            file.append(packed)
            frames.append(Frame(offset, len(packed), start, len(piece)))
            offset, start, unsynced = offset + len(packed), start + len(piece), unsynced + len(packed)
            if unsynced >= self._sync_bytes:
                file.sync()
                unsynced = 0
            self._progress(len(piece))
        file.append(encode_table(frames))

    def _check_room(self, wanted: int) -> None:
        if self._filesystem.free_bytes(self._directory) < wanted + SPARE_BYTES:
            raise DiskFull(
                "not enough room for sealing",
                where=str(self._directory),
                hint="Nothing is lost; make room and retry",
            )

    def _sum_companion(self, name: str) -> SealedFile:
        with opened(self._filesystem, self._directory / name) as file:
            return SealedFile(name=name, bytes=file.size(), sha256=_sha256(file))

    # -- manifest

    def _earlier_manifest(self, files: list[SealedFile]) -> Optional[Manifest]:
        """The manifest of a sealing that ended before it had removed all plain files."""
        if self._sealing.manifest not in self._names:
            return None
        path = self._directory / self._sealing.manifest
        with opened(self._filesystem, path) as file:
            manifest = decode_manifest(file.read_at(0, file.size()), path)
        for file_now in files:
            if file_now.content is not None and manifest.file(file_now.name) != file_now:
                raise DamageFound(
                    "is not the file that was sealed", where=str(self._directory / file_now.name), hint=_TWO_COPIES
                )
        return manifest

    def _write_manifest(self, files: list[SealedFile], clock: Clock, describe: Describe) -> Manifest:
        manifest = Manifest(
            day=self._sealing.day.isoformat() if self._sealing.day else None,
            sealed_ns=clock.wall_ns(),
            program=f"kraken-l3 {__version__}",
            files=files,
            contains=describe(self._sealing),
        )
        path = self._directory / self._sealing.manifest
        draft = path.with_name(path.name + ".tmp")
        with opened(self._filesystem, draft) as file:
            file.append(encode_manifest(manifest))
            file.sync()
        self._publish(draft, path)
        return manifest

    def _publish(self, draft: Path, path: Path) -> None:
        self._filesystem.rename(draft, path)
        self._filesystem.sync_directory(self._directory)

    def _remove_plain(self) -> None:
        for name in self._names.intersection(self._sealing.data):
            self._filesystem.remove(self._directory / name)
        self._filesystem.sync_directory(self._directory)


_STILL_WRITTEN = "The plain file was kept. If nothing still writes to it, check the disk"
_TWO_COPIES = "Nothing was removed. Compare both (`zstd -dc FILE.zst | cmp - FILE`), remove the wrong one, then retry"


class _Kept:
    """A file that stays open when its reader is done with it."""

    def __init__(self, file: File) -> None:
        self.size, self.read_at = file.size, file.read_at

    def close(self) -> None:
        """Its owner closes it."""


def _sha256(file: File) -> str:
    sha, at = hashlib.sha256(), 0
    while data := file.read_at(at, FRAME_BYTES):
        sha.update(data)
        at += len(data)
    return sha.hexdigest()
