"""One pair's order events day by day, in columns, with the orders they met: what the other tools' formats are made of.

Each UTC day is a file of its own there, and begins with the orders that rest at midnight, so that it reads alone. Where
those are not known (midnight lies in a gap, the recording begins within the day), it begins with the first snapshot.

The clock is the receive time; without receipts, the messages' own. It never falls, and a message of unknown time
has that of the one before. Events before the first known time change the book but are in no file: they are counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, Protocol

import numpy as np

from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import LARGEST_PRICE
from kraken_l3.errors import DamageFound
from kraken_l3.export.events import EventsDay, EventsTable
from kraken_l3.export.formats.resting import Orders, RestingOrders
from kraken_l3.export.records import Records
from kraken_l3.export.result import ExportResult
from kraken_l3.export.schema import LAST
from kraken_l3.export.stream import read_chain
from kraken_l3.model.events import Action
from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain

__all__ = ["DayFile", "MakeDay", "Moment", "Source", "Updates", "Written", "write_days"]


class Source(NamedTuple):
    """One pair of an archive, over one chain of days.

    Attributes:
        progress: called with the bytes done.
        counted: gains what was read.
        window: what of the days is wanted; a day that it begins within begins with the orders that rest then.
    """

    archive: Archive
    symbol: str
    metadata: Sequence[SymbolMetadata]
    chain: Chain
    engine: str = "auto"
    progress: Optional[Progress] = None
    counted: Optional[ExportResult] = None
    window: Window = EVERYTHING


class Moment(NamedTuple):
    """When something happened: receive time (without receipts the message's own) and the message's (0: none)."""

    recv_ns: int
    event_ns: int


class Updates(NamedTuple):
    """Events of whole messages that are no snapshots, in columns of one length.

    Attributes:
        recv_ns, event_ns: as in `Moment`.
        message: counts the messages from 0.
        action, classification: as in `records.EVENT`.
        change: what the event did to the resting quantity.
        after: the orders as the events leave them (before a delete or an eviction: as they rested).
        before: the same orders just before each event.
    """

    recv_ns: Records
    event_ns: Records
    message: Records
    action: Records
    classification: Records
    change: Records
    after: Orders
    before: Orders

    @property
    def gone(self) -> Records:
        """Which events take their order out of the book."""
        return (self.action == Action.DELETE) | (self.action == Action.EVICT)


class Written(NamedTuple):
    """What came of a pair: the files' names, and what a person should know of them, a sentence each."""

    names: list[str]
    notes: Sequence[str] = ()


class DayFile(Protocol):
    """A day of one pair in some tool's format."""

    def open_with(self, resting: Orders, at_ns: int) -> None:
        """The orders that rest when the day begins, in the order of the book (called when there are any)."""

    def updates(self, updates: Updates) -> None:
        """Some more messages."""

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        """A snapshot: the orders that rest now, and those before (see `RestingOrders.replace` for the last three)."""

    def finish(self) -> Written:
        """Publish; gives the names of the files."""

    def abandon(self) -> None:
        """Remove what is half written."""


class MakeDay(Protocol):
    """Begins a `DayFile`."""

    def __call__(self, day: dt.date, price_scale: int, qty_scale: int) -> DayFile:
        """Begin a day; prices and quantities come with so many decimals."""


class _Run(NamedTuple):
    """Messages of one day (None: nothing tells): one snapshot, or updates alone; or the book at midnight."""

    day: Optional[dt.date]
    records: Records
    recv_ns: Records
    overflow_ids: Sequence[str]
    scales: tuple[int, int]
    begins_day: bool = False


class _MoreDecimals(Exception):
    """Prices and quantities need more decimals than all before them: `scales`."""

    def __init__(self, scales: tuple[int, int]) -> None:
        super().__init__(scales)
        self.scales = scales


def write_days(source: Source, make_day: MakeDay) -> Written:
    """Send all events of a pair through a format.

    No other tool's file can say that a precision changed. So all days of a chain have the most decimals that any of its
    messages needs; where a later one needs more, which is rare, all of them are written again.

    Raises:
        DamageFound: with so many decimals a number does not fit 64 bits.
    """
    scales = (0, 0)
    while True:
        counted = ExportResult()
        try:
            written = _write_days(source._replace(counted=counted), make_day, scales)
        except _MoreDecimals as error:
            scales, source = error.scales, source._replace(progress=None)  # what is read again is no progress
            continue
        if source.counted is not None:
            source.counted.add(counted)
        return written


def _write_days(source: Source, make_day: MakeDay, scales: tuple[int, int]) -> Written:
    resting = RestingOrders()
    names: list[str] = []
    notes: list[str] = []
    left_out = 0
    is_known_since_midnight = False

    def finish(file: DayFile) -> None:
        written = file.finish()
        names.extend(written.names)
        notes.extend(written.notes)

    file: Optional[DayFile] = None
    today: Optional[dt.date] = None
    try:
        for run in _runs(source, scales):
            if run.begins_day:
                resting = RestingOrders()
                if len(run.records):
                    resting.replace(run.records[1:], run.overflow_ids)
                    is_known_since_midnight = True
                continue
            is_snapshot = run.records["action"][0] == Action.CLEAR
            if int(run.recv_ns[0]) < source.window.start_ns:
                _follow(resting, run)
                continue
            if source.window.end_ns is not None and int(run.recv_ns[0]) >= source.window.end_ns:
                continue
            if run.day is None:
                left_out += len(run.records)
                _follow(resting, run)
                continue
            if file is None or run.day != today:
                if file is not None:
                    finish(file)
                    is_known_since_midnight = True
                day_ns = max(day_start_ns(run.day), source.window.start_ns)
                began_ns = day_ns if is_known_since_midnight else int(run.recv_ns[0])
                file, today = make_day(run.day, *run.scales), run.day
                if len(resting) and (is_known_since_midnight or not is_snapshot):
                    file.open_with(resting.in_order(), began_ns)
            if is_snapshot:
                _snapshot(file, run, resting)
            else:
                file.updates(_updates(run, resting))
        if file is not None:
            finish(file)
            file = None
    finally:
        if file is not None:
            file.abandon()
    if left_out:
        notes.append(f"{source.symbol}: {left_out:,} events left out: the data does not say when they happened")
    return Written(names, notes)


def _follow(resting: RestingOrders, run: _Run) -> None:
    if run.records["action"][0] == Action.CLEAR:
        resting.replace(run.records[1:], run.overflow_ids)
    else:
        resting.apply(run.records, run.overflow_ids)


def _snapshot(file: DayFile, run: _Run, resting: RestingOrders) -> None:
    records = run.records[1:]  # without the CLEAR
    before, found, successor = resting.replace(records, run.overflow_ids)
    at = Moment(int(run.recv_ns[-1]), int(run.records["ts_event"][-1]))
    file.snapshot(at, _after(records, found), before, found, successor)


def _updates(run: _Run, resting: RestingOrders) -> Updates:
    records = run.records
    before = resting.apply(records, run.overflow_ids)
    ends = (records["flags"] & LAST) != 0
    message = np.cumsum(ends) - ends
    columns = (records["ts_event"], message, records["action"], records["classification"], records["change"])
    return Updates(run.recv_ns, *columns, _after(records, before), before)


def _after(records: Records, before: Orders) -> Orders:
    columns = (records["side"], records["price"], records["qty"], records["ts_order"])
    return Orders(before.order_id, *columns, np.ones(len(records), bool), before.ids)


def _runs(source: Source, scales: tuple[int, int]) -> Iterator[_Run]:
    """The messages with at least so many decimals."""
    is_first = True
    table = EventsTable(frozenset([source.symbol]))
    for batch in read_chain(
        source.archive,
        source.chain,
        table,
        source.metadata,
        engine=source.engine,
        window=source.window,
        progress=source.progress,
        counted=source.counted,
    ):
        assert isinstance(batch.rows, EventsDay)
        records = batch.rows.keep(batch.records)
        records["classification"], _, _ = batch.rows.match(records)
        records = records[records["price_scale"] >= 0]  # an empty first snapshot tells no precision, nor anything else
        if not len(records):
            if batch.begins_day:
                yield _Run(batch.day, records, records["ts_recv"], (), (0, 0), begins_day=True)
            continue
        needed = int(records["price_scale"].max()), int(records["qty_scale"].max())
        more = max(scales[0], needed[0]), max(scales[1], needed[1])
        if more != scales and not is_first:
            raise _MoreDecimals(more)
        is_first, scales = False, more
        _rescale(records, scales, source)
        recv_ns = table.times(records)
        batch.builder.keep_rising(source.symbol, recv_ns)
        if batch.begins_day:
            yield _Run(batch.day, records, recv_ns, batch.builder.overflow_ids, scales, begins_day=True)
            continue
        for start, end in _cuts(records, recv_ns, source.window):
            day = day_of(int(recv_ns[start])) if recv_ns[start] else None
            yield _Run(day, records[start:end], recv_ns[start:end], batch.builder.overflow_ids, scales)


def _rescale(records: Records, scales: tuple[int, int], source: Source) -> None:
    for scale, name, columns in zip(scales, ("price_scale", "qty_scale"), _SCALED):
        missing = scale - records[name]
        if not missing.any():
            continue
        factors = 10 ** missing.astype(np.int64)
        for column in columns:
            if (np.abs(records[column]) > LARGEST_PRICE // factors).any():
                raise DamageFound(
                    f"the precision of {source.symbol} changes, and with {scale} decimals a {column} does not fit",
                    where=str(source.archive.path),
                    hint="Export the files before and after the change separately",
                )
            records[column] = records[column] * factors


#: Columns with the scale of prices, and with that of quantities.
_SCALED = (("price",), ("qty", "change", "qty_ahead"))


def _cuts(records: Records, recv_ns: Records, window: Window) -> Iterator[tuple[int, int]]:
    """Where the records are cut: around snapshots, where the day changes, and at the edges of the window."""
    message_starts = np.append(True, (records["flags"][:-1] & LAST) != 0)
    snapshot = (records["action"] == Action.CLEAR) & message_starts
    ends_snapshot = np.zeros(len(records), bool)
    starts = np.flatnonzero(message_starts)
    # a message after a snapshot begins a run: two snapshots may also follow one another
    after = np.append(False, snapshot[starts][:-1])
    ends_snapshot[starts[after]] = True
    days = recv_ns // NS_PER_DAY
    new_day = np.append(False, days[1:] != days[:-1])
    edges = [window.start_ns] if window.end_ns is None else [window.start_ns, window.end_ns]
    new_day[[at for at in np.searchsorted(recv_ns, edges).tolist() if 0 < at < len(records)]] = True
    bounds = [0, *np.flatnonzero(snapshot | ends_snapshot | new_day).tolist(), len(records)]
    return ((start, end) for start, end in zip(bounds, bounds[1:]) if start < end)
