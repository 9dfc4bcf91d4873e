"""`kraken-l3 verify`: is every message of an archive consistent with Kraken's checksum?"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from kraken_l3.archive.reader import open_archive
from kraken_l3.rebuild.facts import read_instruments
from kraken_l3.rebuild.verify import Findings, Located, SymbolReport
from kraken_l3.rebuild.verify import Progress as OnBytes
from kraken_l3.rebuild.verify_jobs import verify as run_verification

__all__ = ["verify"]

_SHOWN_NOTES = 20
_VERDICTS = {0: "verified", 2: "damaged", 3: "not all verifiable"}


def verify(
    path: Annotated[Path, typer.Argument(help="An archive directory, or any NDJSON file of level3 messages.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes; each takes a share of the pairs.")] = 1,
    instruments: Annotated[
        Optional[Path],
        typer.Option("--instruments", help="Messages of the instrument channel, for the pairs' decimals."),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, native or python.")] = "auto",
) -> int:
    """Rebuild every book and compare every checksum.

    Exit code 0: all verified; 2: something is wrong (mismatch, unreadable line, impossible change); 3: something could
    not be verified. The checksum covers the 10 best levels of each side.
    """
    pairs = read_instruments(instruments) if instruments is not None else []
    start = time.perf_counter()
    with _progress(path, jobs) as progress:
        findings, remarks = run_verification(path, instruments=pairs, engine_name=engine, jobs=jobs, progress=progress)
    seconds = time.perf_counter() - start
    if as_json:
        typer.echo(json.dumps(_report(path, findings, remarks, seconds)))
    else:
        _print_report(findings, remarks, seconds)
    return findings.exit_code()


@contextmanager
def _progress(path: Path, jobs: int) -> Iterator[OnBytes]:
    total = sum(file.stat().st_size for file in open_archive(path).files()) * jobs
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verify", total=total)
        yield lambda count: bar.advance(task, count)


def _report(path: Path, findings: Findings, remarks: list[str], seconds: float) -> dict[str, Any]:
    totals = findings.totals
    return {
        "path": str(path),
        "verdict": _VERDICTS[findings.exit_code()],
        "exit_code": findings.exit_code(),
        "engine": findings.engine,
        "seconds": round(seconds, 3),
        "lines": totals.lines,
        "bytes": sum(file.bytes for file in findings.files),
        "not_data": totals.not_data,
        "malformed": totals.malformed + findings.sum_of("malformed"),
        **{name: findings.sum_of(name) for name in _SUMS},
        "symbols": {symbol: report.as_dict() for symbol, report in sorted(findings.symbols.items())},
        "files": [dataclasses.asdict(file) for file in findings.files],
        "notes": [{"file": at.file, **dataclasses.asdict(at.note)} for at in findings.notes],
        "remarks": remarks,
    }


_SUMS = ("messages", "snapshots", "ok", "mismatched", "incidents", "before_snapshot", "unverifiable", "findings")


def _print_report(findings: Findings, remarks: list[str], seconds: float) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(title=None, header_style="bold")
    table.add_column("symbol")
    for heading in ("depth", "messages", "verified", "mismatched", "incidents", "before snapshot", "other", "findings"):
        table.add_column(heading, justify="right")
    table.add_column("first bad line")
    for symbol, report in sorted(findings.symbols.items()):
        table.add_row(symbol, *_cells(report), style="red" if report.bad else "yellow" if report.unverified else "")
    console.print(table)
    if any(report.tally.depth_inferred for report in findings.symbols.values()):
        console.print("? no journal says it: told from the snapshots")
    for remark in remarks:
        console.print(remark, markup=False)
    _print_notes(console, findings.notes)
    totals = findings.totals
    console.print(
        f"{totals.lines:,} lines, {sum(file.bytes for file in findings.files) / 1e6:,.1f} MB in {seconds:.1f} s"
        f" ({findings.engine} engine); {totals.malformed:,} unreadable, {totals.not_data:,} other than level3",
        markup=False,
    )
    console.print(
        _VERDICTS[findings.exit_code()], style={0: "bold green", 2: "bold red"}.get(findings.exit_code(), "bold")
    )


def _cells(report: SymbolReport) -> list[str]:
    tally = report.tally
    other = sum(tally.unverifiable.values()) + tally.malformed
    bad = f"{report.first_bad_file}: {tally.first_bad.line} ({tally.first_bad.kind})" if tally.first_bad else ""
    depth = f"{tally.depth}{'?' if tally.depth_inferred else ''}" if tally.depth else ""
    counts = [tally.messages, tally.ok, tally.mismatched, tally.incidents, tally.before_snapshot, other]
    return [depth, *(f"{n:,}" if n else "" for n in [*counts, sum(tally.findings.values())]), bad]


def _print_notes(console: Console, notes: list[Located]) -> None:
    shown = [at for at in notes if at.note.kind not in ("inferred", "incident_closed")]
    for at in shown[:_SHOWN_NOTES]:
        note = at.note
        sums = f" expected {note.expected}, computed {note.computed}" if note.expected is not None else ""
        where = f"{at.file} line {note.line} offset {note.offset}"
        console.print(f"{where}: {note.symbol} {note.kind.replace('_', ' ')} {note.detail}{sums}", markup=False)
    if len(shown) > _SHOWN_NOTES:
        console.print(f"... {len(shown) - _SHOWN_NOTES:,} more; --json lists them", markup=False)
