"""`kraken-l3 check`: is every sealed file, byte for byte, what it was when it was sealed?"""

# No postponed annotations here: on Python 3.9 typer cannot see the options in them.

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Callable

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from kraken_l3.archive.checking import Checked, Fault, check_manifest
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.layout import stem
from kraken_l3.archive.manifest import MANIFEST_SUFFIX
from kraken_l3.archive.sealing import unsealed_days
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DamageFound, DataMissing, UsageError
from kraken_l3.model.timestamps import day_of

__all__ = ["check"]


def check(
    path: Annotated[Path, typer.Argument(help="An archive directory, or one sealed file or its manifest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compare sealed files with the sizes and SHA-256 sums of their manifests; one changed byte is found.

    Exit code 0: all as it was sealed; 2: something is not; 3: a file is missing, or a finished day has no manifest.
    """
    manifests, unsealed = _manifests(path)
    with _progress(manifests) as progress:
        checked = [check_manifest(manifest, progress=progress) for manifest in manifests]
    faults = [fault for each in checked for fault in each.faults]
    if as_json:
        typer.echo(msgspec.json.encode({"path": str(path), "manifests": checked, "not_sealed": unsealed}).decode())
    else:
        _print(checked, unsealed)
    if any(not fault.missing for fault in faults):
        return DamageFound.exit_code
    return DataMissing.exit_code if faults or unsealed or not manifests else 0


def _manifests(path: Path) -> tuple[list[Path], list[str]]:
    """The manifests that speak of a path, and what has none although it could."""
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    if path.is_dir():
        days = unsealed_days(OsFileSystem(), path, day_of(SystemClock().wall_ns()))
        return sorted(path.glob(f"*.{MANIFEST_SUFFIX}")), [day.isoformat() for day in days]
    own = path if path.name.endswith(MANIFEST_SUFFIX) else path.with_name(f"{stem(path)}.{MANIFEST_SUFFIX}")
    return ([own], []) if own.exists() else ([], [path.name])


@contextmanager
def _progress(manifests: list[Path]) -> Iterator[Callable[[int], Any]]:
    console = Console(stderr=True)
    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    beside = {file for manifest in manifests for file in manifest.parent.glob(f"*{_day_or_stem(manifest)}.*")}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(file.stat().st_size for file in beside))
        yield lambda count: bar.advance(task, count)


def _day_or_stem(manifest: Path) -> str:
    return stem(manifest).partition("-")[2] or stem(manifest)


def _print(checked: list[Checked], unsealed: list[str]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    for each in checked:
        state = f"{each.files} files, {each.bytes / 1e6:,.1f} MB"
        if not each.faults:
            console.print(f"{each.manifest}: {state}, all as sealed", style="green")
            continue
        console.print(f"{each.manifest}: {state}, not as sealed:", style="bold red")
        for fault in each.faults:
            console.print(f"  {fault.file}: {_text(fault)}", style="red", markup=False, soft_wrap=True)
    for name in unsealed:
        console.print(f"{name}: not sealed, so there is nothing to check it against", style="yellow")
    if not checked and not unsealed:
        console.print("No manifest here: `kraken-l3 seal` writes them", style="yellow")


def _text(fault: Fault) -> str:
    if fault.frame is None:
        return fault.what
    lines = ""
    if fault.first_line is not None and fault.last_line is not None:
        lines = f"lines {fault.first_line:,} to {fault.last_line:,}, "
    return f"frame {fault.frame} ({lines}bytes {fault.begin:,} to {fault.end:,} of what it holds): {fault.what}"
