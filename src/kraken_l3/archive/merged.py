"""What the companion of a merged archive, `l3-D.sources`, tells: how much later one source received than another."""

from __future__ import annotations

import datetime as dt
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Optional

import msgspec

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.journal import MergedSource
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import ArchiveError, KrakenL3Error

__all__ = ["Later", "later_in"]

#: Messages that are looked at, spread evenly over all days and over each: enough for a percentile, and bounded.
_LOOKED_AT = 200_000
_ROWS_AT_ONCE = 65_536
_PERCENTILES = (1, 10, 50, 90, 99)


class Later(msgspec.Struct):
    """How much later one source received the messages that both have; the difference of their clocks is in it.

    Attributes:
        source, than: names and numbers of the two.
        messages: how many were looked at.
        p1_ns, p10_ns, p50_ns, p90_ns, p99_ns: percentiles, negative where it was earlier.
    """

    source: int
    than: int
    source_name: str
    than_name: str
    messages: int
    p1_ns: int
    p10_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int


def later_in(archive: Archive, *, most: int = _LOOKED_AT) -> list[Later]:
    """Each pair of sources of a merged archive; none for any other archive. Looks at about `most` messages."""
    names = {record.source: record.name for day in archive.days[-1:] for record in _sources(archive, day)}
    found: dict[tuple[int, int], list[int]] = {}
    paths = archive.files(parts=False)
    for path in paths:
        columns = _columns(path, most=max(1, most // len(paths))) or []
        for one, other in combinations(range(len(columns)), 2):
            differences = (its - own for own, its in zip(columns[one], columns[other]) if own and its)
            found.setdefault((one, other), []).extend(differences)
    return [
        Later(other, one, names.get(other, ""), names.get(one, ""), len(values), *_percentiles(sorted(values)))
        for (one, other), values in sorted(found.items())
        if values
    ]


def _sources(archive: Archive, day: dt.date) -> Iterator[MergedSource]:
    for record in archive.journal(day):
        if isinstance(record, MergedSource):
            yield record


def _columns(path: Path, most: int) -> Optional[list[array[int]]]:
    """For each source the receive times of up to `most` lines; None where there is no companion, or it is damaged."""
    paths = DayPaths.of(path)
    if paths is None or not paths.sources.exists():
        return None
    with suppress(KrakenL3Error), DataFile(path) as file:
        lines = len(file.receipts) if file.receipts is not None else 0
        try:
            companion = PlainFile(paths.sources)
        except ArchiveError:
            return None
        try:
            width, rest = divmod(companion.size() // 8, lines) if lines else (0, 1)
            if rest or width < 2:
                return None
            step = -(-lines // most)
            at_once = max(1, _ROWS_AT_ONCE // step) * step
            columns = [array("q") for _ in range(width - 1)]
            for first in range(0, lines, at_once):
                rows = array("q", companion.read_at(first * width * 8, at_once * width * 8))
                if sys.byteorder == "big":
                    rows.byteswap()
                for source, column in enumerate(columns):
                    column.extend(rows[source + 1 :: width * step])
            return columns
        finally:
            companion.close()
    return None


def _percentiles(values: list[int]) -> list[int]:
    last = len(values) - 1
    return [values[last * percent // 100] for percent in _PERCENTILES]
