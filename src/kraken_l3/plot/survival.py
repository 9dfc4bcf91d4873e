"""How long orders stay, and how many are filled: Kaplan-Meier estimates that take censoring into account."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import CensoredData, ecdf

from kraken_l3.api import Archive, Moment
from kraken_l3.api.arguments import Days
from kraken_l3.errors import DataMissing
from kraken_l3.plot.picture import BLUE, GREEN, ORANGE, Picture, span_of

__all__ = ["survival"]

_Floats = npt.NDArray[np.float64]

#: Levels at which orders are placed: name, first level, level behind the last.
_GROUPS = (("best price", 0, 1, ORANGE), ("levels 2 to 5", 1, 5, BLUE), ("behind", 5, 1 << 30, GREEN))
_LEAST_ORDERS = 20
#: Of fewer orders the chance of a fill is not drawn.
_LEAST_LEFT = 10
#: The axes are logarithmic; an order that came and went with one message counts as so old.
_LEAST_S = 1e-6


class _Lives(NamedTuple):
    """Orders whose arrival was seen."""

    seconds: _Floats
    level: npt.NDArray[np.int32]
    is_filled: npt.NDArray[np.bool_]
    has_ended: npt.NDArray[np.bool_]

    def where(self, chosen: npt.NDArray[np.bool_]) -> _Lives:
        """Some of them."""
        return _Lives(self.seconds[chosen], self.level[chosen], self.is_filled[chosen], self.has_ended[chosen])


def survival(
    archive: Archive,
    symbol: str,
    start: Optional[Moment] = None,
    end: Optional[Moment] = None,
    day: Optional[Days] = None,
) -> Picture:
    """The share of orders that still rest after a time (left), and of those that would be filled by then (right).

    Both are Kaplan-Meier estimates with 95 % intervals, by the level at which an order was placed. Only orders whose
    arrival was seen count. Left, an order is censored when it left the window, in a gap or at the end of the data;
    right, also when it was cancelled or amended: that is the chance of a fill for an order that stays. Those curves end
    where fewer than 10 orders are left.

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
    lives = _lives(archive.orders(symbol, start=start, end=end, day=day).read_all())
    if len(lives.seconds) < _LEAST_ORDERS:
        raise DataMissing(f"only {len(lives.seconds)} orders of {symbol} arrived", where=str(archive.path))
    picture = Picture(f"{symbol}: lives of {len(lives.seconds):,} orders, {span.title()}", columns=2)
    resting, filling = picture.axes
    for name, first, behind, colour in _GROUPS:
        chosen = (lives.level >= first) & (lives.level < behind)
        if int(chosen.sum()) < _LEAST_ORDERS:
            continue
        of_group = lives.where(chosen)
        label = f"{name} ({len(of_group.seconds):,})"
        _curve(resting, of_group.seconds, of_group.has_ended, colour, label, falls=True)
        filled = int(of_group.is_filled.sum())
        _curve(filling, of_group.seconds, of_group.is_filled, colour, f"{name} ({filled:,} filled)", falls=False)
    for axes, what in ((resting, "still in the book"), (filling, "filled, if it stays")):
        axes.set_xscale("log")
        axes.set_xlabel("time since arrival (s)", fontsize=9)
        axes.set_ylabel(f"share of orders {what}", fontsize=9)
        axes.set_xlim(float(np.quantile(lives.seconds, 0.001)), float(lives.seconds.max()))
        axes.legend(fontsize=8, frameon=False, loc="lower left" if axes is resting else "upper left")
        axes.grid(color="#EEEEEE")
    resting.set_ylim(0, 1)
    filling.set_ylim(bottom=0)
    return picture


def _lives(table: pa.Table) -> _Lives:
    births, causes = (np.array(table[name].cast("string").to_pylist()) for name in ("birth", "end_cause"))
    seconds = table["time_in_book_ns"].to_numpy(zero_copy_only=False).astype(float) / 1e9
    known = (births == "new") & ~np.isnan(seconds)
    censored = table["right_censored"].to_numpy(zero_copy_only=False) | (causes == "unknown")
    level = table["level"].to_numpy()
    return _Lives(np.maximum(seconds, _LEAST_S), level, causes == "fill", ~censored).where(known)


def _curve(axes: Any, seconds: _Floats, is_event: Any, colour: str, label: str, *, falls: bool) -> None:
    """A Kaplan-Meier estimate with its 95 % interval; 1 less it where it rises."""
    if not is_event.any():
        return
    estimate = ecdf(CensoredData(uncensored=seconds[is_event], right=seconds[~is_event]))
    curve = estimate.sf if falls else estimate.cdf
    left = len(seconds) - np.searchsorted(np.sort(seconds), curve.quantiles)
    shown = left >= (0 if falls else _LEAST_LEFT)  # one fill of the last two orders would make it a half
    axes.step(
        curve.quantiles[shown], curve.probabilities[shown], where="post", color=colour, linewidth=1.5, label=label
    )
    with warnings.catch_warnings():  # it says where an interval is not defined: there is none drawn
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = curve.confidence_interval(0.95)
    low, high = interval.low.probabilities[shown], interval.high.probabilities[shown]
    axes.fill_between(curve.quantiles[shown], low, high, step="post", color=colour, alpha=0.15, linewidth=0)
