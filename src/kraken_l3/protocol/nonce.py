"""Nonces: strictly increasing for each key, across restarts and clocks that step back.

Kraken compares unsigned 64-bit numbers. Ours are nanoseconds; a key that was once used with a finer unit cannot go back
to a coarser one, which is one reason why the recorder needs a key of its own.

Source: https://docs.kraken.com/api/docs/guides/spot-rest-auth
"""

from __future__ import annotations

__all__ = ["next_nonce"]


def next_nonce(wall_ns: int, highest_used: int) -> int:
    """The clock, or one more than the highest nonce ever used, whichever is larger."""
    return max(wall_ns, highest_used + 1)
