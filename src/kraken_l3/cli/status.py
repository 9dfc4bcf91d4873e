"""`kraken-l3 status`: how a recording stands, on one screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.app.archive_status import ArchiveStatus, DayStatus, archive_status
from kraken_l3.cli.console import Screen
from kraken_l3.cli.json_output import print_result
from kraken_l3.errors import DataMissing
from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339
from kraken_l3.monitor.status import RelayStatus
from kraken_l3.monitor.units import age, size

__all__ = ["status"]

#: So many problems and gaps are listed, the rest is counted.
ROWS = 10


def status(directory: Optional[Path], config: Optional[Path], as_json: bool) -> int:
    """Run `kraken-l3 status`; gives its exit code back."""
    now_ns = time.time_ns()
    found = archive_status(directory if directory is not None else _configured(config), now_ns)
    is_sound = not found.problems and found.state not in ("stuck", "dead")
    code = 0 if is_sound else DataMissing.exit_code
    if as_json:
        print_result(_as_dict(found), code)
    else:
        _print(found, now_ns)
    return code


def _configured(config: Optional[Path]) -> Path:
    from kraken_l3.cli.options import read_settings  # takes longer than all the rest

    return read_settings(config).output_dir


def _as_dict(found: ArchiveStatus) -> dict[str, object]:
    told = msgspec.to_builtins(found)
    return {"healthy": found.state == "running" and not found.problems, **told}


def _print(found: ArchiveStatus, now_ns: int) -> None:
    screen = Screen()
    screen.line(*_headline(found, now_ns))
    screen.line()
    facts = [*_of_recorder(found), *_of_day(found.today, now_ns), *_of_days(found)]
    width = max((len(name) for name, _ in facts), default=0)
    for name, text in facts:
        screen.line(f"{name:{width}}  {text}")
    rows = [f"{problem.symbol or 'recorder'}: {problem.why}" for problem in found.problems] or _ends(found)
    if rows:
        screen.line()
    for row in rows[:ROWS]:
        screen.line(row, "yellow")
    if len(rows) > ROWS:
        screen.line(f"... and {len(rows) - ROWS:,} more; --json has all", "yellow")


def _ends(found: ArchiveStatus) -> list[str]:
    """Where the data of a recorder that does not run ends."""
    if found.today is None or found.state == "running":
        return []
    return [
        f"{gap.symbol}: {gap.channel} ends at {_moment(gap.since_ns)} ({gap.cause})" for gap in found.today.open_gaps
    ]


def _headline(found: ArchiveStatus, now_ns: int) -> tuple[str, str]:
    told = found.told
    if told is None:
        return f"{found.path}: no recorder has told its status here", "bold"
    last = age(max(0.0, found.told_age_s or 0.0))
    if found.state == "running":
        problems = f"{len(found.problems):,} problem{'' if len(found.problems) == 1 else 's'}"
        running = age((now_ns - told.since_ns) / NS_PER_S)
        text = f"Recording into {found.path} for {running} (pid {found.pid} on {told.host}): "
        return text + (problems if found.problems else "healthy"), f"bold {'yellow' if found.problems else 'green'}"
    if found.state == "stopped":
        return f"{found.path}: the recorder was stopped {last} ago", "bold"
    if found.state == "stuck":
        return f"{found.path}: the recorder (pid {found.pid}) has told nothing for {last}", "bold red"
    return f"{found.path}: the recorder has ended without a word, {last} ago", "bold red"


_Facts = Iterator[tuple[str, str]]


def _of_recorder(found: ArchiveStatus) -> _Facts:
    told = found.told
    if told is None or found.state != "running":
        return
    yield "symbols", f"{told.recording:,} of {len(told.rows):,} recording, {told.rate:,.1f} messages/s"
    if told.lag.count:
        yield "lag", f"half within {_upto(told.lag.quantile(0.5))}, 99 % within {_upto(told.lag.quantile(0.99))}"
    if told.verifier is not None:
        verifier = told.verifier
        behind = "" if verifier.lag_s is None else f", {verifier.lag_s:,.1f} s behind"
        yield "verified", _share(verifier.ok, verifier.ok + verifier.mismatched) + behind
    if told.relay is not None:
        yield "relay", _relay(told.relay)
    clock = told.clock
    if clock.synchronised is not None:
        error = "" if clock.error_s is None else f", within {clock.error_s * 1000:,.0f} ms"
        yield "clock", f"kept right{error}" if clock.synchronised else "nobody keeps it right"


def _relay(relay: RelayStatus) -> str:
    restarts = f", restarts: {relay.restarts:,}" if relay.restarts else ""
    if not relay.url:
        return "does not serve" + restarts
    behind = "" if relay.lag_s is None else f", {relay.lag_s:,.1f} s behind"
    return f"{relay.url}, {relay.clients:,} connection{'' if relay.clients == 1 else 's'}{behind}{restarts}"


def _of_day(day: Optional[DayStatus], now_ns: int) -> _Facts:
    if day is None:
        return
    if day.last_received_ns is not None:
        ago = age(max(0, now_ns - day.last_received_ns) / NS_PER_S)
        yield "last message", f"{_moment(day.last_received_ns)} ({ago} ago)"
    lines = "" if day.lines is None else f"{day.lines:,} messages, "
    # where the recording has ended each symbol's is open, and counts as none
    still = f", {len(day.open_gaps):,} open" if day.open_gaps and day.gaps else ""
    yield day.day, f"{lines}{size(day.bytes)}, {day.gaps:,} gap{'' if day.gaps == 1 else 's'}{still}"


def _of_days(found: ArchiveStatus) -> _Facts:
    days = found.sealed
    if days.days:
        yield "days", f"{days.days:,}, {days.first} to {days.last}, {size(days.bytes)}; {days.sealed:,} sealed"
    if days.last_sealed is not None:
        yield "last sealed", f"{days.last_sealed}: {days.verdict or 'no verdict'}, {_share(days.ok, days.messages)}"
    if found.disk_free_bytes is not None:
        free = f"{size(found.disk_free_bytes)} free"
        if found.days_left is not None and days.bytes_per_day is not None:
            free += f": {found.days_left:,.0f} days at {size(days.bytes_per_day)} a day"
        yield "disk", free


def _share(ok: int, messages: int) -> str:
    if not messages:
        return "nothing compared with a checksum"
    return f"{ok / messages:.2%} of {messages:,} messages agree" + (
        f", {messages - ok:,} DO NOT" if ok < messages else ""
    )


def _upto(seconds: float) -> str:
    return "more than a minute" if seconds == float("inf") else f"{seconds * 1000:,.4g} ms"


def _moment(ns: int) -> str:
    return format_rfc3339(ns)[:19].replace("T", " ")
