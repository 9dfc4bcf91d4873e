"""Which days of a directory are closed, and which one is being written.

A day is closed when its journal ends with `rotated`: all of it was on disk before that, and nobody writes to it again.
A day that was sealed was closed before, whatever became of its journal: plain files beside the sealed ones would hide
them. A day of data without a journal is another recorder's, and counts as closed unless it is today's.

`rotated` says which day came next. That is not always the next by date: after a big step back of the clock a recorder
goes on in an earlier day, and later passes over the days that it has left.
"""

from __future__ import annotations

import datetime as dt
import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.archive.bytesource import ByteSource
from kraken_l3.archive.filesystem import FileSystem, opened
from kraken_l3.archive.journal import Rotated, decode_record
from kraken_l3.archive.layout import SEALED_SUFFIX, DayPaths, Stream, days_in
from kraken_l3.archive.opening import PlainFile
from kraken_l3.errors import MalformedMessage

__all__ = ["closed_days", "current_day", "next_day_in", "written_order"]

#: More than the longest `rotated` record, which is all that is looked for.
_LAST_LINE_BYTES = 4096
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def closed_days(filesystem: FileSystem, directory: Path, today: dt.date) -> dict[dt.date, Optional[dt.date]]:
    """The closed days, oldest first, each with the day that the recorder went on in (None: another recorder's)."""
    names = set(filesystem.names(directory))
    closed: dict[dt.date, Optional[dt.date]] = {}
    for day in days_in(names):
        paths = DayPaths(directory, day)
        sealed = {paths.data(stream).name + SEALED_SUFFIX for stream in Stream}
        if paths.journal.name in names:
            next_day = _next_day(filesystem, paths.journal)
            if next_day is not None or names & sealed:
                closed[day] = next_day
        elif day != today:  # today's is gone on with, whoever began it
            closed[day] = None
    return closed


def _next_day(filesystem: FileSystem, journal: Path) -> Optional[dt.date]:
    try:
        with opened(filesystem, journal) as file:
            return next_day_in(file)
    except OSError as error:
        if error.errno in _READ_ONLY:  # `check` needs no more; who wants to write finds out when it does
            source = PlainFile(journal)
            try:
                return next_day_in(source)
            finally:
                source.close()
        return None  # a link, a directory, a device: no journal of ours


def next_day_in(journal: ByteSource) -> Optional[dt.date]:
    """The day that came after a journal's; None when it does not end with `rotated`."""
    lines = journal.read_at(max(0, journal.size() - _LAST_LINE_BYTES), _LAST_LINE_BYTES).splitlines()
    try:
        last = decode_record(lines[-1]) if lines else None
    except MalformedMessage:
        return None
    return last.next_day if isinstance(last, Rotated) else None


def written_order(days: Iterable[dt.date], next_day: Callable[[dt.date], Optional[dt.date]]) -> list[dt.date]:
    """Days in the order in which they were written: each before the one that came next, else by date.

    Args:
        days: some days, each once.
        next_day: the day that came after one, as far as its journal tells. What it tells may be nonsense.
    """
    by_date = sorted(days)
    if len(by_date) < 2:
        return by_date  # no journal need be read
    after = {day: next_day(day) for day in by_date}
    entered = set(after.values())
    order: dict[dt.date, None] = {}
    for first in [day for day in by_date if day not in entered] + by_date:
        day: Optional[dt.date] = first
        while day in after and day not in order:
            order[day] = None
            day = after[day]
    return list(order)


def current_day(filesystem: FileSystem, directory: Path, closed: dict[dt.date, Optional[dt.date]]) -> Optional[dt.date]:
    """The day that the last writer was in, or was about to enter when it ended."""
    days = set(days_in(filesystem.names(directory)))
    entered = {day for day in closed.values() if day is not None and day not in days}
    return max(days - set(closed) or entered, default=None)
