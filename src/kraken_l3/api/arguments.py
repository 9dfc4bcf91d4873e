"""What callers pass in: moments, time spans, counts and names, each checked here and nowhere else."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Iterable, Iterator
from typing import Any, Optional, Union

from kraken_l3.errors import DataMissing, UsageError, did_you_mean
from kraken_l3.model.timestamps import NS_PER_DAY, day_start_ns, parse_rfc3339
from kraken_l3.model.window import Window, windows_of

__all__ = [
    "Days",
    "Moment",
    "bar_ns",
    "count",
    "duration_ns",
    "moment_ns",
    "one_day",
    "one_of",
    "span_ns",
    "symbol_among",
    "windows",
]

Moment = Union[str, int, dt.date]  # a datetime is a date; numpy's and pyarrow's are taken too, without importing them
Days = Union[str, dt.date, Iterable[Union[str, dt.date]]]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_LAST_NS = (1 << 63) - 1
_YEAR_2000_NS = day_start_ns(dt.date(2000, 1, 1))
_SPANS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
_HOW_TO_SAY = "Use 2026-11-22T14:30:00Z, a datetime, or integer nanoseconds"


def moment_ns(moment: Moment, name: str = "at") -> int:
    """Nanoseconds since 1970 UTC of a moment; `name` is the argument that the error names.

    Raises:
        UsageError: it is no moment, or an integer that cannot be nanoseconds.
    """
    if isinstance(moment, str) and moment.isascii() and moment.isdecimal():
        ns = _integer_ns(int(moment), name)
    elif isinstance(moment, str):
        try:
            ns = parse_rfc3339(moment)
        except ValueError as error:
            raise UsageError(str(error), where=name, hint=_HOW_TO_SAY) from None
    elif isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.timezone.utc)
        since = aware - _EPOCH
        ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
        ns += getattr(moment, "nanosecond", 0)  # pandas.Timestamp is a datetime with three digits more
    elif isinstance(moment, dt.date):
        ns = day_start_ns(moment)
    else:
        ns = _integer_ns(moment, name)
    if not 0 <= ns <= _LAST_NS:
        raise UsageError(f"the time must lie between 1970 and 2262, got {moment}", where=name)
    return ns


def _integer_ns(moment: Any, name: str) -> int:
    if type(moment).__name__ == "datetime64":
        # NaT is the smallest int64, which the range check refuses
        return int(moment.astype("datetime64[ns]").astype("int64"))
    if type(moment).__name__ == "TimestampScalar" and moment.is_valid:  # a cell of a pyarrow table
        return int(moment.cast("timestamp[ns]").value)
    if isinstance(moment, bool) or not hasattr(moment, "__index__"):
        raise UsageError(f"a {type(moment).__name__} is not a time", where=name, hint=_HOW_TO_SAY)
    ns = operator.index(moment)
    if 0 < ns < _YEAR_2000_NS:  # seconds, milliseconds and microseconds of today are all smaller
        raise UsageError(f"integers are nanoseconds since 1970, got {ns}", where=name, hint=_HOW_TO_SAY)
    return ns


def windows(start: Optional[Moment] = None, end: Optional[Moment] = None, day: Optional[Days] = None) -> list[Window]:
    """What is left of a recording between `start` and just before `end`, on the UTC days of `day`, oldest first.

    Args:
        start: None: from the first moment on.
        end: None: to the last one.
        day: a date, a text (2026-11-22, or several, comma separated), or several of either; None for all.

    Raises:
        UsageError: one is no moment or no day, `end` lies before `start`, or none of the days holds any of it.
    """
    start_ns = 0 if start is None else moment_ns(start, "start")
    end_ns = None if end is None else moment_ns(end, "end")
    if end_ns is not None and end_ns < start_ns:
        raise UsageError(f"end ({end}) lies before start ({start})")
    if day is None:
        return [Window(start_ns, end_ns)]
    found = windows_of(Window(start_ns, end_ns), _days(day))
    if not found:
        raise UsageError(f"nothing of day {day} lies between start ({start}) and end ({end})")
    return found


def _days(day: Days) -> Iterator[dt.date]:
    if isinstance(day, str):
        day = [text.strip() for text in day.split(",")]
    elif isinstance(day, dt.date) or not isinstance(day, Iterable):
        day = [day]
    for each in day:
        if isinstance(each, dt.date) and not isinstance(each, dt.datetime):
            yield each
            continue
        yield one_day(each)


def one_day(text: object, name: str = "day") -> dt.date:
    """A UTC day: "2026-11-22".

    Raises:
        UsageError: it is none.
    """
    try:
        return dt.date.fromisoformat(text)  # type: ignore[arg-type]  # what is no text is told like a wrong one
    except (TypeError, ValueError):
        raise UsageError(f"not a day: {text!r}", where=name, hint="Use 2026-11-22") from None


def span_ns(every: str) -> Optional[int]:
    """Nanoseconds of "1s", "100ms", ...; None for "change".

    Raises:
        UsageError: it is neither.
    """
    if every == "change":
        return None
    ns = _length_ns(every)
    if ns is None:
        raise UsageError(f"every must be a time span or 'change', got {every!r}", hint="Use 1s, 100ms, 5m or change")
    return ns


def bar_ns(every: str) -> int:
    """Nanoseconds of a bar, "1s", "5m", ...

    Raises:
        UsageError: it is no length of time, or a day has no whole number of them.
    """
    ns = _length_ns(every)
    if ns is None or NS_PER_DAY % ns:
        hint = "Use 100ms, 1s, 5m, 1h or 24h"
        raise UsageError(f"every must be a length of time that divides a day, got {every!r}", hint=hint)
    return ns


def duration_ns(duration: str) -> int:
    """Nanoseconds of "10m", "1h", ...

    Raises:
        UsageError: it is no length of time.
    """
    ns = _length_ns(duration)
    if ns is None:
        raise UsageError(f"duration must be a length of time, got {duration!r}", hint="Use 30s, 10m or 1h")
    return ns


def _length_ns(length: str) -> Optional[int]:
    text = str(length)  # callers without a type checker pass numbers
    digits = text.rstrip("numsh")
    unit = _SPANS_NS.get(text[len(digits) :])
    if unit is None or not (digits.isascii() and digits.isdecimal() and int(digits)) or int(digits) * unit > _LAST_NS:
        return None
    return int(digits) * unit


def count(value: int, name: str, *, least: int = 1, most: int = 1000) -> int:
    """A whole number in a range.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= operator.index(value) <= most:
        raise UsageError(f"{name} must be {least} to {most:,}, got {value!r}")
    return operator.index(value)


def one_of(value: str, name: str, choices: Iterable[str]) -> str:
    """One of a few words.

    Raises:
        UsageError: it is another one.
    """
    known = list(choices)
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"Use {' or '.join(known)}")
    return value


def symbol_among(symbol: str, known: Iterable[str], where: str) -> str:
    """A symbol that an archive has.

    Raises:
        DataMissing: the archive does not have it.
        UsageError: it is no text.
    """
    if not isinstance(symbol, str):
        raise UsageError(f"a symbol is a text such as BTC/USD, got {symbol!r}")
    names = sorted(known)
    if symbol not in names:
        some = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
        hint = f"{did_you_mean(symbol, names)} The archive has {some}" if names else "The archive has no symbols"
        raise DataMissing(f"no symbol {symbol!r}", where=where, hint=hint.strip())
    return symbol
