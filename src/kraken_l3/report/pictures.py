"""The pictures of a report, drawn from its counts; the colours and the axes are those of `kraken_l3.plot`."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter, PercentFormatter

from kraken_l3.archive.layout import Stream
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns
from kraken_l3.plot.picture import BLUE, GREEN, GREY, ORANGE, Picture, Span, currencies, legend_above, time_axis
from kraken_l3.report.counts import GRID_NS, MINUTES
from kraken_l3.report.histogram import Histograms
from kraken_l3.report.reading import Day

__all__ = ["day_picture", "distributions", "svg"]

#: Values of which a distribution is drawn at least.
_LEAST = 20


def day_picture(day: Day, symbol: str) -> Picture:
    """Over the day: messages a minute, the spread, and the quantity in the ten best levels; gaps are grey."""
    row, counts = day.rows[symbol], day.counts
    span = _span(day.report.day)
    at = (span.start_ns + np.arange(MINUTES) * GRID_NS).astype("datetime64[ns]")
    _, quote = currencies(symbol)
    picture = Picture(f"{symbol} on {day.report.day}, minute by minute", rows=3, heights=[1.0, 1.0, 1.0])
    rate, spread, depth = picture.axes
    messages = np.where(counts.messages[row] > 0, counts.messages[row], np.nan)
    rate.plot(at, messages, color=BLUE, linewidth=0.9)
    bad = counts.bad[row] > 0
    if bad.any():
        rate.plot(at[bad], messages[bad], "x", color=ORANGE, label="with messages that fail the checksum")
    rate.set_ylabel("messages", fontsize=9)
    spread.plot(at, 1e4 * counts.spread[row], color=BLUE, linewidth=0.9)
    spread.set_ylabel("spread (bp)", fontsize=9)
    for values, colour, side in ((counts.bid_depth, GREEN, "bids"), (counts.ask_depth, ORANGE, "asks")):
        depth.plot(at, values[row], color=colour, linewidth=0.9, label=f"ten best levels, {side}")
    depth.set_ylabel(f"depth ({quote})", fontsize=9)
    depth.yaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (rate, spread, depth):
        axes.set_ylim(bottom=0)
        _shade_gaps(axes, day, symbol, span)
    time_axis(depth, span)
    if rate.get_legend_handles_labels()[0]:
        legend_above(rate)
    legend_above(depth)
    return picture


def distributions(day: Day, symbol: str) -> Picture:
    """What share of the messages came within a time, of the orders ended within one, and were of at most a size."""
    row, counts = day.rows[symbol], day.counts
    base, _ = currencies(symbol)
    picture = Picture(f"{symbol} on {day.report.day}: lag, lives and sizes", columns=3)
    lag, lives, size = picture.axes
    _distribution(lag, counts.lag, row, BLUE, "messages")
    _distribution(lives, counts.filled_life, row, GREEN, "filled")
    _distribution(lives, counts.cancelled_life, row, ORANGE, "cancelled")
    _distribution(size, counts.size, row, BLUE, "orders that arrived")
    for axes, what in ((lag, "lag to receipt (ms)"), (lives, "time at the price (s)"), (size, f"size ({base})")):
        axes.set_xlabel(what, fontsize=9)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(color="#EEEEEE")
        if axes.lines:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            low, high = axes.get_xlim()
            if high < 100 * low:  # a decade has to be in sight for its label
                axes.set_xlim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
            axes.legend(fontsize=8, frameon=False, loc="lower right")
        else:
            axes.text(0.5, 0.5, "too few to draw", transform=axes.transAxes, ha="center", color=GREY, fontsize=9)
    lag.set_ylabel("share that is at most so large", fontsize=9)
    return picture


def svg(picture: Picture) -> str:
    """The picture as an `<svg>` element."""
    file = io.StringIO()
    picture.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _distribution(axes: Axes, values: Histograms, row: int, colour: str, label: str) -> None:
    counts = values.counts[row]
    total = int(counts.sum())
    if total < _LEAST:
        return
    first, last = np.flatnonzero(counts)[[0, -1]]
    shown = slice(max(first - 1, 0), last + 1)
    shares = np.cumsum(counts)[shown] / total
    axes.plot(values.values()[shown], shares, color=colour, linewidth=1.5, label=f"{label} ({total:,})")


def _shade_gaps(axes: Any, day: Day, symbol: str, span: Span) -> None:
    for gap in day.report.gaps:
        if gap.symbol == symbol and gap.channel == Stream.LEVEL3.value:
            # a gap of a second would be too narrow to be seen in a day
            right_ns = max(gap.right_ns, gap.left_ns + (span.end_ns - span.start_ns) // 400)
            left, right = np.datetime64(gap.left_ns, "ns"), np.datetime64(right_ns, "ns")
            axes.axvspan(left, right, facecolor="#DDDDDD", edgecolor=GREY, hatch="////", linewidth=0, zorder=0)


def _span(day: dt.date) -> Span:
    return Span(day_start_ns(day), day_start_ns(day) + NS_PER_DAY)
