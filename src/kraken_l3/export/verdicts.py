"""The table `verdicts`: how every minute of a pair was verified, so that one query tells which of them may be used.

It is made beside every other table, of the messages that are verified for it.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.engine.port import Engine
from kraken_l3.export.arrow import array_of, bools_of, times_of
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.naming import part_path, printable
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.records import Judged, RecordBuilder, Records
from kraken_l3.export.schema import TIME
from kraken_l3.export.storage import Store
from kraken_l3.model.events import State, Verdict
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.playback import FileBegin, FileEnd

__all__ = ["VERDICTS_VERSION", "JudgedMinutes", "MinuteVerdicts", "judge_minutes"]

VERDICTS_VERSION = "1"
_MINUTE_NS = 60 * NS_PER_S

_SCHEMA = pa.schema(
    [
        pa.field("minute", TIME, nullable=False),
        pa.field("messages", pa.int32(), nullable=False),
        pa.field("verified", pa.int32(), nullable=False),
        pa.field("bad", pa.int32(), nullable=False),
        pa.field("unverifiable", pa.int32(), nullable=False),
        pa.field("suspect", pa.bool_(), nullable=False),
        pa.field("covered", pa.float64(), nullable=False),
        pa.field("usable", pa.bool_(), nullable=False),
    ]
)

#: Messages of one minute (or a piece of one): their number by verdict, how many left a suspect book, whether the last
#: one did, and when the first one came.
_COUNTS = np.dtype(
    [
        ("minute", "<i8"),
        ("first_ns", "<i8"),
        ("messages", "<i8"),
        ("verified", "<i8"),
        ("bad", "<i8"),
        ("suspect", "<i8"),
        ("ends_suspect", "?"),
    ]
)
#: A year: of a file of another recorder, which may hold that much.
_MOST_MINUTES = 366 * 24 * 60
_SUMS = ("messages", "verified", "bad", "suspect")


class MinuteVerdicts:
    """Counts the messages of one source file after the other by pair and minute, and writes each file's table.

    Args:
        store: where to.
        window: minutes outside of it have no row.
    """

    def __init__(self, store: Store, window: Window = EVERYTHING) -> None:
        self._store, self._window = store, window
        self._pieces: dict[str, list[Records]] = defaultdict(list)
        self._known: set[str] = set()
        self._suspect: set[str] = set()
        self._begin_ns = self._now_ns = self._last_ns = self._part = 0
        self._has_midnights = False

    def begin(self, begin: FileBegin, engine: Engine, builder: RecordBuilder) -> None:
        """A file begins; the books that are in the engine are known from there on, and suspect where they were."""
        builder.look()
        self._known = {tally.symbol for tally in engine.tallies() if tally.state is State.SYNCED}
        self._suspect = {symbol for symbol in self._known if builder.is_suspect(symbol)}
        self._has_midnights = begin.day is not None and begin.file.receipts is not None  # else nothing tells where
        midnight_ns = day_start_ns(begin.day) if begin.day is not None and self._has_midnights else 0
        newest = begin.file.receipts.last() if begin.file.receipts is not None else None
        self._last_ns = newest.recv_ns if newest is not None else 0
        self._part = begin.file.part
        self._begin_ns = max(midnight_ns, self._window.start_ns, self._now_ns if self._part else 0)

    def take(self, judged: Iterable[tuple[str, Judged]]) -> None:
        """The messages of one step, by pair."""
        for symbol, (times, verdict, suspect) in judged:
            wanted = times >= max(self._window.start_ns, 1)
            if self._window.end_ns is not None:
                wanted &= times < self._window.end_ns
            if not wanted.all():
                times, verdict, suspect = times[wanted], verdict[wanted], suspect[wanted]
            if len(times):
                self._now_ns = max(self._now_ns, int(times[-1]))
                self._pieces[symbol].append(_counted(times, verdict, suspect))

    def end(self, end: FileEnd, gaps: GapRows, *, goes_on: bool) -> None:
        """Write the tables of the file that ends here; its last day is covered to midnight where another follows."""
        until_ns = max(self._now_ns, self._last_ns)
        if goes_on and end.day is not None and self._has_midnights:
            until_ns = day_start_ns(end.day) + NS_PER_DAY
        if self._window.end_ns is not None:
            until_ns = min(until_ns, self._window.end_ns)
        for symbol, pieces in sorted(self._pieces.items()):
            counts = _merged(pieces)
            begin_ns = self._begin_ns if symbol in self._known else int(counts["first_ns"][0])
            begin_ns = begin_ns or int(counts["first_ns"][0])
            table = _table(counts, begin_ns, until_ns, gaps.of(symbol), begins_suspect=symbol in self._suspect)
            self._write(symbol, end.day, table)
        self._pieces.clear()

    def _write(self, symbol: str, day: Optional[dt.date], table: pa.Table) -> None:
        described = {"table": "verdicts", "schema_version": VERDICTS_VERSION, "symbol": printable(symbol)}
        output = ParquetOutput(self._store.begin(part_path("verdicts", symbol, day, self._part)), _SCHEMA, described)
        try:
            output.write(table)
            output.publish()
        except BaseException:
            output.abandon()
            raise


def _counted(times: Records, verdict: Records, suspect: Records) -> Records:
    minute = times // _MINUTE_NS
    starts = np.append(0, np.flatnonzero(minute[1:] != minute[:-1]) + 1)
    counts = np.zeros(len(starts), _COUNTS)
    counts["minute"], counts["first_ns"] = minute[starts], times[starts]
    counts["messages"] = np.diff(starts, append=len(times))
    counts["verified"] = np.add.reduceat((verdict == Verdict.OK).astype(np.int64), starts)
    bad = (verdict == Verdict.MISMATCH) | (verdict == Verdict.MALFORMED)
    counts["bad"] = np.add.reduceat(bad.astype(np.int64), starts)
    counts["suspect"] = np.add.reduceat(suspect.astype(np.int64), starts)
    counts["ends_suspect"] = suspect[np.append(starts[1:], len(times)) - 1]
    return counts


def _merged(pieces: Sequence[Records]) -> Records:
    """One for each minute; the pieces are in the order of time."""
    every = np.concatenate(pieces)
    starts = np.append(0, np.flatnonzero(every["minute"][1:] != every["minute"][:-1]) + 1)
    merged = every[starts]
    for name in _SUMS:
        merged[name] = np.add.reduceat(every[name], starts)
    merged["ends_suspect"] = every["ends_suspect"][np.append(starts[1:], len(every)) - 1]
    return merged


def _table(
    counts: Records, begin_ns: int, until_ns: int, gaps: Sequence[tuple[int, int]], *, begins_suspect: bool
) -> pa.Table:
    """A row for every minute from `begin_ns` to `until_ns`, also those without a message.

    A span that no recording has, as damaged receipts tell one, has rows for the minutes with messages alone.
    """
    first, last = begin_ns // _MINUTE_NS, max(int(counts["minute"][-1]), (until_ns - 1) // _MINUTE_NS)
    minutes = np.arange(first, last + 1, dtype=np.int64) if last - first < _MOST_MINUTES else counts["minute"].copy()
    at = np.searchsorted(minutes, counts["minute"])
    spread = np.zeros(len(minutes), _COUNTS)
    spread[at] = counts
    left = minutes * _MINUTE_NS
    judged = judge_minutes(left, spread, (begin_ns, max(until_ns, begin_ns)), gaps, begins_suspect=begins_suspect)
    arrays = [
        times_of(left),
        *(array_of(pa.int32(), spread[name].astype(np.int32)) for name in ("messages", "verified", "bad")),
        array_of(pa.int32(), (spread["messages"] - spread["verified"] - spread["bad"]).astype(np.int32)),
        bools_of(judged.suspect),
        array_of(pa.float64(), judged.covered),
        bools_of(judged.usable),
    ]
    return pa.table(arrays, _SCHEMA)


class JudgedMinutes(NamedTuple):
    """What can be said of each of some consecutive minutes; the columns of the table of the same names."""

    suspect: Records
    covered: Records
    usable: Records


def judge_minutes(
    left: Records,
    counts: Any,
    recorded: tuple[int, int],
    gaps: Sequence[tuple[int, int]],
    *,
    begins_suspect: bool,
) -> JudgedMinutes:
    """Which minutes of a pair may be used: those covered to the end, not suspect, with every message verified.

    Args:
        left: their beginnings, on the receive clock.
        counts: arrays by name: `messages`, `verified`, `suspect` (how many left a suspect book) and `ends_suspect`
            (whether the last one did).
        recorded: from when to when the pair's book is known, but for the gaps.
        gaps: both edges of each.
        begins_suspect: whether the book was suspect before the first minute.
    """
    # a minute without messages is suspect where the one before it left a suspect book
    numbers = np.arange(len(left))
    latest = np.maximum.accumulate(np.where(counts["messages"] > 0, numbers, -1))
    ends_suspect = np.where(latest >= 0, counts["ends_suspect"][latest], begins_suspect)
    suspect = (counts["suspect"] > 0) | ends_suspect | np.append(begins_suspect, ends_suspect[:-1])
    covered_ns = _overlap(left, *recorded).astype(float)
    for gap_left, gap_right in _united(gaps):
        covered_ns -= _overlap(left, max(gap_left, recorded[0]), min(gap_right, recorded[1]))
    usable = (covered_ns >= _MINUTE_NS) & ~suspect & (counts["verified"] == counts["messages"])
    return JudgedMinutes(suspect, np.maximum(covered_ns, 0) / _MINUTE_NS, usable)


def _overlap(left: Records, begin_ns: int, end_ns: int) -> Records:
    """How much of each minute lies between two moments."""
    return np.maximum(np.minimum(left + _MINUTE_NS, end_ns) - np.maximum(left, begin_ns), 0)


def _united(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for left, right in sorted(set(spans)):
        if found and left <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], right)
        else:
            found.append((left, right))
    return found
