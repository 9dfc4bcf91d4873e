"""`kraken-l3 recover`: the repair that a recorder runs at every start, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kraken_l3.archive.journal import Disconnected, GapOpened, Record, Recovered
from kraken_l3.archive.recovery import recover_directory
from kraken_l3.cli.console import Screen
from kraken_l3.cli.json_output import print_result
from kraken_l3.clock import SystemClock
from kraken_l3.errors import DamageFound, UsageError
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["recover"]


def recover(path: Path, as_json: bool) -> int:
    """Run `kraken-l3 recover`; gives its exit code back."""
    if not path.is_dir():
        raise UsageError("not a directory", where=str(path), hint="Use the recorder's output_dir")
    records = recover_directory(path, clock=SystemClock())
    repairs = [record for record in records if isinstance(record, Recovered)]
    set_aside = sum(length for repair in repairs for _, length, _ in repair.torn)
    code = DamageFound.exit_code if set_aside else 0
    if as_json:
        return print_result(_as_dict(path, records, repairs, set_aside), code)
    _print(records, repairs)
    return code


def _as_dict(path: Path, records: list[Record], repairs: list[Recovered], set_aside: int) -> dict[str, Any]:
    return {
        "path": str(path),
        "set_aside_bytes": set_aside,
        "repairs": [
            {
                "file": repair.file,
                "torn": [{"offset": at, "bytes": length, "reason": why} for at, length, why in repair.torn],
                "torn_file": repair.torn_file,
                "receipts_cut": repair.receipts_cut,
                "receipts_padded": repair.receipts_padded,
            }
            for repair in repairs
        ],
        "connections_closed": [r.connection for r in records if isinstance(r, Disconnected)],
        "gaps_opened": [
            {"channel": r.channel, "symbol": r.symbol, "left_ns": r.left_ns}
            for r in records
            if isinstance(r, GapOpened)
        ],
    }


def _print(records: list[Record], repairs: list[Recovered]) -> None:
    screen = Screen()
    if not records:
        screen.line("Nothing to do: the last recorder stopped cleanly, or this archive was repaired before.")
    for repair in repairs:
        for offset, length, reason in repair.torn:
            screen.line(f"{repair.file}: {length:,} bytes at offset {offset:,} ({reason}) moved to {repair.torn_file}")
        if repair.receipts_cut or repair.receipts_padded:
            screen.line(
                f"{repair.file}: {repair.receipts_cut:,} receipts without a line removed, "
                f"{repair.receipts_padded:,} receipts without a receive time added"
            )
    for record in records:
        if isinstance(record, Disconnected):
            screen.line(f"connection {record.connection} was open; closed as of {format_rfc3339(record.last_frame_ns)}")
    gaps = [record.symbol for record in records if isinstance(record, GapOpened)]
    if gaps:
        some = ", ".join(gaps[:8]) + (f" and {len(gaps) - 8} more" if len(gaps) > 8 else "")
        screen.line(f"gap opened (cause crash) for {some}")
