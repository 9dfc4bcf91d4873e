"""What all pictures share: size, colours, a time axis, and gaps."""

from __future__ import annotations

import io
from typing import Any, NamedTuple, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from kraken_l3.api import Archive, Moment
from kraken_l3.api.arguments import Days, windows
from kraken_l3.errors import DataMissing
from kraken_l3.model.window import Window

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "SKY",
    "Picture",
    "Span",
    "currencies",
    "legend_above",
    "shade_gaps",
    "span_of",
    "time_axis",
]

# Okabe and Ito's colours, https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, SKY, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#B0B0B0"

_INCHES = (8.0, 4.5)
_DPI = 100
#: Steps of a grid in nanoseconds.
_STEPS = [n * 10**9 for n in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600)]
_FINE_STEPS = [n * 10**6 for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)]


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook, with or without pyplot."""

    def __init__(self, title: str, *, rows: int = 1, columns: int = 1, heights: Optional[list[float]] = None) -> None:
        super().__init__(figsize=_INCHES, dpi=_DPI, layout="constrained", facecolor="white")
        self.suptitle(_plain(title), fontsize=11, x=0.01, ha="left")
        options: dict[str, Any] = {"height_ratios": heights} if heights else {}
        grid = self.subplots(rows, columns, squeeze=False, sharex=columns == 1, gridspec_kw=options)
        for axes in grid.flat:
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=9)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula: one would begin at a dollar sign."""
    return text.replace("$", r"\$")


def currencies(symbol: str) -> tuple[str, str]:
    """Base and quote currency of a pair, for labels; empty what its name does not tell."""
    base, _, quote = _plain(symbol).partition("/")
    return base, quote


class Span(NamedTuple):
    """A piece of time that is drawn: the receive times of its edges."""

    start_ns: int
    end_ns: int

    def step(self, most: int) -> int:
        """The spacing of a grid that has about so many points, a round number of nanoseconds."""
        wanted = (self.end_ns - self.start_ns) / most
        return next((step for step in (*_FINE_STEPS, *_STEPS) if step >= wanted), _STEPS[-1])

    def title(self) -> str:
        """For a picture's heading: "2026-11-22 14:00:00 to 15:00:00 UTC"."""
        first, last = (str(np.datetime64(ns, "ns").astype("datetime64[s]")).replace("T", " ") for ns in self)
        return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def span_of(archive: Archive, symbol: str, start: Optional[Moment], end: Optional[Moment], day: Optional[Days]) -> Span:
    """What there is of a symbol between two moments.

    Raises:
        DataMissing: nothing.
        UsageError: one is no moment, or `day` no day.
    """
    wanted = windows(start, end, day)
    rows = [row for row in archive.coverage(verify=False) if row.symbol == symbol]
    edges = [
        edge
        for row in rows
        if row.start_ns is not None and row.end_ns is not None
        for window in wanted
        for edge in _inside(window, row.start_ns, row.end_ns)
    ]
    if not edges:
        hint = "Without receipts, give start and end" if rows else ""
        raise DataMissing(f"nothing of {symbol} to draw", where=str(archive.path), hint=hint)
    return Span(min(edges), max(edges))


def _inside(window: Window, start_ns: int, end_ns: int) -> tuple[int, ...]:
    first, last = max(window.start_ns, start_ns), end_ns if window.end_ns is None else min(window.end_ns, end_ns)
    return (first, last) if first < last else ()


def time_axis(axes: Axes, span: Span) -> None:
    """UTC, from edge to edge."""
    axes.set_xlim(*_times(span))
    locator = AutoDateLocator(minticks=3)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlabel("receive time (UTC)", fontsize=9)


def shade_gaps(axes: Axes, archive: Archive, symbol: str, span: Span) -> bool:
    """Grey where the book is not known; whether there is any."""
    found = False
    for gap in archive.gaps(symbol):
        right_ns = span.end_ns if gap.right_ns is None else gap.right_ns
        if gap.channel != "level3" or right_ns <= span.start_ns or gap.left_ns >= span.end_ns:
            continue
        # a gap of a second would be too narrow to be seen in a day
        width = max(right_ns - gap.left_ns, (span.end_ns - span.start_ns) // 400)
        left, right = _times(Span(gap.left_ns, gap.left_ns + width))
        label = "gap" if not found else None
        axes.axvspan(left, right, facecolor="#DDDDDD", edgecolor=GREY, hatch="////", linewidth=0, zorder=3, label=label)
        found = True
    return found


def legend_above(axes: Axes, handles: Optional[list[Any]] = None) -> None:
    """Beside the data, where it hides none of it."""
    if handles is None:
        handles, _ = axes.get_legend_handles_labels()
    axes.legend(
        handles=handles, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, borderaxespad=0.2
    )


def _times(span: Span) -> tuple[Any, Any]:
    return np.datetime64(span.start_ns, "ns"), np.datetime64(span.end_ns, "ns")
