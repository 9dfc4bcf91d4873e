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
from kraken_l3.monitor.units import age, size
from kraken_l3.monitor.view import RecorderView, SymbolRow
from kraken_l3.telemetry import get_logger

__all__ = ["LiveTable", "render"]

#: Lines that are not symbols: headline, column names, "more" row, the totals, and one for the cursor.
FRAME_LINES = 6
STATE_STYLES = {"recording": "green", "rejected": "red", "waiting": "yellow"}
SLOW_S = 2.0
WAITING_VIEWS = 3
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
        self._views: queue.Queue[Optional[RecorderView]] = queue.Queue(WAITING_VIEWS)
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
            self._views.put_nowait(None)
        self._thread.join(LEAVE_S)

    def show(self, view: RecorderView) -> None:
        """Draw this view; it is skipped if the terminal cannot keep up."""
        with contextlib.suppress(queue.Full):
            self._views.put_nowait(view)

    def _draw(self) -> None:
        try:
            with self._live:
                while (view := self._views.get()) is not None:
                    self._live.update(render(view, height=self._console.size.height), refresh=True)
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


def render(view: RecorderView, *, height: int) -> RenderableType:
    """The table for a screen of so many lines: the busiest symbols that fit, and how many more there are."""
    room = max(3, height - FRAME_LINES)
    ranked = sorted(view.rows, key=_importance)
    shown, rest = (ranked, []) if len(ranked) <= room else (ranked[: room - 1], ranked[room - 1 :])
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("symbol", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("conn.", "messages", "msg/s", "lag", "snapshot", "gaps"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown:
        table.add_row(*_cells(row, view.now_ns))
    if rest:
        table.add_row(*_more(rest))
    return Group(_title(view), table, _totals(view))


def _importance(row: SymbolRow) -> tuple[bool, float, int, str]:
    """Order: symbols with a problem first, then the busiest."""
    return (row.state != "rejected", -row.rate, -row.messages, row.symbol)


def _cells(row: SymbolRow, now_ns: int) -> list[RenderableType]:
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


def _more(rest: list[SymbolRow]) -> list[RenderableType]:
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


def _title(view: RecorderView) -> Text:
    running = age((view.now_ns - view.since_ns) / NS_PER_S)
    text = f"Stopped after {running}: {view.headline()}" if view.stopped else f"{view.headline()}, for {running}"
    return Text(text, style="bold", overflow="ellipsis", no_wrap=True)


def _totals(view: RecorderView) -> Text:
    free = "" if view.disk_free_bytes is None else f", {size(view.disk_free_bytes)} free"
    waiting = f", {size(view.queue_bytes)} waiting" if view.queue_bytes >= 1024 * 1024 else ""
    text = f"{size(view.written_bytes)} written to {view.directory}{waiting}{free}{_verified(view)}."
    text += "" if view.stopped else " Ctrl+C stops."
    style = "red" if view.mismatched else "dim"
    return Text(text, style=style, overflow="ellipsis", no_wrap=True)


def _verified(view: RecorderView) -> str:
    if view.verified is None:
        return ""
    return f", {view.verified:,} verified" + (f", {view.mismatched:,} MISMATCHED" if view.mismatched else "")


def _lag(seconds: Optional[float]) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:,.0f} ms" if abs(seconds) < 10 else f"{seconds:,.0f} s"
