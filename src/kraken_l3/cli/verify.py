"""`kraken-l3 verify`: is every message of an archive consistent with Kraken's checksum?"""

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

from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.symbol import DEPTHS
from kraken_l3.errors import UsageError
from kraken_l3.rebuild.metadata import read_instruments
from kraken_l3.rebuild.parallel import Progress as OnBytes
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.verify import verify as run_verification

__all__ = ["verify"]

_SHOWN_NOTES = 20


def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Archive directories, days, or any NDJSON files of level3 messages."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Jobs; each takes a share of the pairs.")] = 1,
    require_complete: Annotated[
        bool, typer.Option("--require-complete", help="A gap is not all right either: exit 3.")
    ] = False,
    depth: Annotated[
        Optional[int], typer.Option("--depth", help="Subscribed depth: 10, 100 or 1000 (default: as the journal says).")
    ] = None,
    instruments: Annotated[
        Optional[Path],
        typer.Option("--instruments", help="Messages of the instrument channel, for the pairs' decimals."),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, native or python.")] = "auto",
) -> int:
    """Rebuild every book and compare every checksum.

    Exit code 0: all verified; 2: something is wrong (mismatch, unreadable line, impossible change); 3: something could
    not be verified, or, with --require-complete, is missing. The checksum covers the 10 best levels of each side.
    """
    if depth is not None and depth not in DEPTHS:
        raise UsageError(f"there is no depth {depth}", where="--depth", hint="Kraken serves 10, 100 and 1000")
    pairs = read_instruments(instruments) if instruments is not None else []
    report = Report(require_complete=require_complete)
    start = time.perf_counter()
    for path in paths:
        with _progress(path) as progress:
            findings, remarks = run_verification(
                path, instruments=pairs, depth=depth, engine_name=engine, jobs=jobs, progress=progress
            )
        report.add(path, findings, remarks)
    seconds = time.perf_counter() - start
    if as_json:
        typer.echo(json.dumps({"paths": [str(path) for path in paths], "seconds": seconds, **report.as_dict()}))
    else:
        _print_report(report, seconds)
    return report.exit_code()


@contextmanager
def _progress(path: Path) -> Iterator[OnBytes]:
    total = sum(content_size(file) for file in open_archive(path).files())
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verify", total=total)
        yield lambda count: bar.advance(task, count)


_COLUMNS = {
    "messages": "messages",
    "verified": "ok",
    "mismatched": "mismatched",
    "incidents": "incidents",
    "before snapshot": "before_snapshot",
    "unverifiable": "unverifiable",
    "gaps": "gaps",
    "findings": "findings",
}


def _print_report(report: Report, seconds: float) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(_table(report))
    if any(counts.get("depth_inferred") for counts in report.symbols.values()):
        console.print("? no journal says it: told from the snapshots")
    for remark in report.remarks:
        console.print(remark, markup=False)
    _print_notes(console, report)
    unread = f"{report.total()['malformed']:,} unreadable, {report.not_data:,} other than level3"
    console.print(
        f"{report.lines:,} lines, {report.bytes / 1e6:,.1f} MB in {seconds:.1f} s ({report.engine} engine); {unread}",
        markup=False,
    )
    style = {0: "bold green", 2: "bold red"}.get(report.exit_code(), "bold yellow")
    console.print(report.verdict(), style=style)


def _table(report: Report) -> Table:
    table = Table(header_style="bold", show_footer=len(report.symbols) > 1)
    total = report.total()
    table.add_column("symbol", footer="all")
    table.add_column("depth", justify="right")
    for heading, name in _COLUMNS.items():
        table.add_column(heading, justify="right", footer=_number(total[name]))
    table.add_column("first bad line")
    for symbol, counts in report.symbols.items():
        unsure = counts["unverifiable"] or counts["before_snapshot"]
        style = "red" if counts["first_bad"] else "yellow" if unsure else ""
        table.add_row(symbol, *_cells(counts), style=style)
    return table


def _cells(counts: dict[str, Any]) -> list[str]:
    depth = f"{counts['depth']}{'?' if counts['depth_inferred'] else ''}" if counts.get("depth") else ""
    bad = counts["first_bad"]
    where = f"{bad['file']}: {bad['line']} ({bad['kind']})" if bad else ""
    return [depth, *(_number(counts[name]) for name in _COLUMNS.values()), where]


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _print_notes(console: Console, report: Report) -> None:
    shown = [at for at in report.notes if at.note.kind not in ("inferred", "incident_closed")]
    for at in shown[:_SHOWN_NOTES]:
        note = at.note
        sums = f" expected {note.expected}, computed {note.computed}" if note.expected is not None else ""
        where = f"{at.file} line {note.line} offset {note.offset}"
        console.print(f"{where}: {note.symbol} {note.kind.replace('_', ' ')} {note.detail}{sums}", markup=False)
    if len(shown) > _SHOWN_NOTES:
        console.print(f"... {len(shown) - _SHOWN_NOTES:,} more; --json lists them", markup=False)
