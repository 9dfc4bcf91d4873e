"""`kraken-l3 info`: what an archive holds and what it lacks."""

# No postponed annotations here: on Python 3.9 typer cannot see the options in them.

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Optional

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.summary import FileSummary, Gap, Summary, summarise
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["info"]

#: So many rows of a kind fit a person; `--json` has them all.
ROWS = 30


def info(
    path: Annotated[Path, typer.Argument(help="Directory of an archive, or one NDJSON file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show per file and symbol what was recorded: lines, bytes, time range, snapshots, connections, and every gap."""
    summary = _with_progress(open_archive(path))
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
    else:
        _print(summary)


def _with_progress(archive: Archive) -> Summary:
    console = Console(stderr=True)
    total = sum(content_size(path) for path in _all_files(archive))
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        return summarise(archive, progress=lambda count: bar.advance(task, count))


def _all_files(archive: Archive) -> list[Path]:
    if not archive.is_directory:
        return [archive.path]
    return [path for stream in ("level3", "trade", "instrument") for path in archive.files(stream)]


def _print(summary: Summary) -> None:
    console = Console(highlight=False)
    for file in summary.files:
        console.print(_headline(file), style="bold", soft_wrap=True)
        if file.symbols:
            console.print(_file_table(file, summary.gaps))
        console.print()
    if summary.connections:
        console.print(_connection_table(summary))
        console.print()
    if summary.gaps:
        console.print(_gap_table(summary))
        console.print()
    for line in _notes(summary):
        console.print(line, soft_wrap=True)


def _file_table(file: FileSummary, gaps: list[Gap]) -> Table:
    table = Table(pad_edge=False, box=None, padding=(0, 2, 0, 0))
    table.add_column("symbol")
    for name in ("lines", "bytes", "snapshots"):
        table.add_column(name, justify="right")
    for name in ("first received", "last received"):
        table.add_column(name)
    for name in ("gaps", "missing"):
        table.add_column(name, justify="right")
    missing = _gaps_by_symbol(file, gaps)
    busiest = sorted(file.symbols, key=lambda symbol: -symbol.lines)
    for symbol in sorted(busiest[:ROWS], key=lambda symbol: symbol.symbol):
        own = missing.get(symbol.symbol, [])
        table.add_row(
            symbol.symbol,
            f"{symbol.lines:,}",
            _size(symbol.bytes),
            f"{symbol.snapshots:,}",
            _time(symbol.first_received_ns),
            _time(symbol.last_received_ns),
            str(len(own)) if own else "-",
            _total(own),
        )
    if len(busiest) > ROWS:
        rest = busiest[ROWS:]
        table.add_row(f"{len(rest)} more", f"{sum(s.lines for s in rest):,}", _size(sum(s.bytes for s in rest)))
    if file.other_lines:
        table.add_row("(no symbol)", f"{file.other_lines:,}")
    return table


def _gaps_by_symbol(file: FileSummary, gaps: list[Gap]) -> dict[str, list[Gap]]:
    """The gaps that lie in the file's day (all of them, for a file whose day is not known)."""
    own = defaultdict(list)
    for gap in gaps:
        begun_later = file.day is not None and _day(gap.left_ns) > file.day
        ended_before = file.day is not None and gap.right_ns is not None and _day(gap.right_ns) < file.day
        if gap.channel == file.stream and not (begun_later or ended_before):
            own[gap.symbol].append(gap)
    return own


def _connection_table(summary: Summary) -> Table:
    connections = summary.connections
    table = Table(title="Connections", title_justify="left", title_style="bold", pad_edge=False, box=None)
    for name in ("no.", "channel", "symbols", "opened", "ended", "because"):
        table.add_column(name, justify="right" if name in ("no.", "symbols") else "left")
    for c in connections[-ROWS:]:
        table.add_row(
            str(c.connection),
            c.channel,
            str(c.symbols),
            _date_time(c.opened_ns),
            _date_time(c.ended_ns),
            c.cause or "-",
        )
    if len(connections) > ROWS:
        table.caption = f"the last {ROWS} of {len(connections)}; --json has all"
        table.caption_justify = "left"
    return table


def _gap_table(summary: Summary) -> Table:
    gaps = summary.gaps
    table = Table(title="Gaps", title_justify="left", title_style="bold", pad_edge=False, box=None)
    for name in ("channel", "symbol", "cause", "from (last known good)", "to (snapshot)", "length"):
        table.add_column(name, justify="right" if name == "length" else "left")
    for gap in gaps[-ROWS:]:
        right = _date_time(gap.right_ns) if gap.right_ns is not None else "still open"
        length = "-" if gap.seconds is None else _seconds(gap.seconds)
        table.add_row(gap.channel, gap.symbol, gap.cause, _date_time(gap.left_ns), right, length)
    if len(gaps) > ROWS:
        table.caption = f"the last {ROWS} of {len(gaps)}; --json has all"
        table.caption_justify = "left"
    return table


def _notes(summary: Summary) -> list[str]:
    """Everything else, a line each."""
    notes = [
        f"Rejected: {r.channel} {r.symbol}: {r.error} ({r.times} x, last {_date_time(r.at_ns)})"
        for r in summary.rejected
    ]
    notes += [
        f"Trades missing: {t.symbol}: ids after {t.last_id} and before {t.next_id} ({_date_time(t.at_ns)})"
        for t in summary.trade_gaps[:ROWS]
    ]
    for r in summary.recoveries:
        torn = sum(length for _, length, _ in r.torn)
        what = f"{torn:,} bytes set aside in {r.torn_file}" if torn else "no line lost"
        notes.append(
            f"Repaired: {r.file} at {_date_time(r.at_ns)}: {what}, "
            f"{r.receipts_cut} receipts cut, {r.receipts_padded} without a receive time"
        )
    for file in summary.files:
        if file.unknown_receive_times:
            notes.append(f"{file.name}: {file.unknown_receive_times:,} lines whose receive time is not known")
        if file.malformed:
            notes.append(f"{file.name}: {file.malformed:,} lines that Kraken sent malformed")
    if summary.starts > summary.stops:
        notes.append(f"Recorder starts: {summary.starts}, orderly stops: {summary.stops}.")
    return notes + [f"Not known: {what}." for what in summary.missing]


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def _seconds(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"


def _total(gaps: list[Gap]) -> str:
    if not gaps:
        return "-"
    known = sum(gap.seconds for gap in gaps if gap.seconds is not None)
    parts = [_seconds(known)] if known else []
    return " + ".join(parts + ["open"] * any(gap.seconds is None for gap in gaps))


def _day(ns: int) -> str:
    return format_rfc3339(ns)[:10]


def _time(ns: Optional[int]) -> str:
    return "-" if ns is None else format_rfc3339(ns)[11:23]


def _date_time(ns: Optional[int]) -> str:
    return "-" if ns is None else format_rfc3339(ns)[:23].replace("T", " ")


def _headline(file: FileSummary) -> str:
    lines = "1 line" if file.lines == 1 else f"{file.lines:,} lines"
    text = f"{file.name}: {lines}, {_size(file.bytes)}"
    if file.first_received_ns is None or file.last_received_ns is None:
        return text
    return f"{text}, received {_time(file.first_received_ns)} to {_time(file.last_received_ns)} UTC"
