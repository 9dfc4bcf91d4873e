"""`kraken-l3 info`: what an archive holds and what is missing."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path
from typing import Optional

from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.archive.summary import FileSummary, Gap, Summary, summarise
from kraken_l3.cli.console import Screen, Table, number, progress, size
from kraken_l3.cli.json_output import print_result
from kraken_l3.errors import KrakenL3Error
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["info"]

#: Rows of each table; `--json` has all.
ROWS = 30
#: So much data is counted in a blink; more only where `--count` asks for it.
_COUNTED_BYTES = 64 * 1024 * 1024


def info(path: Path, count: bool, as_json: bool) -> None:
    """Run `kraken-l3 info`."""
    archive = open_archive(path)
    total = sum(map(_size_of, _all_files(archive)))
    with progress("reading", total) as on_bytes:
        summary = summarise(archive, counting=count or total <= _COUNTED_BYTES, progress=on_bytes)
    if as_json:
        print_result(summary)
    else:
        _print(summary)


def _size_of(path: Path) -> int:
    with contextlib.suppress(KrakenL3Error):  # said when it is read
        return content_size(path)
    return 0


def _all_files(archive: Archive) -> list[Path]:
    if not archive.is_directory:
        return [archive.path]
    return [path for stream in ("level3", "trade", "instrument") for path in archive.files(stream)]


def _print(summary: Summary) -> None:
    screen = Screen()
    gaps = summary.gaps
    for file in summary.files:
        screen.line(_headline(file), "bold")
        if file.symbols:
            screen.table(_file_table(file, gaps))
        screen.line()
    if summary.connections:
        screen.table(_connection_table(summary))
        screen.line()
    if gaps:
        screen.table(_gap_table(gaps))
        screen.line()
    if summary.later:
        screen.table(_later_table(summary))
        screen.line()
    for line in _notes(summary):
        screen.line(line)


def _file_table(file: FileSummary, gaps: list[Gap]) -> Table:
    table = Table("symbol", ">lines", ">size", ">snapshots", ">first", ">last", ">gaps", ">missing")
    missing = _gaps_by_symbol(file, gaps)
    busiest = sorted(file.symbols, key=lambda symbol: -(symbol.lines or 0))
    for symbol in sorted(busiest[:ROWS], key=lambda symbol: symbol.symbol):
        own = missing.get(symbol.symbol, [])
        table.add(
            symbol.symbol,
            _counted(symbol.lines),
            "" if symbol.bytes is None else size(symbol.bytes),
            _counted(symbol.snapshots),
            _time(symbol.first_received_ns),
            _time(symbol.last_received_ns),
            number(len(own)),
            _total(own),
        )
    if len(busiest) > ROWS:
        rest = busiest[ROWS:]
        lines, volume = sum(s.lines or 0 for s in rest), sum(s.bytes or 0 for s in rest)
        table.add(f"{len(rest)} more", *((f"{lines:,}", size(volume)) if file.is_counted else ()))
    if file.other_lines:
        table.add("(no symbol)", f"{file.other_lines:,}")
    return table


def _counted(count: Optional[int]) -> str:
    return "" if count is None else f"{count:,}"


def _gaps_by_symbol(file: FileSummary, gaps: list[Gap]) -> dict[str, list[Gap]]:
    """The gaps within the file's day (all of them, if the day is not known)."""
    own = defaultdict(list)
    for gap in gaps:
        begun_later = file.day is not None and _day(gap.left_ns) > file.day
        ended_before = file.day is not None and gap.right_ns is not None and _day(gap.right_ns) < file.day
        if gap.channel == file.stream and not (begun_later or ended_before):
            own[gap.symbol].append(gap)
    return own


def _connection_table(summary: Summary) -> Table:
    shown = summary.connections[-ROWS:]
    more = (
        f", the last {ROWS} of {len(summary.connections)} (--json has all)" if len(summary.connections) > ROWS else ""
    )
    day = _only_day([moment for c in shown for moment in (c.opened_ns, c.ended_ns)])
    table = Table(
        ">no.", "channel", ">symbols", "opened", "ended", "cause", title=f"Connections{day and f' of {day}'}{more}"
    )
    for c in shown:
        opened, ended = (_moment(moment, day) for moment in (c.opened_ns, c.ended_ns))
        table.add(str(c.connection), c.channel, str(c.symbols), opened, ended or "open", c.cause or "")
    return table


def _later_table(summary: Summary) -> Table:
    """Milliseconds; what the clocks differ by is in them."""
    title = "How much later one source received than another, in ms (the clocks' difference included)"
    table = Table("source", "than", ">messages", ">1 %", ">10 %", ">median", ">90 %", ">99 %", title=title)
    for later in summary.later:
        times = (later.p1_ns, later.p10_ns, later.p50_ns, later.p90_ns, later.p99_ns)
        names = (f"{later.source} {later.source_name}", f"{later.than} {later.than_name}")
        table.add(*names, f"{later.messages:,}", *(f"{ns / 1e6:,.3f}" for ns in times))
    return table


def _gap_table(gaps: list[Gap]) -> Table:
    shown = gaps[-ROWS:]
    more = f", the last {ROWS} of {len(gaps)} (--json has all)" if len(gaps) > ROWS else ""
    day = _only_day([moment for gap in shown for moment in (gap.left_ns, gap.right_ns)])
    table = Table(
        "channel", "symbol", "cause", "last good", "snapshot", ">length", title=f"Gaps{day and f' of {day}'}{more}"
    )
    for gap in shown:
        left, right = (_moment(moment, day) for moment in (gap.left_ns, gap.right_ns))
        length = "" if gap.seconds is None else _seconds(gap.seconds)
        table.add(gap.channel, gap.symbol, gap.cause, left, right or "open", length)
    return table


def _only_day(moments: list[Optional[int]]) -> str:
    """The day on which all of them lie, or "": then it need not be said in every cell."""
    days = {_day(ns) for ns in moments if ns is not None}
    return days.pop() if len(days) == 1 else ""


def _moment(ns: Optional[int], day: str) -> str:
    if ns is None:
        return ""
    return _time(ns) if day else _date_time(ns)


def _notes(summary: Summary) -> list[str]:
    """Everything else, one line each."""
    notes = []
    if summary.ends:
        last = max(summary.ends, key=lambda gap: gap.left_ns)
        notes.append(f"The recording ends at {_date_time(last.left_ns)} ({last.cause}).")
    notes += [
        f"Rejected by Kraken: {r.channel} {r.symbol}: {r.error} ({r.times} x, last {_date_time(r.at_ns)})"
        for r in summary.rejected
    ]
    notes += [
        f"Trades missing: {t.symbol}: ids between {t.last_id} and {t.next_id} ({_date_time(t.at_ns)})"
        for t in summary.trade_gaps[:ROWS]
    ]
    for r in summary.recoveries:
        torn = sum(length for _, length, _ in r.torn)
        what = f"{torn:,} bytes moved to {r.torn_file}" if torn else "no line set aside"
        notes.append(
            f"Repaired: {r.file} at {_date_time(r.at_ns)}: {what}, "
            f"{r.receipts_cut} receipts removed, {r.receipts_padded} added without a receive time"
        )
    for file in summary.files:
        if file.unknown_receive_times:
            notes.append(f"{file.name}: {file.unknown_receive_times:,} lines without a known receive time")
        if file.malformed:
            notes.append(f"{file.name}: {file.malformed:,} lines were malformed as received")
    if not all(file.is_counted for file in summary.files):
        notes.append("Lines, bytes and snapshots of each symbol were not counted: --count reads the data for them.")
    if summary.starts > summary.stops:
        notes.append(f"The recorder started {summary.starts} times and stopped cleanly {summary.stops} times.")
    notes += [f"Not looked at: {each}" for each in summary.unread]
    return notes + [f"Unknown: {what}." for what in summary.missing]


def _seconds(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"


def _total(gaps: list[Gap]) -> str:
    known = sum(gap.seconds for gap in gaps if gap.seconds is not None)
    parts = [_seconds(known)] if known else []
    return " + ".join(parts + ["open"] * any(gap.seconds is None for gap in gaps))


def _day(ns: int) -> str:
    return format_rfc3339(ns)[:10]


def _time(ns: Optional[int]) -> str:
    return "" if ns is None else format_rfc3339(ns)[11:23]


def _date_time(ns: int) -> str:
    return format_rfc3339(ns)[:23].replace("T", " ")


def _headline(file: FileSummary) -> str:
    lines = "1 line" if file.lines == 1 else f"{file.lines:,} lines"
    text = f"{file.name}: {lines}, {size(file.bytes)}"
    if file.first_received_ns is None or file.last_received_ns is None:
        return text
    return f"{text}, received {_time(file.first_received_ns)} to {_time(file.last_received_ns)} UTC"
