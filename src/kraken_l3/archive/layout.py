"""Which file holds what: the names of an archive directory, for each UTC day.

l3-2026-11-22.ndjson         l3-2026-11-22.receipts         data of a stream, and its receipts
l3-2026-11-22-0001.ndjson                                   more data of that day, by a recorder that splits its files
follower-2026-11-22.ndjson                                  what only a second connection received, with its receipts
journal-2026-11-22.ndjson                                   what happened around the data
l3-2026-11-22.torn                                          what recovery set aside
l3-2026-11-22.checkpoints    l3-2026-11-22.manifest.json    made by the verifier, and at sealing
l3-2026-11-22.audits         trade-2026-11-22.filled        made by audits
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Optional

__all__ = [
    "AUDIT_LOCK_NAME",
    "GZIP_SUFFIX",
    "JOURNAL_PREFIX",
    "KEEP_LOCK_NAME",
    "LOCK_NAME",
    "RESERVE_NAME",
    "SEALED_SUFFIX",
    "SEAL_LOCK_NAME",
    "STATUS_NAME",
    "UPLOADS_NAME",
    "DayPaths",
    "FileName",
    "Stream",
    "data_files",
    "days_in",
    "is_archive_name",
    "parse_name",
    "stem",
]

JOURNAL_PREFIX = "journal"
LOCK_NAME = "writer.lock"
RESERVE_NAME = "disk.reserve"
SEAL_LOCK_NAME = "seal.lock"
STATUS_NAME = "recorder.status"
KEEP_LOCK_NAME = "keep.lock"
#: Which files were proved to be in which store.
UPLOADS_NAME = "uploads.ndjson"
AUDIT_LOCK_NAME = "audit.lock"

_OF_NO_DAY = (LOCK_NAME, RESERVE_NAME, SEAL_LOCK_NAME, KEEP_LOCK_NAME, AUDIT_LOCK_NAME, STATUS_NAME, UPLOADS_NAME)
#: Behind the name of a data file: sealed by us, or packed by anybody.
SEALED_SUFFIX = ".zst"
GZIP_SUFFIX = ".gz"


class Stream(str, Enum):
    """A kind of recorded messages; the value is Kraken's name of the channel, but for what only a follower received."""

    LEVEL3 = "level3"
    TRADE = "trade"
    INSTRUMENT = "instrument"
    FOLLOWER = "follower"

    @property
    def prefix(self) -> str:
        """How the names of this stream's files begin."""
        return _PREFIXES[self]


_PREFIXES = {Stream.LEVEL3: "l3", Stream.TRADE: "trade", Stream.INSTRUMENT: "instruments", Stream.FOLLOWER: "follower"}
_NAME = re.compile(r"(l3|trade|instruments|follower|journal)-([0-9]{4}-[0-9]{2}-[0-9]{2})(?:-([0-9]{4}))?\.([a-z.]+)")
#: In this order: what stands first is read, where a file is there in several ways.
_DATA_SUFFIXES = ("ndjson", "ndjson" + SEALED_SUFFIX, "ndjson" + GZIP_SUFFIX)
_COMPANION_SUFFIXES = {"receipts", "torn", "repair", "repair.tmp", "repair.refused", "checkpoints", "manifest.json"} | {
    "sources",
    "conflicts",
    "audits",
    "filled",
}


class FileName(NamedTuple):
    """A name taken apart: "l3-2026-11-22-0001.ndjson" is ("l3", that day, "ndjson", 1)."""

    prefix: str
    day: dt.date
    suffix: str
    part: int = 0

    @property
    def stream(self) -> Optional[Stream]:
        """The stream, or None for the journal."""
        return next((stream for stream, prefix in _PREFIXES.items() if prefix == self.prefix), None)

    @property
    def is_data(self) -> bool:
        """Whether it holds messages, packed or not."""
        return self.stream is not None and self.suffix in _DATA_SUFFIXES

    def continues(self, other: FileName) -> bool:
        """Whether this file of a stream begins where the other one ends: the next part of its day, or the next day."""
        if self.day == other.day:
            return self.part == other.part + 1
        return (self.day - other.day).days == 1 and self.part <= 1


def parse_name(name: str) -> Optional[FileName]:
    """The inverse of the paths of `DayPaths`, and the names of a day's further data files; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        parsed = FileName(match[1], dt.date.fromisoformat(match[2]), match[4], int(match[3] or 0))
    except ValueError:
        return None
    is_part = match[3] is not None
    return None if is_part and not (parsed.is_data and parsed.part) else parsed


def is_archive_name(name: str) -> bool:
    """Whether a directory's entry is called as a file of an archive is, so that somebody knows what it is."""
    if name.removesuffix(".tmp") in _OF_NO_DAY or name.endswith(".manifest.json"):
        return True
    parsed = parse_name(name.removesuffix(".tmp"))
    return parsed is not None and (parsed.suffix in _DATA_SUFFIXES or parsed.suffix in _COMPANION_SUFFIXES)


def data_files(names: Iterable[str], stream: str, *, parts: bool = True) -> list[str]:
    """The names of a stream's data, oldest first; of a file that is there in several ways, the one that is read.

    Without `parts` only the first file of each day: the only one that a recorder of ours writes.
    """
    found: dict[tuple[dt.date, int], tuple[int, str]] = {}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.is_data and parsed.stream == stream and (parts or not parsed.part):
            way = (_DATA_SUFFIXES.index(parsed.suffix), name)
            key = parsed.day, parsed.part
            found[key] = min(way, found.get(key, way))
    return [name for _, (_, name) in sorted(found.items())]


def stem(path: Path) -> str:
    """The part of a name that all of a day's files of a kind share, be they sealed or not: "l3-2026-11-22"."""
    return path.name.split(".")[0]


def days_in(names: Iterable[str]) -> list[dt.date]:
    """The days that have data or a journal, oldest first."""
    parsed = (parse_name(name) for name in names)
    return sorted({name.day for name in parsed if name is not None and name.suffix in _DATA_SUFFIXES})


class DayPaths(NamedTuple):
    """The paths of one day in one directory."""

    directory: Path
    day: dt.date

    @classmethod
    def of(cls, path: Path) -> Optional[DayPaths]:
        """The day that a file belongs to, and all its paths; None for a file whose name tells no day."""
        name = parse_name(path.name)
        return None if name is None else cls(path.parent, name.day)

    def path(self, prefix: str, suffix: str) -> Path:
        """Any file of the day."""
        return self.directory / f"{prefix}-{self.day.isoformat()}.{suffix}"

    def data(self, stream: str) -> Path:
        """The messages of a stream, one a line."""
        return self.path(Stream(stream).prefix, "ndjson")

    def receipts(self, stream: str) -> Path:
        """One record a line of `data`."""
        return self.path(Stream(stream).prefix, "receipts")

    def torn(self, stream: str) -> Path:
        """What recovery took out of `data`."""
        return self.path(Stream(stream).prefix, "torn")

    @property
    def journal(self) -> Path:
        """What happened around the data."""
        return self.path(JOURNAL_PREFIX, "ndjson")

    @property
    def checkpoints(self) -> Path:
        """Verified books as of a line of the level3 data."""
        return self.path(Stream.LEVEL3.prefix, "checkpoints")

    @property
    def sources(self) -> Path:
        """Of a merged archive: which source each line came from, and when the others received it."""
        return self.path(Stream.LEVEL3.prefix, "sources")

    @property
    def conflicts(self) -> Path:
        """Of a merged archive: lines that stood at the place of others that are in the data."""
        return self.path(Stream.LEVEL3.prefix, "conflicts")

    @property
    def audits(self) -> Path:
        """What audits of that day's books found; written by the audit."""
        return self.path(Stream.LEVEL3.prefix, "audits")

    @property
    def filled_trades(self) -> Path:
        """Trades of that day that were not received, from Kraken's REST API; written by the audit."""
        return self.path(Stream.TRADE.prefix, "filled")

    @property
    def manifest(self) -> Path:
        """Sums and counts, written at sealing."""
        return self.path(Stream.LEVEL3.prefix, "manifest.json")
