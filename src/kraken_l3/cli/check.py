"""`kraken-l3 check`: compare sealed files with their manifests."""

from __future__ import annotations

from pathlib import Path

from kraken_l3.archive.checking import Checked, Fault, check_manifest
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.layout import stem
from kraken_l3.archive.manifest import MANIFEST_SUFFIX
from kraken_l3.archive.sealing import unsealed_days
from kraken_l3.cli.console import Screen, progress, size
from kraken_l3.cli.json_output import print_result
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DamageFound, DataMissing, UsageError
from kraken_l3.model.timestamps import day_of

__all__ = ["check"]


def check(path: Path, as_json: bool) -> int:
    """Run `kraken-l3 check`; gives its exit code back."""
    manifests, unsealed = _manifests(path)
    files = {file for manifest in manifests for file in manifest.parent.glob(f"*{_day_or_stem(manifest)}.*")}
    with progress("checking", sum(file.lstat().st_size for file in files)) as on_bytes:
        checked = [check_manifest(manifest, progress=on_bytes) for manifest in manifests]
    code = _exit_code(checked, unsealed)
    if as_json:
        return print_result({"path": str(path), "manifests": checked, "not_sealed": unsealed}, code)
    _print(checked, unsealed)
    return code


def _exit_code(checked: list[Checked], unsealed: list[str]) -> int:
    faults = [fault for each in checked for fault in each.faults]
    if any(not fault.missing for fault in faults):
        return DamageFound.exit_code
    return DataMissing.exit_code if faults or unsealed or not checked else 0


def _manifests(path: Path) -> tuple[list[Path], list[str]]:
    """The manifests of a path, and the days that have none."""
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path))
    if path.is_dir():
        days = unsealed_days(OsFileSystem(), path, day_of(SystemClock().wall_ns()))
        return sorted(path.glob(f"*.{MANIFEST_SUFFIX}")), [day.isoformat() for day in days]
    own = path if path.name.endswith(MANIFEST_SUFFIX) else path.with_name(f"{stem(path)}.{MANIFEST_SUFFIX}")
    return ([own], []) if own.exists() else ([], [path.name])


def _day_or_stem(manifest: Path) -> str:
    return stem(manifest).partition("-")[2] or stem(manifest)


def _print(checked: list[Checked], unsealed: list[str]) -> None:
    screen = Screen()
    for each in checked:
        state = f"{each.manifest}: {each.files} files, {size(each.bytes)}"
        if not each.faults:
            screen.line(f"{state}, unchanged", "green")
            continue
        screen.line(f"{state}, changed since sealing:", "bold red")
        for fault in each.faults:
            screen.line(f"  {fault.file}: {_text(fault)}", "red")
    for name in unsealed:
        screen.line(f"{name}: not sealed, so it cannot be checked", "yellow")
    if not checked and not unsealed:
        screen.line("No manifests here. `kraken-l3 seal` writes them.", "yellow")


def _text(fault: Fault) -> str:
    if fault.frame is None:
        return fault.what
    lines = ""
    if fault.first_line is not None and fault.last_line is not None:
        lines = f"lines {fault.first_line:,} to {fault.last_line:,}, "
    return f"frame {fault.frame} ({lines}bytes {fault.begin:,} to {fault.end:,} uncompressed): {fault.what}"
