"""Histograms with logarithmic classes, a row for each symbol: quantiles of millions of values in little memory."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

__all__ = ["Histograms", "count_places"]

_Floats = npt.NDArray[np.float64]
#: Classes in a power of ten; each is 2.3 % wide, and a quantile is off by half of that at most.
_PER_DECADE = 100


def count_places(counts: Any, places: Any) -> None:
    """Add one at each place of a table, places counted row after row; one may come several times."""
    found, times = np.unique(places, return_counts=True)
    counts.reshape(-1)[found] += times.astype(counts.dtype)


class Histograms:
    """Counts positive values by size.

    Args:
        least: the smallest value told apart, above 0; smaller ones count as it.
        most: the largest, likewise.
    """

    def __init__(self, least: float, most: float) -> None:
        self._low = np.log10(least)
        self._classes = int(np.ceil((np.log10(most) - self._low) * _PER_DECADE)) + 1
        self.counts: npt.NDArray[np.int64] = np.zeros((0, self._classes), np.int64)

    def resize(self, rows: int) -> None:
        """Have room for so many symbols."""
        if rows > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros((rows - len(self.counts), self._classes), np.int64)])

    def add(self, row: Any, values: Any) -> None:
        """Count values (all above 0), each for the symbol with its row."""
        place = np.rint((np.log10(values) - self._low) * _PER_DECADE).astype(np.int64)
        np.clip(place, 0, self._classes - 1, out=place)
        count_places(self.counts, row * self._classes + place)

    def values(self) -> _Floats:
        """The value in the middle of each class."""
        middles: _Floats = 10 ** (self._low + np.arange(self._classes) / _PER_DECADE)
        return middles

    def quantiles(self, row: int, shares: tuple[float, ...]) -> Optional[list[float]]:
        """Values below which so large a share lies; None of no values."""
        sums = np.cumsum(self.counts[row])
        if not sums[-1]:
            return None
        places = np.searchsorted(sums, np.array(shares) * sums[-1], side="left")
        return [float(value) for value in self.values()[places]]
