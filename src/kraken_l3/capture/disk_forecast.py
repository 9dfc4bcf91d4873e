"""When the disk will be full, if things go on as in the last hour."""

from __future__ import annotations

from collections import deque
from typing import Optional

from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["DiskForecast"]

#: What is older says little about today.
MEMORY_NS = 3600 * NS_PER_S
#: Before so much has passed, a burst of snapshots or another program's file would look like the rate of a year.
LEAST_NS = 600 * NS_PER_S


class DiskForecast:
    """Told now and then how much is free and how much the recorder has written.

    The faster of two rates counts: that at which free space shrinks, by whoever fills it, and that at which the
    recorder writes. So neither another program nor a sealer that frees space hides what is coming.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int, int]] = deque()

    def seconds_to_full(self, mono_ns: int, free_bytes: int, written_bytes: int) -> Optional[float]:
        """The forecast as of now; None while too little is known, or nothing grows."""
        seen = self._seen
        seen.append((mono_ns, free_bytes, written_bytes))
        while mono_ns - seen[0][0] > MEMORY_NS:
            seen.popleft()
        then_ns, free_then, written_then = seen[0]
        if mono_ns - then_ns < LEAST_NS:
            return None
        grown = max(free_then - free_bytes, written_bytes - written_then)
        return free_bytes * (mono_ns - then_ns) / NS_PER_S / grown if grown > 0 else None
