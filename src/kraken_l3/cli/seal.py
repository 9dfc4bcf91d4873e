"""`kraken-l3 seal`: compress the days that are finished, prove the copies, write their manifests."""

# No postponed annotations here: on Python 3.9 typer cannot see the options in them.

import datetime as dt
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Callable, Optional

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kraken_l3.archive.days import closed_days
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.layout import SEAL_LOCK_NAME, parse_name
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.archive.manifest import Manifest
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import Sealing, close_newest_day, day_sealing, file_sealing, unsealed_days
from kraken_l3.archive.sealing import seal as seal_files
from kraken_l3.clock import SystemClock
from kraken_l3.errors import ArchiveLocked, DamageFound, UsageError
from kraken_l3.model.timestamps import day_of
from kraken_l3.rebuild.sealing import describe

__all__ = ["seal"]

LOW_PRIORITY = 19


def seal(
    path: Annotated[Path, typer.Argument(help="An archive directory (every closed day), or one file.")],
    day: Annotated[Optional[str], typer.Option("--day", help="Only this day of the directory: YYYY-MM-DD.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    low_priority: Annotated[
        bool, typer.Option("--low-priority", help="Give way to everything else on this machine.")
    ] = False,
) -> int:
    """Compress finished days to .zst with a seek table; the plain files go when their copies are proved byte for byte.

    Every command reads sealed days as it reads plain ones, and so do `zstdcat` and `zstd -d`. The day that a recorder
    writes is left alone. Exit code 2: a sealed copy that was there already differs from its plain file.
    """
    if low_priority and sys.platform != "win32":
        os.nice(LOW_PRIORITY)
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    directory = path if path.is_dir() else path.parent
    if path.is_dir() and not open_archive(path).days:
        raise UsageError("no recording here", where=str(path), hint="Files are called l3-YYYY-MM-DD.ndjson")
    lock = DirectoryLock(directory, SEAL_LOCK_NAME, holder="another `kraken-l3 seal` is at work here")
    try:
        sealings, remarks = _sealings(path, day)
        done, damaged = _seal_all(sealings)
    finally:
        lock.release()
    if as_json:
        typer.echo(msgspec.json.encode(_facts(path, done, damaged, remarks)).decode())
    else:
        _print(done, damaged, remarks)
    return DamageFound.exit_code if damaged else 0


# -- what is to be sealed ----------------------------------------------------------------------------------------------


def _sealings(path: Path, day: Optional[str]) -> tuple[list[Sealing], list[str]]:
    """What to seal, and sentences about what is left out."""
    name = parse_name(path.name)
    if path.is_dir():
        return _of_directory(path, _parse_day(day))
    if day is not None:
        raise UsageError("--day needs a directory", where=str(path))
    return _of_directory(path.parent, name.day) if name is not None else ([file_sealing(path)], [])


def _of_directory(directory: Path, only: Optional[dt.date]) -> tuple[list[Sealing], list[str]]:
    filesystem, clock, remarks = OsFileSystem(), SystemClock(), []
    try:
        close_newest_day(filesystem, directory, clock)
    except ArchiveLocked:
        remarks.append("A recorder is at work here: the day that it writes is left alone")
    today = day_of(clock.wall_ns())
    days = unsealed_days(filesystem, directory, today)
    if only is not None:
        if only not in closed_days(filesystem, directory, today):
            raise UsageError(f"{only} is not finished, or not there", where=str(directory), hint=_WHEN_FINISHED)
        days = [day for day in days if day == only]
    return [day_sealing(filesystem, directory, day) for day in days], remarks


_WHEN_FINISHED = "A day can be sealed once the recorder has gone on to the next, or has ended and the day is over"


def _parse_day(text: Optional[str]) -> Optional[dt.date]:
    try:
        return dt.date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise UsageError(f"{text!r} is not a day", where="--day", hint="Write it as 2026-11-22") from None


# -- the work ----------------------------------------------------------------------------------------------------------


def _seal_all(sealings: list[Sealing]) -> tuple[list[Manifest], list[str]]:
    """The manifests that were made, and what could not be sealed because two copies differ."""
    damaged: list[str] = []
    with _progress(sealings) as progress:
        manifests = [_seal_one(sealing, progress, damaged) for sealing in sealings]
    return [manifest for manifest in manifests if manifest is not None], damaged


def _seal_one(sealing: Sealing, progress: Callable[[int], Any], damaged: list[str]) -> Optional[Manifest]:
    try:
        return seal_files(sealing, filesystem=OsFileSystem(), clock=SystemClock(), describe=describe, progress=progress)
    except DamageFound as error:  # concerns this day; the others are sealed all the same
        damaged.append(str(error))
        return None


@contextmanager
def _progress(sealings: list[Sealing]) -> Iterator[Callable[[int], Any]]:
    plain = [sealing.directory / name for sealing in sealings for name in sealing.data]
    console = Console(stderr=True)
    columns = (TextColumn("sealing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        # each byte is compressed, and then compared
        task = bar.add_task("", total=2 * sum(file.stat().st_size for file in plain if file.exists()))
        yield lambda count: bar.advance(task, count)


# -- the report --------------------------------------------------------------------------------------------------------


def _facts(path: Path, done: list[Manifest], damaged: list[str], remarks: list[str]) -> dict[str, Any]:
    return {
        "path": str(path),
        "sealed": [
            {
                "day": manifest.day,
                "files": [file for file in manifest.files if file.content is not None],
                "gaps": len(manifest.contains.gaps),
                "verdict": _verdict(manifest),
            }
            for manifest in done
        ],
        "damaged": damaged,
        "remarks": remarks,
    }


def _verdict(manifest: Manifest) -> Optional[str]:
    return manifest.contains.verdicts["verdict"] if manifest.contains.verdicts else None


def _print(done: list[Manifest], damaged: list[str], remarks: list[str]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    if done:
        console.print(_table(done))
    elif not damaged:
        console.print("Nothing to seal.")
    for text in remarks:
        console.print(text, markup=False)
    for text in damaged:
        console.print(text, style="red", markup=False, soft_wrap=True)


def _table(done: list[Manifest]) -> Table:
    table = Table(header_style="bold")
    table.add_column("sealed")
    for heading in ("lines", "NDJSON", "sealed", "ratio", "gaps"):
        table.add_column(heading, justify="right")
    table.add_column("level3 is")
    for manifest in done:
        for file in manifest.files:
            if file.content is not None:
                size, packed = file.content.bytes, file.bytes
                amounts = (f"{file.content.lines:,}", f"{size / 1e6:,.1f} MB", f"{packed / 1e6:,.1f} MB")
                is_level3 = file.name.startswith("l3-") or manifest.day is None
                rest = (str(len(manifest.contains.gaps)), _verdict(manifest) or "not there") if is_level3 else ("", "")
                table.add_row(file.name, *amounts, f"{size / packed:.1f}", *rest)
    return table
