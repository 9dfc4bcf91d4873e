"""`kraken-l3 verify`: compare every message of an archive with Kraken's checksum."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Optional

from kraken_l3.archive.companions import companion_damage
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.cli.console import Screen, Table, number, progress, size
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import check_depth, warn_of_engine
from kraken_l3.errors import UsageError
from kraken_l3.rebuild.metadata import read_instruments
from kraken_l3.rebuild.parallel import default_jobs
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.verify import verify as run_verification

__all__ = ["verify"]

_SHOWN_NOTES = 20


def verify(
    paths: tuple[Path, ...],
    as_json: bool,
    jobs: Optional[int],
    cluster: Optional[str],
    require_complete: bool,
    depth: Optional[int],
    instruments: Optional[Path],
    engine: str,
) -> int:
    """Run `kraken-l3 verify`; gives its exit code back."""
    check_depth(depth)
    warn_of_engine(engine)
    pairs = read_instruments(instruments) if instruments is not None else []
    report = Report(require_complete=require_complete)
    start = time.perf_counter()
    for path in paths:
        files = open_archive(path).files()
        if not files:
            unread = " ".join(f"{each}." for each in unread_files(open_archive(path)))
            hint = unread or "Its files are named l3-YYYY-MM-DD.ndjson"
            raise UsageError("no level3 data here", where=str(path), hint=hint)
        total = sum(content_size(file) for file in files)
        wanted = jobs or default_jobs(total)
        # What lies beside the data is looked at meanwhile; what a recorder has half written there is no damage yet.
        with ThreadPoolExecutor(1) as beside, progress("verifying", total) as on_bytes:
            has_time = wanted > 1 or cluster is not None
            companions = beside.submit(companion_damage, open_archive(path), is_growing=True) if has_time else None
            found = run_verification(
                path,
                instruments=pairs,
                depth=depth,
                engine_name=engine,
                jobs=wanted,
                cluster=cluster,
                progress=on_bytes,
            )
        found.unread_files = [each for each in found.unread_files if path / each.file not in paths]
        report.add(path, found, companions.result() if companions is not None else None)
    seconds = time.perf_counter() - start
    if as_json:
        found_all = {"paths": [str(path) for path in paths], "seconds": seconds, **report.as_dict()}
        return print_result(found_all, report.exit_code())
    _print_report(report, seconds)
    return report.exit_code()


#: Headings of the table, and what each column counts.
_COUNTS = {
    "messages": "messages",
    "verified": "ok",
    "mismatched": "mismatched",
    "incidents": "incidents",
    "before snapshot": "before_snapshot",
    "unverifiable": "unverifiable",
    "unreadable": "malformed",
    "findings": "findings",
    "gaps": "gaps",
}


def _print_report(report: Report, seconds: float) -> None:
    screen = Screen()
    screen.table(_table(report))
    for symbol, counts in report.symbols.items():
        bad = counts["first_bad"]
        if bad:
            screen.line(f"{symbol}: first bad line is {bad['line']:,} of {bad['file']} ({bad['kind']})", "red")
    if any(counts.get("depth_inferred") for counts in report.symbols.values()):
        screen.line("? depth inferred from the snapshots; no journal has it")
    _print_notes(screen, report)
    for rest in report.hidden:
        screen.line(f"Unreadable from here to the end of the file: {rest.where}: {rest.what}. {rest.hint}", "red")
    for damage in report.companions:
        screen.line(f"Damaged beside the data, and read without: {damage}", "yellow")
    for each in report.unread:
        screen.line(f"Not looked at: {each}", "yellow")
    others = f"{report.total()['malformed']:,} unreadable, {report.not_data:,} other than level3"
    screen.line(f"{report.lines:,} lines, {size(report.bytes)} in {seconds:.1f} s ({report.engine} engine); {others}")
    screen.line(report.verdict(), {0: "bold green", 2: "bold red"}.get(report.exit_code(), "bold yellow"))


def _table(report: Report) -> Table:
    table = Table("symbol", ">depth", *(f">{heading}" for heading in _COUNTS))
    for symbol, counts in report.symbols.items():
        depth = f"{counts['depth']}{'?' if counts['depth_inferred'] else ''}" if counts.get("depth") else ""
        unsure = counts["unverifiable"] or counts["before_snapshot"]
        style = "red" if counts["first_bad"] else "yellow" if unsure else ""
        table.add(symbol, depth, *(number(counts[name]) for name in _COUNTS.values()), style=style)
    if len(report.symbols) > 1:
        total = report.total()
        table.add("all", "", *(number(total[name]) for name in _COUNTS.values()), style="bold")
    return table


def _print_notes(screen: Screen, report: Report) -> None:
    shown = [at for at in report.notes if at.note.kind not in ("inferred", "incident_closed")]
    for at in shown[:_SHOWN_NOTES]:
        note = at.note
        sums = f" expected {note.expected}, computed {note.computed}" if note.expected is not None else ""
        where = f"{at.file} line {note.line} offset {note.offset}"
        screen.line(f"{where}: {note.symbol} {note.kind.replace('_', ' ')} {note.detail}{sums}")
    if len(shown) > _SHOWN_NOTES:
        screen.line(f"... {len(shown) - _SHOWN_NOTES:,} more; --json lists them")
