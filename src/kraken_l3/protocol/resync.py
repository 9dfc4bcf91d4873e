"""How often a symbol may be resubscribed: a mismatch must never cause a storm of subscriptions.

The first request is granted at once. Later ones wait for a pause after the previous resync: 5 s, 15 s, 60 s, 5 min.
From the sixth on the symbol is in quarantine: it is resubscribed once an hour, and its messages are still recorded. A
symbol that needed no resync for ten minutes after its pause starts over.
"""

from __future__ import annotations

from collections.abc import Sequence

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["QUARANTINE_AFTER", "ResyncPolicy"]

PAUSES_S = (0, 5, 15, 60, 300, 3600)
QUARANTINE_AFTER = len(PAUSES_S) - 1
FORGET_NS = 600 * NS_PER_S


class ResyncPolicy:
    """The resyncs of all symbols. Times are monotonic nanoseconds.

    Args:
        pauses_s: seconds before the first, second, ... request is granted; the last one repeats.
    """

    def __init__(self, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._pauses_ns = [int(pause_s * NS_PER_S) for pause_s in pauses_s]
        self._done: dict[str, tuple[int, int]] = {}  # symbol -> (how many, when the last)

    def wait_ns(self, symbol: str, now_ns: int) -> int:
        """How long a request for this symbol must wait (0: not at all)."""
        count, last_ns = self._done.get(symbol, (0, 0))
        if not count:
            return 0
        return max(0, last_ns + self._pause_ns(count) - now_ns)

    def done(self, symbol: str, now_ns: int) -> int:
        """The symbol is being resubscribed; returns the number of this attempt, from 1."""
        count, last_ns = self._done.get(symbol, (0, 0))
        if count and now_ns - last_ns > self._pause_ns(count) + FORGET_NS:
            count = 0
        self._done[symbol] = (count + 1, now_ns)
        return count + 1

    def _pause_ns(self, count: int) -> int:
        return self._pauses_ns[min(count, len(self._pauses_ns) - 1)]
