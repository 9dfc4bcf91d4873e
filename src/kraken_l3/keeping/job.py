"""One run of keeping: upload what is sealed, prove it, and remove old days that may go."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from kraken_l3.archive.checking import check_manifest
from kraken_l3.archive.layout import KEEP_LOCK_NAME, DayPaths, days_in, parse_name
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.manifest import Manifest, read_manifest
from kraken_l3.clock import Clock
from kraken_l3.errors import ArchiveError, DamageFound, UsageError
from kraken_l3.keeping.record import Removed, Uploaded, UploadRecord
from kraken_l3.keeping.rules import KeptDay, Limits, held_back, to_remove
from kraken_l3.keeping.upload import Store
from kraken_l3.model.timestamps import day_of

__all__ = ["KeepReport", "keep"]

Progress = Callable[[int], Any]


class KeepReport(msgspec.Struct):
    """What one run did.

    Attributes:
        url: the store.
        uploaded: files that were copied and proved, and their bytes.
        days_elsewhere: days of which every file is proved to be in the store.
        removed: days removed here, and their bytes.
        held_back: days that the limits would have removed, each with the reason why it stays.
        failed: what could not be uploaded, in words; the next run tries again.
        damaged: files that are not as they were sealed, or came back otherwise, in words.
    """

    url: str
    uploaded: int = 0
    uploaded_bytes: int = 0
    days_elsewhere: int = 0
    removed: list[dt.date] = []
    removed_bytes: int = 0
    held_back: dict[dt.date, str] = {}
    failed: list[str] = []
    damaged: list[str] = []


def keep(
    directory: Path,
    url: str,
    clock: Clock,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    *,
    progress: Optional[Progress] = None,
) -> KeepReport:
    """Upload every sealed day, then remove old ones that may go. The same call goes on after an interruption.

    A day is in the store when its manifest is: that is uploaded last.

    Args:
        directory: the archive.
        url: where to; see `Store`.
        clock: says which day it is.
        limits: what stays here.
        progress: called with bytes, each counted twice.

    Raises:
        UsageError: there is no archive, the store is the archive itself, or there is no access to it.
        ArchiveLocked: another run is at work.
        LocalFault: this machine cannot write what was done.
    """
    if not directory.is_dir() or not days_in(path.name for path in directory.iterdir()):
        raise UsageError("no archive directory", where=str(directory))
    store = Store(url)
    if store.is_at(directory):  # each file would be replaced by itself while it is read
        hint = "Name a directory on another disk, or an object store"
        raise UsageError("this is the archive itself", where=store.url, hint=hint)
    lock = DirectoryLock(directory, KEEP_LOCK_NAME, holder="another `kraken-l3 keep` is running here")
    try:
        run = _Run(directory, store, clock, progress or (lambda _count: None))
        run.finish_removals()
        days = [run.upload(day) for day in days_in(path.name for path in directory.iterdir())]
        run.report.days_elsewhere = sum(each.is_elsewhere for each in days)
        removed, held = to_remove(days, limits, day_of(clock.wall_ns()))
        run.report.held_back = {each.day: held_back(each) or "" for each in held}
        for each in removed:
            run.remove(each)
        return run.report
    finally:
        lock.release()


class _Run:
    def __init__(self, directory: Path, store: Store, clock: Clock, progress: Progress) -> None:
        self._directory, self._store, self._clock, self._progress = directory, store, clock, progress
        self._record = UploadRecord(directory)
        self.report = KeepReport(store.url)

    def upload(self, day: dt.date) -> KeptDay:
        """Upload a day, unless it is there already; what is known of it then."""
        files = self._files_of(day)
        kept = KeptDay(day, sum(path.stat().st_size for path in files))
        path = DayPaths(self._directory, day).manifest
        if path not in files:
            return kept
        try:
            manifest = read_manifest(path)
        except (DamageFound, ArchiveError) as error:
            self.report.damaged.append(str(error))
            return kept
        kept = kept._replace(verdict=(manifest.contains.verdicts or {}).get("verdict"))
        names = [*(file.name for file in files if file != path), path.name]
        missing = [name for name in names if not self._is_there(name, self._store.url)]
        if faults := check_manifest(path).faults if missing else []:
            self.report.damaged += [f"{fault.file}: {fault.what}" for fault in faults]
            return kept
        return kept._replace(is_sealed=True, is_elsewhere=self._upload(manifest, day, missing))

    def _is_there(self, name: str, url: str) -> bool:
        """Whether a store was proved to have a file as it is here."""
        known = self._record.of(url, name)
        path = self._directory / name
        # checkpoints may have grown since: a verifier that was late adds to them
        return known is not None and path.exists() and path.stat().st_size == known.bytes

    def _is_of_another(self, path: Path) -> bool:
        """Whether the store has this day of another archive, which may be nowhere else by now. The manifest tells: it
        names all files by their sums. One that is a part of ours was half written when the power went."""
        if self._record.of(self._store.url, path.name) is not None:
            return False
        return not path.read_bytes().startswith(self._store.read(path.name))

    def _upload(self, manifest: Manifest, day: dt.date, names: Sequence[str]) -> bool:
        for name in names:
            try:
                if name == names[0] and self._is_of_another(DayPaths(self._directory, day).manifest):
                    self.report.failed.append(f"{day} of another archive is in the store. Give each archive its own")
                    return False
                size, sha256 = self._store.put(self._directory / name, name, self._progress)
            except DamageFound as error:
                self.report.damaged.append(str(error))
                return False
            except ArchiveError as error:
                self.report.failed.append(str(error))
                return False
            sealed = manifest.file(name)
            if sealed is not None and size == sealed.bytes and sha256 != sealed.sha256:
                self.report.damaged.append(f"{name}: changed while it was uploaded")
                return False
            at_ns, url = self._clock.wall_ns(), self._store.url
            self._record.add(Uploaded(at_ns=at_ns, url=url, day=day, name=name, bytes=size, sha256=sha256))
            self.report.uploaded += 1
            self.report.uploaded_bytes += size
        return True

    def remove(self, kept: KeptDay) -> None:
        """Remove a day here, once the store still has every file of it with the right size."""
        for path in self._files_of(kept.day):
            size = path.stat().st_size
            if not self._is_there(path.name, self._store.url) or self._store.size(path.name) != size:
                self.report.held_back[kept.day] = f"{path.name} is no longer in the store as it was uploaded"
                return
        begun = Removed(at_ns=self._clock.wall_ns(), url=self._store.url, day=kept.day, bytes=kept.bytes)
        self._record.add(begun)
        self._finish(begun)

    def finish_removals(self) -> None:
        """Remove what an interrupted run has left of the days that it was removing."""
        for begun in list(self._record.removing.values()):
            self._finish(begun)

    def _finish(self, begun: Removed) -> None:
        manifest = DayPaths(self._directory, begun.day).manifest
        # the manifest last: whoever looks meanwhile sees a sealed day with files missing, not one that is not sealed
        for path in sorted(self._files_of(begun.day), key=lambda path: path == manifest):
            # of an interrupted removal: something may have been written since, which is nowhere else
            if self._is_there(path.name, begun.url):
                path.unlink(missing_ok=True)
        self._record.add(msgspec.structs.replace(begun, at_ns=self._clock.wall_ns(), done=True))
        self.report.removed.append(begun.day)
        self.report.removed_bytes += begun.bytes

    def _files_of(self, day: dt.date) -> list[Path]:
        found = []
        for path in self._directory.iterdir():
            name = parse_name(path.name)
            if name is not None and name.day == day and path.is_file():
                found.append(path)
        return sorted(found)
