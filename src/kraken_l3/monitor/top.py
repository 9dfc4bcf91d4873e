"""`kraken-l3 top`: a running recorder on a whole terminal, symbol by symbol, as it changes.

It reads the status that the recorder leaves in its directory, and asks nothing of the recorder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Optional

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Sparkline, Static

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.health import Health, health_of
from kraken_l3.monitor.live import STATE_STYLES
from kraken_l3.monitor.status import RecorderStatus, SymbolStatus
from kraken_l3.monitor.units import age, size

__all__ = ["Top"]

#: Points of the curve of the rate, one a second.
HISTORY = 120
#: So many problems are shown, the rest is counted.
PROBLEMS = 5
SLOW_S = 2.0

#: The orders of the table: by what, and the word for it.
_ORDERS: tuple[tuple[str, Callable[[SymbolStatus], Any]], ...] = (
    ("problems, then rate", lambda row: (row.state == "recording" and not row.gap_cause, -row.rate, row.symbol)),
    ("symbol", lambda row: row.symbol),
    ("lag", lambda row: (-(row.lag_s if row.lag_s is not None else -1e9), row.symbol)),
    ("last message", lambda row: (row.last_message_ns or 0, row.symbol)),
    ("gaps", lambda row: (-row.gaps, row.symbol)),
)
_COLUMNS = ("symbol", "state", "conn.", "messages", "msg/s", "lag", "last message", "snapshot", "gaps")


class Top(App[None]):
    """The screen.

    Args:
        read: the recorder's last status; None where there is none.
        wall_ns: the time, ns since 1970.
        directory: of the archive, for the title.
        every_s: seconds between two looks.
    """

    CSS = """
    Screen { layout: vertical; }
    #headline { padding: 0 1; height: 1; text-style: bold; }
    #curve { height: 3; padding: 0 1; }
    #rate { width: 26; height: 3; }
    Sparkline { height: 3; width: 1fr; }
    DataTable { height: 1fr; }
    #facts, #problems { padding: 0 1; height: auto; }
    #problems { color: $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("s", "next_order", "Order"),
        ("p", "pause", "Pause"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        read: Callable[[], Optional[RecorderStatus]],
        wall_ns: Callable[[], int],
        directory: str,
        *,
        every_s: float = 1.0,
    ) -> None:
        super().__init__()
        self._read = read
        self._wall_ns = wall_ns
        self._directory = directory
        self._every_s = every_s
        self._order = 0
        self._paused = False
        self._rates: deque[float] = deque([0.0] * HISTORY, maxlen=HISTORY)
        self._shown_ns = 0

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Static(id="headline")
        with Horizontal(id="curve"):
            yield Static(id="rate")
            yield Sparkline(list(self._rates), id="spark")
        yield DataTable(id="symbols", cursor_type="row", zebra_stripes=True)
        yield Static(id="facts")
        yield Static(id="problems")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        table = self.query_one(DataTable)
        for name in _COLUMNS:
            table.add_column(Text(name, justify="left" if name in ("symbol", "state") else "right"), key=name)
        table.focus()
        self.look()
        self.set_interval(self._every_s, self.look)

    def action_next_order(self) -> None:
        """Sort by the next column."""
        self._order = (self._order + 1) % len(_ORDERS)
        self._shown_ns = 0
        self.look()

    def action_pause(self) -> None:
        """Stop, or go on."""
        self._paused = not self._paused
        self.look()

    def look(self) -> None:
        """Read the status and show it."""
        if not self.query("#headline"):  # a last tick while the screen is taken apart
            return
        if self._paused:
            self.query_one("#headline", Static).update(Text("paused: p goes on", style="reverse"))
            return
        status = self._read()
        age_s = 0.0 if status is None else (self._wall_ns() - status.now_ns) / NS_PER_S
        health = health_of(status, age_s=age_s)
        self.query_one("#headline", Static).update(_headline(status, health, age_s, self._directory))
        self.query_one("#problems", Static).update(_problems(health))
        if status is None or status.now_ns == self._shown_ns:
            return
        self._shown_ns = status.now_ns
        self._rates.append(status.rate)
        self.query_one(Sparkline).data = list(self._rates)
        self.query_one("#rate", Static).update(_rate(status))
        word, key = _ORDERS[self._order]
        self.query_one("#facts", Static).update(_facts(status, word))
        self._fill(sorted(status.rows, key=key), status.now_ns)

    def _fill(self, rows: list[SymbolStatus], now_ns: int) -> None:
        table = self.query_one(DataTable)
        row, offset = table.cursor_row, table.scroll_offset
        table.clear()
        for each in rows:
            table.add_row(*_cells(each, now_ns), key=each.symbol)
        table.move_cursor(row=min(row, max(0, table.row_count - 1)), scroll=False)
        table.scroll_to(offset.x, offset.y, animate=False)


def _headline(status: Optional[RecorderStatus], health: Health, age_s: float, directory: str) -> Text:
    if status is None:
        return Text(f"{directory}: no recorder has told its status here", style="bold yellow")
    if status.stopped:
        return Text(f"{directory}: the recorder was stopped {age(age_s)} ago", style="bold yellow")
    words = "healthy" if health.healthy else f"{len(health.problems):,} problem{'s'[: len(health.problems) != 1]}"
    text = Text(f"{directory}  {status.headline()}, for {age((status.now_ns - status.since_ns) / NS_PER_S)}  ")
    return text.append(words, style="bold green" if health.healthy else "bold red")


def _rate(status: RecorderStatus) -> Text:
    lag = ""
    if status.lag.count:
        lag = f"\nlag 50 % < {_lag(status.lag.quantile(0.5))}\n    99 % < {_lag(status.lag.quantile(0.99))}"
    return Text(f"{status.rate:,.0f} messages/s{lag}")


def _facts(status: RecorderStatus, order: str) -> Text:
    disk, verifier, clock = status.disk, status.verifier, status.clock
    parts = [f"{len(status.rows):,} symbols by {order}"]
    parts.append(f"{status.messages:,} messages, {size(status.written_bytes)} written")
    parts.append(f"{size(status.queue_bytes)} waiting")
    if status.fsync.count:
        parts.append(f"fsync 99 % < {_lag(status.fsync.quantile(0.99))}")
    parts.append(f"{status.reconnects:,} reconnects")
    if verifier is not None:
        behind = "" if verifier.lag_s is None else f", {verifier.lag_s:,.1f} s behind"
        wrong = f", {verifier.mismatched:,} MISMATCHED" if verifier.mismatched else ""
        parts.append(f"{verifier.ok:,} verified{wrong}{behind}")
    if status.relay is not None and status.relay.url:
        parts.append(f"{status.relay.clients:,} on the relay")
    if disk.free_bytes is not None:
        full = "" if disk.seconds_to_full is None else f", full in {age(disk.seconds_to_full)}"
        parts.append(f"{size(disk.free_bytes)} free{full}")
    if clock.synchronised is not None:
        parts.append("clock kept right" if clock.synchronised else "nobody keeps the clock right")
    return Text(" · ".join(parts), style="dim")


def _problems(health: Health) -> Text:
    lines = [f"{each.symbol or 'recorder'}: {each.why}" for each in health.problems[:PROBLEMS]]
    if len(health.problems) > PROBLEMS:
        lines.append(f"... and {len(health.problems) - PROBLEMS:,} more")
    return Text("\n".join(lines))


def _cells(row: SymbolStatus, now_ns: int) -> list[Text]:
    def right(text: str, style: str = "") -> Text:
        return Text(text, style=style, justify="right")

    is_slow = row.lag_s is not None and row.lag_s > SLOW_S
    state = f"gap: {row.gap_cause}" if row.gap_cause and row.state == "recording" else row.state
    return [
        Text(row.symbol, style="bold"),
        Text(state, style="red" if row.gap_cause else STATE_STYLES.get(row.state, "")),
        right(str(row.connection) if row.connection else "-"),
        right(f"{row.messages:,}"),
        right(f"{row.rate:,.1f}"),
        right("-" if row.lag_s is None else f"{row.lag_s * 1000:,.0f} ms", "red" if is_slow else ""),
        right(_ago(now_ns, row.last_message_ns)),
        right(_ago(now_ns, row.last_snapshot_ns)),
        right(f"{row.gaps:,}", "yellow" if row.gaps else ""),
    ]


def _ago(now_ns: int, then_ns: Optional[int]) -> str:
    return "-" if then_ns is None else f"{age((now_ns - then_ns) / NS_PER_S)} ago"


def _lag(seconds: float) -> str:
    return f"{seconds * 1000:,.4g} ms" if seconds < 10 else f"{seconds:,.0f} s"
