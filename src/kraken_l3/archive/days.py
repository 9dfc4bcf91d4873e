"""Which days of a directory are closed, and which one is being written.

A day is closed when its journal ends with `rotated`: all of it was on disk before that, and nobody writes to it again.
A day of data without a journal is another recorder's, and counts as closed unless it is today's.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Optional

from kraken_l3.archive.filesystem import FileSystem, opened
from kraken_l3.archive.journal import Rotated, decode_record
from kraken_l3.archive.layout import DayPaths, days_in
from kraken_l3.errors import MalformedMessage

__all__ = ["closed_days", "current_day"]

#: More than the longest `rotated` record, which is all that is looked for.
_LAST_LINE_BYTES = 4096


def closed_days(filesystem: FileSystem, directory: Path, today: dt.date) -> dict[dt.date, Optional[dt.date]]:
    """The closed days, oldest first, each with the day that the recorder went on in (None: another recorder's)."""
    names = set(filesystem.names(directory))
    closed: dict[dt.date, Optional[dt.date]] = {}
    for day in days_in(names):
        journal = DayPaths(directory, day).journal
        if journal.name in names:
            rotated = _rotated(filesystem, journal)
            if rotated is not None:
                closed[day] = rotated.next_day
        elif day != today:  # today's is gone on with, whoever began it
            closed[day] = None
    return closed


def _rotated(filesystem: FileSystem, journal: Path) -> Optional[Rotated]:
    with opened(filesystem, journal) as file:
        lines = file.read_at(max(0, file.size() - _LAST_LINE_BYTES), _LAST_LINE_BYTES).splitlines()
    try:
        last = decode_record(lines[-1]) if lines else None
    except MalformedMessage:
        return None
    return last if isinstance(last, Rotated) else None


def current_day(filesystem: FileSystem, directory: Path, closed: dict[dt.date, Optional[dt.date]]) -> Optional[dt.date]:
    """The day that the last writer was in, or was about to enter when it ended."""
    days = set(days_in(filesystem.names(directory)))
    entered = {day for day in closed.values() if day is not None and day not in days}
    return max(days - set(closed) or entered, default=None)
