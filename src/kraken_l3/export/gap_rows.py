"""Which rows lie over a gap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from kraken_l3.archive.gaps import Gap

__all__ = ["GapRows"]


class GapRows:
    """The gaps that a playback has reached, asked for rows; what is in a gap is `Gap.holds`, here for a column."""

    def __init__(self) -> None:
        self._edges: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def add(self, gap: Gap) -> None:
        """One more gap."""
        self._edges[gap.symbol].append((gap.left_ns, gap.end_ns))

    def of(self, symbol: str) -> Sequence[tuple[int, int]]:
        """Both edges of each gap of a symbol."""
        return self._edges.get(symbol, ())

    def over(self, symbol: str, times: Any, span_ns: int = 0) -> Any:
        """Which of the times (int64 nanoseconds on the receive clock) lie over a gap of the symbol, as booleans.

        With `span_ns`: which of the spans so long that end at these times lie over one in part.
        """
        over = np.zeros(len(times), bool)
        for left_ns, right_ns in self._edges.get(symbol, ()):
            over |= (times > left_ns) & (times - span_ns < right_ns)
        return over
