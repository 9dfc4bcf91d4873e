"""A histogram with fixed bounds: what Prometheus calls one, as a plain value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

__all__ = ["FSYNC_BOUNDS_S", "LAG_BOUNDS_S", "Histogram"]

#: Kraken's message to its receipt: some milliseconds within a continent; less than 0 where a clock is wrong.
LAG_BOUNDS_S = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: From a fast NVMe to a disk that hangs.
FSYNC_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram(msgspec.Struct):
    """Counts of values up to each bound.

    One thread adds; another may read meanwhile, and sees numbers that are a value apart at most.

    Attributes:
        bounds: upper bounds, ascending; a value on one counts below it.
        counts: values in each of the ranges, not summed up; the last one is above all bounds.
        sum: of all values.
    """

    bounds: list[float]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def of(cls, bounds: Sequence[float]) -> Histogram:
        """An empty one."""
        return cls(list(bounds), [0] * (len(bounds) + 1))

    def add(self, value: float, weight: int = 1) -> None:
        """Count a value; `weight` is how many values it stands for."""
        self.counts[bisect_left(self.bounds, value)] += weight
        self.sum += value * weight

    def copy(self) -> Histogram:
        """As it is now."""
        return Histogram(self.bounds, list(self.counts), self.sum)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The bound that at least this share of the values does not exceed (inf: above all bounds; nan: no values)."""
        wanted, seen = share * self.count, 0
        for bound, count in zip([*self.bounds, float("inf")], self.counts):
            seen += count
            if count and seen >= wanted:
                return bound
        return float("nan")
