"""`kraken-l3 seal`: compress closed days, compare the copies, write manifests."""

from __future__ import annotations

import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

from kraken_l3.archive.days import closed_days
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.layout import GZIP_SUFFIX, SEAL_LOCK_NAME, parse_name
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.manifest import Manifest
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import Sealing, close_newest_day, day_sealing, file_sealing, unsealed_days
from kraken_l3.archive.sealing import seal as seal_files
from kraken_l3.cli.console import Screen, Table, progress, size
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import lower_priority
from kraken_l3.clock import SystemClock
from kraken_l3.errors import ArchiveLocked, DamageFound, UsageError
from kraken_l3.model.timestamps import day_of
from kraken_l3.rebuild.sealing import describe

__all__ = ["seal"]


def seal(path: Path, day: Optional[str], as_json: bool, low_priority: bool) -> int:
    """Run `kraken-l3 seal`; gives its exit code back."""
    if low_priority:
        lower_priority()
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    directory = path if path.is_dir() else path.parent
    if path.is_dir() and not open_archive(path).days:
        raise UsageError("no archive here", where=str(path), hint="Its files are named l3-YYYY-MM-DD.ndjson")
    lock = DirectoryLock(directory, SEAL_LOCK_NAME, holder="another `kraken-l3 seal` is running here")
    try:
        sealings, remarks = _sealings(path, day)
        # beside a recorder one core is enough: it is not to wait for this
        done, damaged = _seal_all(sealings, jobs=1 if low_priority else None)
    finally:
        lock.release()
    code = DamageFound.exit_code if damaged else 0
    if as_json:
        return print_result(_as_dict(path, done, damaged, remarks), code)
    _print(done, damaged, remarks)
    return code


# -- what is to be sealed ----------------------------------------------------------------------------------------------


def _sealings(path: Path, day: Optional[str]) -> tuple[list[Sealing], list[str]]:
    """What to seal, and remarks about what is not."""
    name = parse_name(path.name)
    if path.is_dir():
        return _of_directory(path, _parse_day(day))
    if day is not None:
        raise UsageError("--day needs a directory", where=str(path))
    if path.suffix == GZIP_SUFFIX:
        raise UsageError("it is packed already", where=str(path), hint="Unpack it first: `gzip -d FILE`")
    return _of_directory(path.parent, name.day) if name is not None else ([file_sealing(path)], [])


def _of_directory(directory: Path, only: Optional[dt.date]) -> tuple[list[Sealing], list[str]]:
    filesystem, clock, remarks = OsFileSystem(), SystemClock(), []
    try:
        close_newest_day(filesystem, directory, clock)
    except ArchiveLocked:
        remarks.append("A recorder is running here. The day that it writes was not sealed.")
    today = day_of(clock.wall_ns())
    days = unsealed_days(filesystem, directory, today)
    if only is not None:
        if only not in closed_days(filesystem, directory, today):
            raise UsageError(f"{only} is not closed, or not recorded", where=str(directory), hint=_WHEN_CLOSED)
        days = [day for day in days if day == only]
    return [day_sealing(filesystem, directory, day) for day in days], remarks


_WHEN_CLOSED = "A day can be sealed once the recorder has begun the next one, or has stopped and the day is over"


def _parse_day(text: Optional[str]) -> Optional[dt.date]:
    try:
        return dt.date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise UsageError(f"not a date: {text!r}", where="--day", hint="Use YYYY-MM-DD, e.g. 2026-11-22") from None


# -- the work ----------------------------------------------------------------------------------------------------------


def _seal_all(sealings: list[Sealing], jobs: Optional[int]) -> tuple[list[Manifest], list[str]]:
    """The manifests written, and the days that could not be sealed because two copies differ."""
    damaged: list[str] = []
    plain = [sealing.directory / name for sealing in sealings for name in sealing.data]
    # twice: each byte is compressed, and then compared
    with progress("sealing", 2 * sum(file.stat().st_size for file in plain if file.exists())) as on_bytes:
        manifests = [_seal_one(sealing, on_bytes, damaged, jobs) for sealing in sealings]
    return [manifest for manifest in manifests if manifest is not None], damaged


def _seal_one(
    sealing: Sealing, on_bytes: Callable[[int], Any], damaged: list[str], jobs: Optional[int]
) -> Optional[Manifest]:
    files, clock = OsFileSystem(), SystemClock()
    try:
        return seal_files(
            sealing, filesystem=files, clock=clock, describe=partial(describe, jobs=jobs), progress=on_bytes
        )
    except DamageFound as error:  # only this day is concerned; the others can be sealed
        damaged.append(str(error))
        return None


# -- the report --------------------------------------------------------------------------------------------------------


def _as_dict(path: Path, done: list[Manifest], damaged: list[str], remarks: list[str]) -> dict[str, Any]:
    return {
        "path": str(path),
        "sealed": [
            {
                "day": manifest.day,
                "files": [file for file in manifest.files if file.content is not None],
                "gaps": _gaps(manifest),
                "verdict": _verdict(manifest),
            }
            for manifest in done
        ],
        "damaged": damaged,
        "remarks": remarks,
    }


def _gaps(manifest: Manifest) -> int:
    """Those of the books, counted as `verify` counts them; the manifest lists all."""
    return int(manifest.contains.verdicts["total"]["gaps"]) if manifest.contains.verdicts else 0


def _verdict(manifest: Manifest) -> Optional[str]:
    return manifest.contains.verdicts["verdict"] if manifest.contains.verdicts else None


def _print(done: list[Manifest], damaged: list[str], remarks: list[str]) -> None:
    screen = Screen()
    if done:
        screen.table(_table(done))
    elif not damaged:
        screen.line("Nothing to seal.")
    for text in remarks:
        screen.line(text)
    for text in damaged:
        screen.line(text, "red")


def _table(done: list[Manifest]) -> Table:
    table = Table("file", ">lines", ">plain", ">sealed", ">ratio", ">gaps", "level3")
    for manifest in done:
        for file in manifest.files:
            if file.content is not None:
                plain, packed = file.content.bytes, file.bytes
                is_level3 = file.name.startswith("l3-") or manifest.day is None
                rest = (str(_gaps(manifest)), _verdict(manifest) or "no data") if is_level3 else ()
                ratio = f"{plain / packed:.1f}" if packed else ""  # somebody emptied it: no frames, no content
                table.add(file.name, f"{file.content.lines:,}", size(plain), size(packed), ratio, *rest)
    return table
