"""The one live table of `kraken-l3 record` on a terminal.

It is drawn by a thread of its own: a terminal that takes nothing (Ctrl+S, a dead ssh connection) holds up nobody else.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from types import TracebackType
from typing import IO, Optional

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.status import RecorderStatus, SymbolStatus
from kraken_l3.monitor.units import age, size
from kraken_l3.telemetry import get_logger

__all__ = ["LiveTable", "render"]

#: Lines that are not symbols: headline, column names, "more" row, the totals, and one for the cursor.
FRAME_LINES = 6
STATE_STYLES = {"recording": "green", "rejected": "red", "waiting": "yellow"}
SLOW_S = 2.0
WAITING_STATUSES = 3
LEAVE_S = 1.0

log = get_logger("kraken_l3.monitor.live")


class LiveTable:
    """Shows views while it is entered; log lines appear above it.

    Args:
        console: where to; stderr by default, since stdout is for data.
    """

    def __init__(self, console: Optional[Console] = None) -> None:
        self._console = console if console is not None else Console(file=_own_stderr(), stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False, redirect_stdout=False)
        self._waiting: queue.Queue[Optional[RecorderStatus]] = queue.Queue(WAITING_STATUSES)
        self._thread = threading.Thread(target=self._draw, name="live-table", daemon=True)

    @property
    def can_show(self) -> bool:
        """Whether there is a terminal that can redraw."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> LiveTable:
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(LEAVE_S)

    def show(self, status: RecorderStatus) -> None:
        """Draw this status; it is skipped if the terminal cannot keep up."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(status)

    def _draw(self) -> None:
        try:
            with self._live:
                while (status := self._waiting.get()) is not None:
                    self._live.update(render(status, height=self._console.size.height), refresh=True)
        except OSError:  # the terminal is gone
            return
        except Exception:  # showing the recorder must never end it
            log.exception("the live table failed, recording goes on without it")


def _own_stderr() -> Optional[IO[str]]:
    """Another handle on the terminal: at the end of the process Python waits for its own, which must not be stuck."""
    try:
        return open(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") if sys.stderr.isatty() else None  # noqa: PTH123
    except (OSError, ValueError, AttributeError):
        return None


def render(status: RecorderStatus, *, height: int) -> RenderableType:
    """The table for a screen of so many lines: the busiest symbols that fit, and how many more there are."""
    room = max(3, height - FRAME_LINES)
    ranked = sorted(status.rows, key=_importance)
    shown, rest = (ranked, []) if len(ranked) <= room else (ranked[: room - 1], ranked[room - 1 :])
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("symbol", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("conn.", "messages", "msg/s", "lag", "snapshot", "gaps"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        table.add_row(*_cells(row, status.now_ns))
    if rest:
        table.add_row(*_more(rest))
    return Group(_title(status), table, _totals(status))


def _importance(row: SymbolStatus) -> tuple[bool, float, int, str]:
    """Order: symbols with a problem first, then the busiest."""
    return (row.state != "rejected", -row.rate, -row.messages, row.symbol)


def _cells(row: SymbolStatus, now_ns: int) -> list[RenderableType]:
    lag_style = "red" if row.lag_s is not None and row.lag_s > SLOW_S else ""
    return [
        row.symbol,
        Text(row.state, style=STATE_STYLES.get(row.state, "")),
        str(row.connection) if row.connection else "-",
        f"{row.messages:,}",
        f"{row.rate:,.1f}",
        Text(_lag(row.lag_s), style=lag_style),
        "-" if row.last_snapshot_ns is None else f"{age((now_ns - row.last_snapshot_ns) / NS_PER_S)} ago",
        Text(f"{row.gaps:,}", style="yellow" if row.gaps else ""),
    ]


def _more(rest: list[SymbolStatus]) -> list[RenderableType]:
    recording = sum(row.state == "recording" for row in rest)
    return [
        Text(f"{len(rest):,} more", style="dim"),
        Text(f"{recording:,} recording", style="dim"),
        "",
        f"{sum(row.messages for row in rest):,}",
        f"{sum(row.rate for row in rest):,.1f}",
        "",
        "",
        f"{sum(row.gaps for row in rest):,}",
    ]


def _title(status: RecorderStatus) -> Text:
    running = age((status.now_ns - status.since_ns) / NS_PER_S)
    text = f"Stopped after {running}: {status.headline()}" if status.stopped else f"{status.headline()}, for {running}"
    return Text(text, style="bold", overflow="ellipsis", no_wrap=True)


def _totals(status: RecorderStatus) -> Text:
    free = "" if status.disk.free_bytes is None else f", {size(status.disk.free_bytes)} free"
    waiting = f", {size(status.queue_bytes)} waiting" if status.queue_bytes >= 1024 * 1024 else ""
    text = f"{size(status.written_bytes)} written to {status.directory}{waiting}{free}{_verified(status)}."
    text += "" if status.stopped else " Ctrl+C stops."
    style = "red" if status.verifier is not None and status.verifier.mismatched else "dim"
    return Text(text, style=style, overflow="ellipsis", no_wrap=True)


def _verified(status: RecorderStatus) -> str:
    verifier = status.verifier
    if verifier is None:
        return ""
    return f", {verifier.ok:,} verified" + (f", {verifier.mismatched:,} MISMATCHED" if verifier.mismatched else "")


def _lag(seconds: Optional[float]) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:,.0f} ms" if abs(seconds) < 10 else f"{seconds:,.0f} s"
