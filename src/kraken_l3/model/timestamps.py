"""Times are integer nanoseconds since 1970-01-01 UTC; text only at the borders."""

from __future__ import annotations

import datetime as dt
import re
from functools import cache

__all__ = ["NS_PER_DAY", "NS_PER_S", "day_of", "day_start_ns", "format_rfc3339", "parse_rfc3339"]

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S

_EPOCH_ORDINAL = dt.date(1970, 1, 1).toordinal()


@cache
def _rfc3339() -> re.Pattern[str]:
    """Compiled when it is first needed: most commands read no time."""
    time = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?(?:[Zz]|([+-])(\d\d):?(\d\d))?"
    return re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)(?:[Tt ]{time})?", re.ASCII)


def parse_rfc3339(text: str) -> int:
    """Nanoseconds of an RFC 3339 time; digits beyond the ninth are cut. No zone means UTC, a bare date its midnight.

    Raises:
        ValueError: the text is no such time.
    """
    match = _rfc3339().fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    year, month, day, hour, minute, second, fraction, sign, off_h, off_m = match.groups(default="")
    days = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH_ORDINAL
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if h > 23 or m > 59 or s > 60:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    seconds = days * 86_400 + h * 3_600 + m * 60 + s
    if sign:
        seconds += (-1 if sign == "+" else 1) * (int(off_h) * 3_600 + int(off_m) * 60)
    return seconds * NS_PER_S + int((fraction or "0").ljust(9, "0"))


def format_rfc3339(ns: int) -> str:
    """The time as Kraken writes it: UTC, nine fractional digits, Z."""
    seconds, fraction = divmod(ns, NS_PER_S)
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def day_of(ns: int) -> dt.date:
    """The UTC day that holds this moment."""
    return dt.date.fromordinal(_EPOCH_ORDINAL + ns // NS_PER_DAY)


def day_start_ns(day: dt.date) -> int:
    """The first nanosecond of a UTC day."""
    return (day.toordinal() - _EPOCH_ORDINAL) * NS_PER_DAY
