"""What an archive holds and lacks, by symbol and day: which of it may be used."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional

from kraken_l3.api.display import Stretch
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.gaps import gaps_in, gaps_within, last_receive_ns
from kraken_l3.archive.journal import Acknowledged
from kraken_l3.archive.layout import Stream, parse_name
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DamageFound, KrakenL3Error
from kraken_l3.model.events import Verdict
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Step, follows_in, play

__all__ = ["DayCoverage", "Gap", "Spans", "coverage_of", "gaps_of", "stretches", "verdicts_of"]


#: Messages, and how many of them were verified, of a day and symbol.
Verdicts = dict[tuple[Optional[dt.date], str], tuple[int, int]]


class Gap(NamedTuple):
    """A period in which data is missing, on the receive clock; both edges lie outside of it.

    Attributes:
        symbol: such as BTC/USD.
        channel: "level3" (the book) or "trade".
        cause: why, such as "network"; docs/operations.md explains each.
        left_ns: the last moment known good.
        right_ns: when the snapshot that ended it was received; None while it is open.
        seconds: its length; None while it is open.
    """

    symbol: str
    channel: str
    cause: str
    left_ns: int
    right_ns: Optional[int]
    seconds: Optional[float]


class DayCoverage(NamedTuple):
    """How much of a symbol's UTC day an archive has.

    Attributes:
        symbol: such as BTC/USD.
        day: the UTC day.
        start_ns: when its recording began on this day, on the receive clock; None without receipts.
        end_ns: until when.
        covered: share of the 24 hours for which the book is known, 0 to 1; None if no receipt tells.
        gaps: how many gaps lie in the day.
        missing_s: seconds that they take of the recording.
        messages: level3 messages of the day; None if nothing was verified.
        verified: share of them that agreed with Kraken's checksum, 0 to 1; None if there is none.
    """

    symbol: str
    day: dt.date
    start_ns: Optional[int]
    end_ns: Optional[int]
    covered: Optional[float]
    gaps: int
    missing_s: float
    messages: Optional[int] = None
    verified: Optional[float] = None


def gaps_of(files: Archive, symbol: Optional[str]) -> list[Gap]:
    """The gaps that count, by their left edges; the end of the recording is none."""
    symbols = None if symbol is None else [symbol]
    found = gaps_within(gaps_in(files, symbols=symbols), last_receive_ns(files, Stream.LEVEL3))
    return [Gap(gap.symbol, gap.channel, gap.cause, gap.left_ns, gap.right_ns, gap.seconds) for gap in found]


class Spans:
    """From when to when each day was recorded, as receipts and journals tell."""

    def __init__(self, files: Archive) -> None:
        self.days = dict(_days(files))
        self.first_ns = _first_acknowledged(files)

    def of(self, symbol: str, day: dt.date) -> Optional[tuple[int, int]]:
        """A symbol's span of a day; None if no receipt tells, empty if it was not recorded yet."""
        span = self.days.get(day)
        if span is None:
            return None
        start_ns = max(span[0], self.first_ns.get(symbol, 0))
        return min(start_ns, span[1]), span[1]


def _days(files: Archive) -> Iterator[tuple[dt.date, Optional[tuple[int, int]]]]:
    """Days with level3 data. Where the recording went on over midnight, the day reaches to it."""
    by_day: dict[dt.date, list[Path]] = defaultdict(list)
    for path in files.files():
        name = parse_name(path.name)
        if name is not None:
            by_day[name.day].append(path)
    days = list(by_day)
    begins = [follows_in(files, by_day[day][0]) for day in days]
    for day, follows, goes_on in zip(days, begins, [*begins[1:], False]):
        first, last = _receive_times(by_day[day])
        if first is None or last is None:
            yield day, None
            continue
        midnight = day_start_ns(day)
        yield day, (midnight if follows else first, midnight + NS_PER_DAY if goes_on else last)


def _receive_times(paths: Sequence[Path]) -> tuple[Optional[int], Optional[int]]:
    found = []
    for path in paths:
        with suppress(KrakenL3Error), DataFile(path) as file:  # what cannot be read has no times
            if file.receipts is not None and len(file.receipts):
                newest = file.receipts.last()
                found += [file.receipts[0].recv_ns, *([newest.recv_ns] if newest is not None else [])]
    return (min(found), max(found)) if found else (None, None)


def _first_acknowledged(files: Archive) -> dict[str, int]:
    first: dict[str, int] = {}
    for day in files.days:
        for record in files.journal(day):
            if isinstance(record, Acknowledged) and record.channel == Stream.LEVEL3.value:
                first.setdefault(record.symbol, record.at_ns)
    return first


def coverage_of(files: Archive, symbols: Sequence[str], verdicts: Optional[Verdicts]) -> list[DayCoverage]:
    """A row a symbol and day that has level3 data; without `verdicts` it does not say what was verified."""
    spans = Spans(files)
    gaps = [gap for gap in gaps_of(files, None) if gap.channel == Stream.LEVEL3.value]
    return [
        _covered(spans.of(symbol, day), symbol, day, [gap for gap in gaps if gap.symbol == symbol], verdicts)
        for symbol in symbols
        for day in sorted(spans.days)
    ]


def _covered(
    span: Optional[tuple[int, int]], symbol: str, day: dt.date, gaps: Sequence[Gap], verdicts: Optional[Verdicts]
) -> DayCoverage:
    messages, agreed = verdicts.get((day, symbol), (0, 0)) if verdicts is not None else (None, 0)
    verified = agreed / messages if messages else None
    if span is None:
        return DayCoverage(symbol, day, None, None, None, 0, 0.0, messages, verified)
    start_ns, end_ns = span
    inside = [_overlap(gap, start_ns, end_ns) for gap in gaps]
    missing_ns = sum(inside)
    covered = (end_ns - start_ns - missing_ns) / NS_PER_DAY
    count = sum(length > 0 for length in inside)
    return DayCoverage(symbol, day, start_ns, end_ns, covered, count, missing_ns / NS_PER_S, messages, verified)


def _overlap(gap: Gap, start_ns: int, end_ns: int) -> int:
    right_ns = end_ns if gap.right_ns is None else gap.right_ns
    return max(0, min(right_ns, end_ns) - max(gap.left_ns, start_ns))


def stretches(files: Archive, symbols: Sequence[str]) -> dict[str, list[Stretch]]:
    """Each symbol's time from its first moment to its last, cut at its gaps; without symbols of which none is known."""
    spans = Spans(files)
    gaps = [gap for gap in gaps_of(files, None) if gap.channel == Stream.LEVEL3.value]
    return {
        symbol: found
        for symbol in symbols
        if (found := list(_stretches(spans, symbol, [gap for gap in gaps if gap.symbol == symbol])))
    }


def _stretches(spans: Spans, symbol: str, gaps: Sequence[Gap]) -> Iterator[Stretch]:
    last_ns = 0
    for day in sorted(spans.days):
        span = spans.of(symbol, day)
        if span is None:
            continue
        start_ns, end_ns = span
        if last_ns and start_ns > last_ns and not any(_overlap(gap, last_ns, start_ns) for gap in gaps):
            yield Stretch(last_ns, start_ns, "no data")  # a day that is not here
        yield Stretch(start_ns, end_ns)
        last_ns = end_ns
    for gap in gaps:
        yield Stretch(gap.left_ns, last_ns if gap.right_ns is None else gap.right_ns, gap.cause)


def verdicts_of(
    files: Archive, metadata: Sequence[SymbolMetadata], engine_name: str, progress: Optional[Progress]
) -> Verdicts:
    """Verify everything, counted by day and symbol. Damage that hides the rest of a file hides its messages too."""
    import numpy as np

    engine = make_engine(EngineOptions(messages=True), engine_name)
    found: Verdicts = {}
    damage: list[DamageFound] = []
    for each in play(engine, files, metadata, on_damage=damage.append):
        if not isinstance(each, Step):
            continue
        if progress is not None:
            progress(len(each.block.data))
        names = list(engine.symbols())
        numbers = np.frombuffer(each.result.messages["symbol"], np.int32)
        verdicts = np.frombuffer(each.result.messages["verdict"], np.uint8)
        known = numbers >= 0  # a line that cannot be read at all has no symbol
        messages = np.bincount(numbers[known], minlength=len(names))
        verified = np.bincount(numbers[known & (verdicts == Verdict.OK)], minlength=len(names))
        for number in np.flatnonzero(messages).tolist():
            before = found.get((each.day, names[number]), (0, 0))
            found[each.day, names[number]] = before[0] + int(messages[number]), before[1] + int(verified[number])
    return found
