"""The depth of a book over time as a heat map, with trades and gaps."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm

from kraken_l3.api import Archive, Moment
from kraken_l3.api.arguments import Days, count
from kraken_l3.errors import DataMissing
from kraken_l3.plot.picture import ORANGE, PINK, Picture, Span, currencies, legend_above, shade_gaps, span_of, time_axis
from kraken_l3.plot.reading import ladders, trades_of

__all__ = ["depth"]

_COLUMNS, _ROWS = 700, 160
#: Levels from the best within which most pictures are of interest.
_NEAR = 25

_Floats = npt.NDArray[np.float64]


def depth(
    archive: Archive,
    symbol: str,
    start: Optional[Moment] = None,
    end: Optional[Moment] = None,
    day: Optional[Days] = None,
    *,
    levels: int = 100,
) -> Picture:
    """What rests at each price over time, darker where it is more, with the mid price, trades and gaps.

    Args:
        archive: the archive to draw.
        symbol: such as BTC/USD.
        start: first moment (default: the beginning).
        end: moment before which to stop.
        day: only these UTC days.
        levels: price levels a side, 1 to 1000.

    Raises:
        DataMissing: there is nothing to draw.
        UsageError: an argument is out of its range, or an extra is not installed.
    """
    levels = count(levels, "levels")
    span = span_of(archive, symbol, start, end, day)
    step_ns = span.step(_COLUMNS)
    times, bids, asks = ladders(archive, symbol, span, step_ns, levels)
    if not len(times):
        raise DataMissing(f"no book of {symbol} to draw", where=str(archive.path))
    mids = (np.array([side[0][0] if side else np.nan for side in bids]) + [s[0][0] if s else np.nan for s in asks]) / 2
    lowest, highest = _prices(bids, asks, mids)
    picture = Picture(f"{symbol}: depth of the book, {span.title()}")
    (axes,) = picture.axes
    edges = np.linspace(lowest, highest, _ROWS + 1)
    columns = np.arange(span.start_ns // step_ns, span.end_ns // step_ns + 2) * step_ns
    grid = _quantities(times, [*zip(bids, asks)], edges, columns)
    seen = grid[grid > 0]
    colours = LogNorm(np.quantile(seen, 0.05), np.quantile(seen, 0.995)) if len(seen) else None
    image = axes.pcolormesh(
        columns.astype("datetime64[ns]"),
        edges,
        np.where(grid > 0, grid, np.nan),
        norm=colours,
        cmap="YlGnBu",
        rasterized=True,  # in an SVG or PDF each cell would be a path: 10 MB
    )
    base, quote = currencies(symbol)
    bar = picture.colorbar(image, ax=axes, pad=0.01)
    bar.set_label(f"{base} at {edges[1] - edges[0]:.3g} {quote} of price", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    _draw_mid(axes, times, mids, step_ns)
    _draw_trades(axes, archive, symbol, span)
    shade_gaps(axes, archive, symbol, span)
    axes.set_ylim(lowest, highest)
    axes.set_ylabel(f"price ({quote})", fontsize=9)
    axes.ticklabel_format(axis="y", useOffset=False)
    time_axis(axes, span)
    legend_above(axes)
    return picture


def _prices(bids: list[Any], asks: list[Any], mids: _Floats) -> tuple[float, float]:
    """From the lowest price of interest to the highest: the mid's range, and as much as the near levels take beside."""
    known = mids[~np.isnan(mids)]
    if not len(known):
        prices = [price for side in (*bids, *asks) for price, _ in side]
        return (min(prices) * 0.999, max(prices) * 1.001) if prices else (0.0, 1.0)
    reach = [abs(side[min(_NEAR, len(side)) - 1][0] - mid) for side, mid in zip(bids, mids) if side and mid == mid]
    beside = float(np.median(reach)) if reach else 0.0
    return float(known.min()) - beside, float(known.max()) + beside


def _quantities(times: npt.NDArray[np.int64], books: list[Any], edges: _Floats, columns: Any) -> _Floats:
    grid = np.zeros((len(edges) - 1, len(columns) - 1))
    places = np.searchsorted(columns, times, "right") - 1
    for place, sides in zip(places.tolist(), books):
        for side in sides:
            prices, qtys = np.array(side).reshape(-1, 2).T
            rows = np.searchsorted(edges, prices, "right") - 1
            inside = (rows >= 0) & (rows < len(grid))
            np.add.at(grid[:, place], rows[inside], qtys[inside])
    return grid


def _draw_mid(axes: Any, times: npt.NDArray[np.int64], mids: _Floats, step_ns: int) -> None:
    """A line that is interrupted where rows are missing."""
    breaks = np.flatnonzero(np.diff(times) > 1.5 * step_ns) + 1
    at = np.insert(times, breaks, times[breaks - 1] + 1).astype("datetime64[ns]")
    axes.plot(at, np.insert(mids, breaks, np.nan), color="black", linewidth=1.0, label="mid price")


def _draw_trades(axes: Any, archive: Archive, symbol: str, span: Span) -> None:
    trades = trades_of(archive, symbol, span)
    for buys, colour, marker, name in ((True, ORANGE, "^", "buy"), (False, PINK, "v", "sell")):
        chosen = trades.buys == buys
        if chosen.any():
            axes.scatter(
                trades.times[chosen].astype("datetime64[ns]"),
                trades.prices[chosen],
                s=26,
                color=colour,
                marker=marker,
                edgecolors="white",
                linewidths=0.5,
                zorder=4,
                label=f"{name} ({int(chosen.sum()):,})",
            )
