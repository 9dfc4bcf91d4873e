"""The mid price and the spread over time."""

from __future__ import annotations

from functools import partial
from typing import Optional

import numpy as np
import pyarrow as pa

from kraken_l3.api import Archive, Moment
from kraken_l3.api.arguments import Days
from kraken_l3.errors import DataMissing
from kraken_l3.plot.picture import BLUE, ORANGE, Picture, currencies, legend_above, shade_gaps, span_of, time_axis
from kraken_l3.plot.reading import span_text

__all__ = ["spread"]

_POINTS = 3_000


def spread(
    archive: Archive,
    symbol: str,
    start: Optional[Moment] = None,
    end: Optional[Moment] = None,
    day: Optional[Days] = None,
) -> Picture:
    """The mid price, and below it the spread in the quote currency and in basis points, with its median; gaps are grey.

    Args:
        archive: the archive to draw.
        symbol: such as BTC/USD.
        start: first moment (default: the beginning).
        end: moment before which to stop.
        day: only these UTC days.

    Raises:
        DataMissing: there is nothing to draw.
        UsageError: an argument is out of its range, or an extra is not installed.
    """
    span = span_of(archive, symbol, start, end, day)
    step_ns = span.step(_POINTS)
    table = archive.snapshots(
        symbol, span_text(step_ns), 1, start=span.start_ns, end=span.end_ns + 1, wide=True
    ).read_all()
    if not table.num_rows:
        raise DataMissing(f"no book of {symbol} to draw", where=str(archive.path))
    times = table["timestamp"].cast(pa.int64()).to_numpy()
    mids, spreads = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in ("mid", "spread"))
    breaks = np.flatnonzero(np.diff(times) > 1.5 * step_ns) + 1  # over a gap there is no line
    at = np.insert(times, breaks, times[breaks - 1] + 1).astype("datetime64[ns]")
    _, quote = currencies(symbol)
    picture = Picture(f"{symbol}: mid price and spread, {span.title()}", rows=2, heights=[1.0, 1.2])
    above, below = picture.axes
    above.plot(at, np.insert(mids, breaks, np.nan), color=BLUE, linewidth=1.0)
    above.set_ylabel(f"mid price ({quote})", fontsize=9)
    above.ticklabel_format(axis="y", useOffset=False)
    below.step(at, np.insert(spreads, breaks, np.nan), where="post", color=BLUE, linewidth=0.8)
    median, mid = float(np.nanmedian(spreads)), float(np.nanmedian(mids))
    said = f"median {median:.6g} {quote} = {1e4 * median / mid:.3g} bp"
    below.axhline(median, color=ORANGE, linewidth=1.5, linestyle="--", label=said)
    below.set_ylabel(f"spread ({quote})", fontsize=9)
    below.set_ylim(0, max(1.15 * float(np.nanquantile(spreads, 0.998)), 1.5 * median))
    points = below.secondary_yaxis(
        "right", functions=(partial(np.multiply, 1e4 / mid), partial(np.multiply, mid / 1e4))
    )
    points.set_ylabel("spread (bp of the median mid)", fontsize=9)
    points.tick_params(labelsize=9)
    for axes in (above, below):
        shade_gaps(axes, archive, symbol, span)
    time_axis(below, span)
    legend_above(below)
    return picture
