"""One day of an archive for the page: how much was recorded when, its gaps, its verdicts, and any moment of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional

from kraken_l3.archive.checkpoints import read_heads
from kraken_l3.archive.datafile import DataFile, Position
from kraken_l3.archive.gaps import Gap, fold_gaps, gaps_within
from kraken_l3.archive.journal import ClockStep
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.manifest import read_manifest
from kraken_l3.archive.opening import content_size
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.receipts import SLACK_NS
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DataMissing, KrakenL3Error
from kraken_l3.model.decimals import format_scaled
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, day_start_ns
from kraken_l3.protocol.decoding import latest_time_ns
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.verify import verify
from kraken_l3.web.seeking import Moment, Row, Seeker
from kraken_l3.web.shared import Stopped
from kraken_l3.web.views import book_view

__all__ = ["HEAT_STEP_NS", "TILE_NS", "Day"]

NS_PER_MS = 1_000_000
#: A column of the heat map, and what is computed and kept at a time: columns of a quarter of an hour.
HEAT_STEP_NS = 15 * NS_PER_S
TILE_NS = 900 * NS_PER_S
HEAT_LEVELS = 20
#: Spacings of the strip above the slider, in seconds: the first that gives at most so many bars is taken.
_STRIP_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300)
_STRIP_BARS = 300
#: Stretches of the strip that are marked as gaps, and gaps of one symbol that are listed; of more, the newest.
_MOST_GAPS = 1_000
#: Rates and lags are those of so long before a moment, or of as much of it as these bytes hold.
_RATE_NS = 60 * NS_PER_S
_RATE_BYTES = 32 * 1024 * 1024
#: A day up to this size is verified when it is looked at; a larger one only where a manifest tells its verdicts.
MOST_VERIFIED_BYTES = 1 << 30
_STEADY_NS = NS_PER_S


class Day:
    """A data file with its companions; any thread may ask.

    Args:
        path: the data file.
        directory: the archive that it belongs to; None where it is looked at alone.
        stopping: set it to end all work with `Stopped`.
        engine_name: see `engine.choose`.
    """

    def __init__(
        self,
        path: Path,
        directory: Optional[Path] = None,
        *,
        stopping: Optional[threading.Event] = None,
        engine_name: str = "auto",
    ) -> None:
        self._stopping = stopping or threading.Event()
        self.path = path
        self._alone = Archive(path)
        self._paths = DayPaths.of(path)
        self._engine_name = engine_name
        archive = self._alone if directory is None or self._has_first_books() else Archive(directory)
        self._metadata = metadata_in(archive)
        slack_ns = SLACK_NS if self._has_clock_steps() else _STEADY_NS
        self._seeker = Seeker(
            archive, path, self._metadata, slack_ns=slack_ns, stopping=self._stopping, engine_name=engine_name
        )
        self._verdicts: Optional[dict[str, Any]] = None
        self._verified_bytes = 0
        self._counting = threading.Lock()

    def _has_first_books(self) -> bool:
        first = next(read_heads(self._paths.checkpoints), None) if self._paths is not None else None
        return first is not None and first.line == 0

    def _has_clock_steps(self) -> bool:
        return any(isinstance(record, ClockStep) for day in self._alone.days for record in self._alone.journal(day))

    # the day as a whole

    def facts(self) -> dict[str, Any]:
        """What the strip and the slider show; times in milliseconds since 1970.

        Returns:
            `start`, `end`: of the first and the last line; `step_s` and `counts`: level3 lines in each step from
            `start` on; `gaps`: (from, to, symbols, cause) of stretches in which symbols are missing; `gap_counts`: by
            symbol; `symbols`.
        """
        start_ns, end_ns, step_s, counts = self._strip()
        gaps = self._gaps(end_ns)
        return {
            "file": self.path.name,
            "start": start_ns // NS_PER_MS,
            "end": -(-end_ns // NS_PER_MS),
            "step_s": step_s,
            "counts": counts,
            "gaps": _stretches(gaps, end_ns)[-_MOST_GAPS:],
            "gap_counts": Counter(gap.symbol for gap in gaps),
            "symbols": self.symbols(),
        }

    def last_ns(self) -> int:
        """When its newest line was received (0: nothing tells)."""
        try:
            with self._seeker.receipts() as receipts:
                newest = receipts.last()
                return newest.recv_ns if newest is not None else 0
        except DataMissing:
            return 0

    def symbols(self) -> list[str]:
        """Those that the journal tells of; without one, of the data's first part."""
        told = sorted({each.symbol for each in self._metadata if each.depth is not None})
        if told:
            return told
        with DataFile(self.path) as file:
            block = next(file.blocks(), None)
        engine = make_engine(EngineOptions(), self._engine_name)
        if block is not None:
            engine.feed(block.data, 0, block.offset)
        return sorted(engine.symbols())

    def _strip(self) -> tuple[int, int, int, list[int]]:
        try:
            with self._seeker.receipts() as receipts:
                newest = receipts.last()
                if newest is None:
                    return 0, 0, 1, []
                assert self._paths is not None  # a file with receipts has a day
                day_ns = day_start_ns(self._paths.day)
                # a damaged receipt can tell any time, and each step of the strip is looked up
                start_ns, end_ns = (
                    min(max(each.recv_ns, day_ns - SLACK_NS), day_ns + NS_PER_DAY + SLACK_NS)
                    for each in (receipts[0], newest)
                )
                span_s = (end_ns - start_ns) // NS_PER_S + 1
                step_s = next((each for each in _STRIP_STEPS_S if span_s <= each * _STRIP_BARS), _STRIP_STEPS_S[-1])
                edges = range(start_ns, end_ns + step_s * NS_PER_S, step_s * NS_PER_S)
                lines = [receipts.line_at_time(edge) for edge in edges]
                return start_ns, end_ns, step_s, [later - line for line, later in zip(lines, lines[1:])]
        except DataMissing:
            return (*self._own_times(), 1, [])

    def _own_times(self) -> tuple[int, int]:
        """The first and the last time that the messages of a file without receipts state."""
        first_ns = last_ns = 0
        with DataFile(self.path) as file:
            for block in file.blocks():
                lines = block.data.splitlines()
                first_ns = first_ns or next(filter(None, map(latest_time_ns, lines)), 0)
                last_ns = max(last_ns, next(filter(None, map(latest_time_ns, reversed(lines))), 0))
        return first_ns, last_ns

    def _gaps(self, end_ns: int) -> list[Gap]:
        records = (record for day in self._alone.days for record in self._alone.journal(day))
        channel = Stream.LEVEL3.value
        return [gap for gap in gaps_within(fold_gaps(records), end_ns) if gap.channel == channel]

    # a moment

    def book(self, symbol: str, at_ns: int) -> dict[str, Any]:
        """A symbol's book (`views.book_view`), with its newest events and its gaps of the day (from, to, cause).

        Raises:
            DamageFound: the file cannot be read up to there.
            DataMissing: the symbol has nothing there.
        """
        try:
            moment = self._seeker.at(symbol, at_ns)
        except DataMissing:  # no receipts
            found = book_at(self.path, symbol, at_ns=at_ns, engine_name=self._engine_name)
            moment = Moment(found.image, found.tally, 0, [])
        gaps = [gap for gap in self._gaps(self.last_ns()) if gap.symbol == symbol]
        cause = next((gap.cause for gap in gaps if gap.holds(at_ns)), "")
        return {
            "symbol": symbol,
            "at": at_ns // NS_PER_MS,
            "recv": moment.recv_ns // NS_PER_MS,
            **book_view(moment.image, moment.tally, cause),
            "events": moment.events,
            "gaps": [[*_edges(gap, at_ns), gap.cause] for gap in gaps][-_MOST_GAPS:],
        }

    def heat(self, symbol: str, start_ns: int) -> dict[str, Any]:
        """The best levels of a quarter of an hour, a column each 15 seconds; a column in a gap is left out.

        Raises:
            DamageFound: the file cannot be read up to there.
            DataMissing: there are no receipts.
        """
        end_ns = start_ns + TILE_NS
        rows, tally = self._seeker.rows(symbol, start_ns, end_ns, HEAT_STEP_NS, HEAT_LEVELS)
        gaps = [gap for gap in self._gaps(self.last_ns()) if gap.symbol == symbol]
        rows = [row for row in rows if not any(gap.holds(row.at_ns) for gap in gaps)]
        if tally is None or tally.price_precision is None or tally.qty_precision is None:
            return {"columns": []}
        return {"columns": [_column(row, tally.price_precision, tally.qty_precision) for row in rows]}

    def rates(self, at_ns: int) -> dict[str, Any]:
        """Messages a second and lag in ms of each symbol that had messages in the minute before a moment.

        Returns:
            `seconds`: how long that was (less than a minute where there is very much data); `rows`: (symbol, rate, lag)
        """
        with self._seeker.receipts() as receipts:
            end = receipts.line_at_time(at_ns + 1)
            end_offset = receipts.start_of(end)
            begin = receipts.line_at_time(at_ns - _RATE_NS)
            if end_offset - receipts.start_of(begin) > _RATE_BYTES:
                begin = receipts.line_at_offset(end_offset - _RATE_BYTES)
            received = [receipt.recv_ns for receipt in receipts.read(begin, end - begin)]
            start = Position(begin, receipts.start_of(begin))
        seconds = min(_RATE_NS, max(NS_PER_S, at_ns - received[0])) / NS_PER_S if received else 0.0
        counts: Counter[str] = Counter()
        lags: dict[str, int] = {}
        engine = make_engine(EngineOptions(messages=True), self._engine_name)
        with DataFile(self.path) as file:
            for block in file.blocks(start, until=end_offset):
                columns = engine.feed(block.data, block.first_line, block.offset).messages
                symbols, numbers = memoryview(columns["symbol"]).cast("i"), memoryview(columns["line"]).cast("q")
                names, lines = list(engine.symbols()), block.data.splitlines()
                counts.update({names[index]: count for index, count in Counter(symbols).items() if index >= 0})
                for index, line in dict(zip(symbols, numbers)).items():  # the last line of each
                    sent_ns = latest_time_ns(lines[line - block.first_line])
                    if index >= 0 and sent_ns and line - begin < len(received):
                        lags[names[index]] = (received[line - begin] - sent_ns) // NS_PER_MS
        return {"seconds": seconds, "rows": [[s, round(n / seconds, 2), lags.get(s)] for s, n in counts.items()]}

    # verdicts

    def verdicts(self) -> dict[str, Any]:
        """How much of each symbol's day agrees with Kraken's checksums.

        Returns:
            `state`: "verified" (`symbols` has them: verified, mismatched, not verifiable), "counting" (`share` of the
            day done so far) or, in words, why there are none.
        """
        if self._verdicts is None:
            self._verdicts = self._told_verdicts()
        if self._verdicts is not None:
            return self._verdicts
        size = content_size(self.path)
        if size > MOST_VERIFIED_BYTES:
            return {"state": "not counted: the day is large; `kraken-l3 verify` or `kraken-l3 seal` does it"}
        return {"state": "counting", "share": round(min(1.0, self._verified_bytes / max(size, 1)), 3)}

    def count_verdicts(self) -> None:
        """Verify the day, unless its manifest tells the verdicts, somebody does it already, or it is too large."""
        if self.verdicts()["state"] != "counting" or not self._counting.acquire(blocking=False):
            return

        def progress(count: int) -> None:
            self._verified_bytes += count
            if self._stopping.is_set():
                raise Stopped("the page is being closed")

        try:
            found = verify(self.path, engine_name=self._engine_name, progress=progress)
            symbols = {
                name: [report.tally.ok, report.tally.mismatched + report.tally.malformed, report.unverified]
                for name, report in found.symbols.items()
            }
            self._verdicts = {"state": "verified", "symbols": symbols}
        except KrakenL3Error as error:
            self._verdicts = {"state": str(error)}
        finally:
            self._counting.release()

    def _told_verdicts(self) -> Optional[dict[str, Any]]:
        if self._paths is None:
            return None
        try:
            told = read_manifest(self._paths.manifest).contains.verdicts
            symbols = {
                str(name): [
                    counts["ok"],
                    counts["mismatched"] + counts["malformed"],
                    counts["before_snapshot"] + counts["unverifiable"],
                ]
                for name, counts in (told or {})["symbols"].items()
            }
        except (KrakenL3Error, KeyError, TypeError, AttributeError):  # none, or one that tells something else
            return None
        return {"state": "verified", "symbols": symbols}


def _edges(gap: Gap, end_ns: int) -> tuple[int, int]:
    """In milliseconds; a gap that is open ends with what is shown."""
    return gap.left_ns // NS_PER_MS, -(-(gap.right_ns or max(end_ns, gap.left_ns)) // NS_PER_MS)


def _stretches(gaps: Iterable[Gap], end_ns: int) -> list[list[Any]]:
    """Gaps that overlap as one: from, to, number of symbols, the first cause."""
    found: list[list[Any]] = []
    names: set[str] = set()
    for gap in gaps:
        left, right = _edges(gap, end_ns)
        if found and left <= found[-1][1]:
            found[-1][1] = max(found[-1][1], right)
            names.add(gap.symbol)
            found[-1][2] = len(names)
        else:
            names = {gap.symbol}
            found.append([left, right, 1, gap.cause])
    return found


def _column(row: Row, price_precision: int, qty_precision: int) -> list[Any]:
    """Time, bids, asks; a side is price and quantity in turn."""

    def texts(levels: Sequence[tuple[int, int]]) -> list[str]:
        scales = (price_precision, qty_precision)
        return [format_scaled(value, scale) for level in levels for value, scale in zip(level, scales)]

    return [row.at_ns // NS_PER_MS, texts(row.bids), texts(row.asks)]
