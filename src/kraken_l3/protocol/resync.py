"""When a symbol may be sent anew: a mismatch must never become a storm of subscriptions.

The first wish is granted at once. Each one after it waits for the pause that its number has, counted from the resync
before: 5 s, 15 s, 60 s, 5 min. From the sixth on the symbol is in quarantine, once an hour, while its messages are
recorded on. A symbol that was left in peace for ten minutes beyond its pause starts anew.
"""

from __future__ import annotations

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["QUARANTINE_AFTER", "ResyncPolicy"]

PAUSES_S = (0, 5, 15, 60, 300, 3600)
QUARANTINE_AFTER = len(PAUSES_S) - 1
FORGET_NS = 600 * NS_PER_S


class ResyncPolicy:
    """The resyncs of all symbols. Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[int, int]] = {}  # symbol -> (how many, when the last)

    def wait_ns(self, symbol: str, now_ns: int) -> int:
        """How long a wish for this symbol has to wait (0: granted now)."""
        count, last_ns = self._done.get(symbol, (0, 0))
        if not count:
            return 0
        return max(0, last_ns + self._pause_ns(count) - now_ns)

    def done(self, symbol: str, now_ns: int) -> int:
        """The symbol is being sent anew; the answer is the number of this attempt."""
        count, last_ns = self._done.get(symbol, (0, 0))
        if count and now_ns - last_ns > self._pause_ns(count) + FORGET_NS:
            count = 0
        self._done[symbol] = (count + 1, now_ns)
        return count + 1

    def _pause_ns(self, count: int) -> int:
        return PAUSES_S[min(count, QUARANTINE_AFTER)] * NS_PER_S
