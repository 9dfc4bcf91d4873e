"""Plays one UTC day and makes its report."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Optional, cast

import numpy as np

from kraken_l3.api.coverage import Spans
from kraken_l3.archive.companions import companion_damage
from kraken_l3.archive.datafile import BLOCK_BYTES
from kraken_l3.archive.gaps import Gap, gaps_in, gaps_within, last_receive_ns
from kraken_l3.archive.journal import Disconnected
from kraken_l3.archive.layout import Stream, parse_name
from kraken_l3.archive.reader import Archive, open_archive
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import Engine, EngineOptions, RowOptions
from kraken_l3.errors import UsageError
from kraken_l3.export.clock import ReceiveClock, Times
from kraken_l3.export.records import RecordBuilder
from kraken_l3.export.verdicts import judge_minutes
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import NS_PER_DAY, NS_PER_S, day_start_ns
from kraken_l3.model.window import Window
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain, FileBegin, Played, Step, chains_in
from kraken_l3.rebuild.window import play_window
from kraken_l3.report.counts import GRID_NS, LEVELS, MINUTES, DayCounts, Scales
from kraken_l3.report.figures import DayReport, GapFigure, Quantiles, SymbolFigures
from kraken_l3.report.grade import grade_of, poorest
from kraken_l3.report.histogram import Histograms

__all__ = ["Day", "report_day"]

#: Results that wait while the engine goes on: two cores are at work.
_WAITING = 2
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Day(NamedTuple):
    """What a report is made of, for the pictures.

    Attributes:
        report: the figures.
        counts: with a row for each symbol that has messages.
        rows: the row of each symbol.
        usable: for each symbol which of the day's minutes can be used.
    """

    report: DayReport
    counts: DayCounts
    rows: dict[str, int]
    usable: dict[str, Any]


def report_day(
    path: Path, day: Optional[dt.date] = None, *, engine_name: str = "auto", progress: Optional[Progress] = None
) -> Day:
    """Play one UTC day of an archive directory and report on it.

    Args:
        path: the archive directory.
        day: which day (default: the last one that is over, else the newest).
        engine_name: see `engine.choose`.
        progress: called with the bytes done.

    Raises:
        UsageError: it is no archive directory, or has nothing of that day.
    """
    archive = open_archive(path)
    if not archive.is_directory or not archive.days:
        raise UsageError("no archive directory", where=str(path), hint="Give the directory that the recorder writes to")
    if day is None:
        today = dt.datetime.now(dt.timezone.utc).date()
        day = max((each for each in archive.days if each < today), default=archive.days[-1])
    if day not in archive.days:
        raise UsageError(
            f"the archive has nothing of {day}", where=str(path), hint=f"It has {archive.days[0]} to {archive.days[-1]}"
        )
    played = _play(archive, day, engine_name, progress)
    counts, damage = played.counts, played.damage
    spans = Spans(archive)
    gaps = [gap for gap in gaps_within(gaps_in(archive), last_receive_ns(archive, Stream.LEVEL3)) if _touches(gap, day)]
    rows = {name: index for index, name in enumerate(played.names) if counts.messages[index].any()}
    subscribed = {symbol for symbol, first_ns in spans.first_ns.items() if first_ns < day_start_ns(day) + NS_PER_DAY}
    symbols, usable = [], {}
    for symbol in sorted({*rows, *subscribed, *(gap.symbol for gap in gaps)}):
        of_symbol = [gap for gap in gaps if gap.symbol == symbol and gap.channel == Stream.LEVEL3.value]
        span = spans.of(symbol, day)
        row = rows.get(symbol)
        if row is not None:
            counts.forget_books(row, [(gap.left_ns, gap.end_ns) for gap in of_symbol])
        usable[symbol] = _usable(played, symbol, row, span, of_symbol, day)
        symbols.append(_figures(symbol, counts, row, span, of_symbol, float(np.mean(usable[symbol]))))
    damage += [str(each) for each in companion_damage(archive, is_growing=True, briefly=True) if str(day) in each.file]
    grade = poorest(["F"] * any(damage) + [each.grade for each in symbols])
    sizes, losses = _bytes(path, day), _losses(archive, day)
    of_day = [_gap(gap, day) for gap in gaps]
    report = DayReport(str(path), day, grade, symbols, of_day, losses, sizes, damage)
    return Day(report, counts, rows, usable)


# -- one playback ------------------------------------------------------------------------------------------------------


class _Played(NamedTuple):
    """What came of a day.

    Attributes:
        counts: of the day.
        names: the symbols by index.
        known: those whose books were known when the day began, and whether they were suspect.
        damage: what hides data.
    """

    counts: DayCounts
    names: list[str]
    known: dict[str, bool]
    damage: list[str]


def _play(archive: Archive, day: dt.date, engine_name: str, progress: Optional[Progress]) -> _Played:
    engine = make_engine(EngineOptions(messages=True, events=True, rows=RowOptions(LEVELS, GRID_NS)), engine_name)
    builder = RecordBuilder(engine)
    found = _Played(DayCounts(day_start_ns(day)), [], {}, [])
    waiting: list[Future[None]] = []
    is_begun = False
    with ThreadPoolExecutor(1, "report") as counting:
        for each in _steps(engine, archive, day, found.damage):
            if isinstance(each, FileBegin) and not is_begun:
                is_begun = True
                builder.look()
                synced = [tally.symbol for tally in engine.tallies() if tally.state is State.SYNCED]
                found.known.update({symbol: builder.is_suspect(symbol) for symbol in synced})
            if not isinstance(each, Step):
                continue
            messages = builder.build(each).messages
            if not is_begun:  # it leads up to the day
                continue
            while len(waiting) >= _WAITING:
                waiting.pop(0).result()
            suspect = messages.suspect(np.arange(len(messages.line)))
            times = cast("Optional[Times]", each.times)
            waiting.append(counting.submit(found.counts.take, each.result, times, suspect, _scales(engine)))
            if progress is not None:
                progress(len(each.block.data))
        for future in waiting:
            future.result()
    return found._replace(names=[tally.symbol for tally in engine.tallies()])


def _steps(engine: Engine, archive: Archive, day: dt.date, damage: list[str]) -> Iterator[Played]:
    chain = _chain_of(archive, day)
    if chain is None:
        return
    start_ns = day_start_ns(day)
    yield from play_window(
        engine,
        archive,
        metadata_in(archive),
        chain,
        Window(start_ns, start_ns + NS_PER_DAY),
        clock=ReceiveClock(engine.name, grid_ns=GRID_NS),
        grid=True,
        block_bytes=BLOCK_BYTES,
        on_damage=lambda error: damage.append(str(error)),
    )


def _chain_of(archive: Archive, day: dt.date) -> Optional[Chain]:
    def is_of_day(name: str) -> bool:
        parsed = parse_name(name)
        return parsed is not None and parsed.day == day

    return next((chain for chain in chains_in(archive) if any(map(is_of_day, chain.files))), None)


def _scales(engine: Engine) -> Scales:
    tallies = engine.tallies()
    return Scales(
        np.array([tally.price_precision or 0 for tally in tallies]),
        np.array([tally.qty_precision or 0 for tally in tallies]),
    )


# -- figures -----------------------------------------------------------------------------------------------------------


def _usable(
    played: _Played,
    symbol: str,
    row: Optional[int],
    span: Optional[tuple[int, int]],
    gaps: list[Gap],
    day: dt.date,
) -> Any:
    """Which minutes of the day can be used (see `grade`)."""
    if row is None or span is None:
        return np.zeros(MINUTES, bool)
    counts = {name: getattr(played.counts, name)[row] for name in ("messages", "verified", "suspect", "ends_suspect")}
    start_ns, end_ns = span
    if symbol not in played.known:
        start_ns = max(start_ns, int(played.counts.first_ns[row]))
    return judge_minutes(
        day_start_ns(day) + np.arange(MINUTES) * GRID_NS,
        counts,
        (start_ns, max(end_ns, start_ns)),
        [(gap.left_ns, gap.end_ns) for gap in gaps],
        begins_suspect=played.known.get(symbol, False),
    ).usable


def _figures(
    symbol: str,
    counts: DayCounts,
    row: Optional[int],
    span: Optional[tuple[int, int]],
    gaps: list[Gap],
    usable: float,
) -> SymbolFigures:
    start_ns, end_ns = span if span is not None else (0, 0)
    # what lies before the day's recording or behind it is none of it already
    inside = (max(0, min(gap.end_ns, end_ns) - max(gap.left_ns, start_ns)) for gap in gaps)
    missing_s = sum(inside) / NS_PER_S
    covered = max(0.0, (end_ns - start_ns) / NS_PER_S - missing_s) / 86_400
    if row is None:
        return SymbolFigures(symbol, grade_of(usable), usable, covered, len(gaps), missing_s)
    messages = int(counts.messages[row].sum())
    added, reentered = int(counts.added[row]), int(counts.reentered[row])
    return SymbolFigures(
        symbol,
        grade_of(usable),
        usable,
        covered,
        len(gaps),
        missing_s,
        messages,
        int(counts.verified[row].sum()) / messages,
        int(counts.bad[row].sum()),
        int(counts.messages[row].max()),
        _quantiles(counts.lag, row),
        int(counts.early[row]),
        _median(1e4 * counts.spread[row]),
        _median(counts.bid_depth[row]),
        _median(counts.ask_depth[row]),
        added,
        reentered,
        reentered / (added + reentered) if added + reentered else None,
        int(counts.filled_life.counts[row].sum()),
        int(counts.cancelled_life.counts[row].sum()),
        _quantiles(counts.filled_life, row),
        _quantiles(counts.cancelled_life, row),
        _quantiles(counts.size, row),
    )


def _quantiles(values: Histograms, row: int) -> Optional[Quantiles]:
    found = values.quantiles(row, _QUANTILES)
    return None if found is None else Quantiles(*(float(f"{each:.4g}") for each in found))


def _median(values: Any) -> Optional[float]:
    known = values[~np.isnan(values)]
    return float(f"{np.median(known):.6g}") if len(known) else None


def _touches(gap: Gap, day: dt.date) -> bool:
    start_ns = day_start_ns(day)
    return gap.left_ns < start_ns + NS_PER_DAY and gap.end_ns > start_ns


def _gap(gap: Gap, day: dt.date) -> GapFigure:
    start_ns = day_start_ns(day)
    left_ns, right_ns = max(gap.left_ns, start_ns), min(gap.end_ns, start_ns + NS_PER_DAY)
    return GapFigure(gap.symbol, gap.channel, gap.cause, left_ns, right_ns, (right_ns - left_ns) / NS_PER_S)


def _losses(archive: Archive, day: dt.date) -> dict[str, int]:
    causes = Counter(record.cause for record in archive.journal(day) if isinstance(record, Disconnected))
    return dict(sorted(causes.items()))


def _bytes(path: Path, day: dt.date) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for file in path.iterdir():
        name = parse_name(file.name)
        if name is not None and name.day == day and file.is_file():
            kind = "journal" if name.stream is None else name.suffix.replace("ndjson", "data")
            sizes[kind] += file.stat().st_size
    return dict(sorted(sizes.items()))
