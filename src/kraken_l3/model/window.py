"""A stretch of the receive clock, half open: [start, end)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple, Optional

from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns

__all__ = ["EVERYTHING", "Window", "windows_of"]


class Window(NamedTuple):
    """From `start_ns` to just before `end_ns` (None: without an end), in nanoseconds since 1970 UTC."""

    start_ns: int = 0
    end_ns: Optional[int] = None

    def touches(self, day: dt.date) -> bool:
        """Whether it has a moment of a UTC day."""
        begin_ns = day_start_ns(day)
        return self.start_ns < begin_ns + NS_PER_DAY and (self.end_ns is None or begin_ns < self.end_ns)

    def within(self, day: dt.date) -> Window:
        """What it leaves out of a UTC day: a side that lies outside of the day is open."""
        begin_ns = day_start_ns(day)
        end_ns = self.end_ns if self.end_ns is not None and self.end_ns < begin_ns + NS_PER_DAY else None
        return Window(self.start_ns if self.start_ns > begin_ns else 0, end_ns)


EVERYTHING = Window()


def windows_of(window: Window, days: Iterable[dt.date]) -> list[Window]:
    """A window's stretches on some UTC days, oldest first; days that follow one another are one stretch."""
    numbered = enumerate(sorted(set(days)))
    runs = [[day for _, day in run] for _, run in groupby(numbered, key=lambda each: each[1].toordinal() - each[0])]
    found = []
    for run in runs:
        start_ns, end_ns = day_start_ns(run[0]), day_start_ns(run[-1]) + NS_PER_DAY
        both = Window(max(start_ns, window.start_ns), end_ns if window.end_ns is None else min(end_ns, window.end_ns))
        if both.end_ns is not None and both.start_ns < both.end_ns:
            found.append(both)
    return found
