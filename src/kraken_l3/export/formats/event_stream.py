"""One pair's order events day by day, in columns, with the orders they met: what the other tools' formats are made of.

Each UTC day is a file of its own there, and begins with the orders that rest at midnight, so that it reads alone. Where
those are not known (midnight lies in a gap, the recording begins within the day), it begins with the first snapshot.

The clock is the receive time; without receipts, the messages' own. It never falls, and a message of unknown time
has that of the one before. Events before the first known time change the book but are in no file: they are counted.

Recorded trades come beside the events, in the order of time, with what each of them filled (`trade_stream`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

import numpy as np

from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import LARGEST_PRICE
from kraken_l3.errors import DamageFound
from kraken_l3.export.formats.numbered_ids import IdsCollide
from kraken_l3.export.formats.resting import Orders, RestingOrders
from kraken_l3.export.formats.trade_stream import NO_TRADES, StreamedTrades, TradeQueue
from kraken_l3.export.pair_spool import PairSpool
from kraken_l3.export.pairs import EventBatch, in_larger_batches, read_pairs
from kraken_l3.export.records import EVENT, Records
from kraken_l3.export.result import ExportResult
from kraken_l3.export.schema import LAST
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.model.events import Action
from kraken_l3.model.timestamps import NS_PER_DAY, day_of, day_start_ns
from kraken_l3.model.window import EVERYTHING, Window
from kraken_l3.rebuild.metadata import SymbolMetadata
from kraken_l3.rebuild.parallel import Progress
from kraken_l3.rebuild.playback import Chain

__all__ = ["DayFile", "MakeDay", "Moment", "NewDay", "Source", "Updates", "Written", "write_days"]


#: So many events wait at most until it is known what the trades between them filled. Reached where a trade's own time
#: is wrong, or the trades run far ahead of the book.
_MOST_WAITING = 1 << 18
_END_NS = (1 << 63) - 1
_LEFT_OUT = {
    "events": "the data does not say when they happened",
    "trades": "they have more decimals than the book",
}


class Source(NamedTuple):
    """One pair of an archive, over one chain of days.

    Attributes:
        progress: called with the bytes done.
        counted: gains what was read.
        window: what of the days is wanted; a day that it begins within begins with the orders that rest then.
        spool: has what was read already, with that of other pairs; `progress` and `counted` gain nothing more then.
        book: the rows wanted beside the events (see `pairs.read_pairs`).
        through: sees the batches of each reading on their way.
    """

    archive: Archive
    symbol: str
    metadata: Sequence[SymbolMetadata]
    chain: Chain
    engine: str = "auto"
    progress: Optional[Progress] = None
    counted: Optional[ExportResult] = None
    window: Window = EVERYTHING
    spool: Optional[PairSpool] = None
    book: Optional[SnapshotsTable] = None
    through: Callable[[Iterator[EventBatch]], Iterator[EventBatch]] = iter

    def batches(self) -> Iterator[EventBatch]:
        """What there is of the pair, from the beginning on."""
        if self.spool is not None:
            return self.through(self.spool.batches(self.symbol))
        counted = self.counted if self.counted is not None else ExportResult()
        read = read_pairs(
            self.archive,
            self.chain,
            [self.symbol],
            self.metadata,
            {self.symbol: counted},
            book=self.book,
            window=self.window,
            engine=self.engine,
            progress=self.progress,
        )
        return self.through(in_larger_batches(read))


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
        trade_id: of the recorded trade that filled the order (-1: none).
        after: the orders as the events leave them (before a delete or an eviction: as they rested).
        before: the same orders just before each event.
        trades: those received up to the last of these messages, and in no `Updates` before. In front of a snapshot and
            at the end of a day there may be trades without events.
    """

    recv_ns: Records
    event_ns: Records
    message: Records
    action: Records
    classification: Records
    change: Records
    trade_id: Records
    after: Orders
    before: Orders
    trades: StreamedTrades = NO_TRADES

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
        """Some more messages, and the trades between them. There may be trades alone, without any event."""

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        """A snapshot: the orders that rest now, and those before (see `RestingOrders.replace` for the last three)."""

    def finish(self) -> Written:
        """Publish; gives the names of the files."""

    def abandon(self) -> None:
        """Remove what is half written."""


class NewDay(NamedTuple):
    """What a day's file begins with: so many decimals have its prices and quantities; `salt` is for `NumberedIds`."""

    symbol: str
    date: dt.date
    price_scale: int
    qty_scale: int
    salt: int = 0


#: Begins a day's file.
MakeDay = Callable[[NewDay], DayFile]


class _Run(NamedTuple):
    """Messages of one day (None: nothing tells): one snapshot, or updates alone; or the book at midnight.

    Without records, it has the trades behind the last message of the day.

    Attributes:
        batch: where it comes from.
        trades: those that were received up to its end, and since the run before it.
    """

    day: Optional[dt.date]
    batch: EventBatch
    records: Records
    recv_ns: Records
    trade_ids: Records
    scales: tuple[int, int]
    trades: StreamedTrades = NO_TRADES

    @property
    def is_snapshot(self) -> bool:
        return bool((self.records["action"][:1] == Action.CLEAR).any())

    def without_records(self) -> _Run:
        return self._replace(records=self.records[:0], recv_ns=self.recv_ns[:0], trade_ids=self.trade_ids[:0])


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
    scales, salt = (0, 0), 0
    while True:
        counted = ExportResult()
        try:
            written = _write_days(source._replace(counted=counted), make_day, scales, salt)
        except _MoreDecimals as error:
            scales, source = error.scales, source._replace(progress=None)  # what is read again is no progress
            continue
        except IdsCollide:
            salt, source = salt + 1, source._replace(progress=None)
            continue
        if source.counted is not None:
            source.counted.add(counted)
        return written


def _write_days(source: Source, make_day: MakeDay, scales: tuple[int, int], salt: int) -> Written:
    days = _Days(source, make_day, salt)
    left_out: Counter[str] = Counter()
    try:
        for run in _with_trades(_runs(source, scales), left_out):
            if run.batch.begins_day:
                days.begin_with(run)
                continue
            if len(run.records) and int(run.recv_ns[0]) < source.window.start_ns:
                days.follow(run)
                continue
            if len(run.records) and source.window.end_ns is not None and int(run.recv_ns[0]) >= source.window.end_ns:
                run = run.without_records()  # trades up to them may have come before the window's end
            run = run._replace(trades=_within(source.window, run.trades))
            if not len(run.records) and not len(run.trades.records):
                continue
            if run.day is None:
                left_out["events"] += len(run.records)
                days.follow(run)
                continue
            days.write(run, run.day)
        days.finish()
    finally:
        days.abandon()
    for what, why in _LEFT_OUT.items():
        if left_out[what]:
            days.notes.append(f"{source.symbol}: {left_out[what]:,} {what} left out: {why}")
    return Written(days.names, days.notes)


class _Days:
    """The day files of a pair, one after the other, and the orders that rest.

    Attributes:
        names: of the files that are there.
        notes: what a person should know of them.
    """

    def __init__(self, source: Source, make_day: MakeDay, salt: int) -> None:
        self._source, self._make_day, self._salt = source, make_day, salt
        self._resting = RestingOrders()
        self._is_known_since_midnight = False
        self._file: Optional[DayFile] = None
        self._day: Optional[dt.date] = None
        self.names: list[str] = []
        self.notes: list[str] = []

    def begin_with(self, run: _Run) -> None:
        """The book at midnight; it is not known where the run has no records."""
        self._resting = RestingOrders()
        if len(run.records):
            self._resting.replace(run.records[1:], run.batch.overflow_ids)
            self._is_known_since_midnight = True

    def follow(self, run: _Run) -> None:
        """Messages that change the book and are in no file."""
        if run.is_snapshot:
            self._resting.replace(run.records[1:], run.batch.overflow_ids)
        else:
            self._resting.apply(run.records, run.batch.overflow_ids)

    def write(self, run: _Run, day: dt.date) -> None:
        """Messages and trades of a day; its file begins with the first of them."""
        file = self._file if self._file is not None and self._day == day else self._begin(run, day)
        if run.is_snapshot:
            if len(run.trades.records):
                file.updates(_trades_alone(run.trades))
            _snapshot(file, run, self._resting)
        else:
            file.updates(_updates(run, self._resting) if len(run.records) else _trades_alone(run.trades))

    def _begin(self, run: _Run, day: dt.date) -> DayFile:
        if self._file is not None:
            self.finish()
            self._is_known_since_midnight = True
        day_ns = max(day_start_ns(day), self._source.window.start_ns)
        first_ns = (run.recv_ns if len(run.records) else run.trades.recv_ns)[0]
        began_ns = day_ns if self._is_known_since_midnight else int(first_ns)
        file = self._file = self._make_day(NewDay(self._source.symbol, day, *run.scales, self._salt))
        self._day = day
        if len(self._resting) and (self._is_known_since_midnight or not run.is_snapshot):
            file.open_with(self._resting.in_order(), began_ns)
        return file

    def finish(self) -> None:
        """The last file is complete."""
        if self._file is not None:
            written = self._file.finish()
            self._file = None
            self.names += written.names
            self.notes += written.notes

    def abandon(self) -> None:
        """Remove a file that is half written."""
        if self._file is not None:
            self._file.abandon()


def _within(window: Window, trades: StreamedTrades) -> StreamedTrades:
    wanted = trades.recv_ns >= window.start_ns
    if window.end_ns is not None:
        wanted &= trades.recv_ns < window.end_ns
    return StreamedTrades(*(column[wanted] for column in trades))


def _with_trades(runs: Iterator[_Run], left_out: Counter[str]) -> Iterator[_Run]:
    """Runs with the trades up to them, once it is known what those filled; a last one of a day may have no records."""
    waiting: deque[_Run] = deque()
    last: Optional[_Run] = None
    queue = TradeQueue(None, None)

    def rest() -> Iterator[_Run]:
        while waiting:
            yield _take(waiting.popleft(), queue)
        if last is not None and last.day == last.batch.day:
            empty = last.without_records()
            trades = queue.take(empty.recv_ns, empty.scales, _END_NS)
            if len(trades.records):  # perhaps with no message of the day, but the book that it begins with
                yield empty._replace(trades=trades, batch=last.batch._replace(begins_day=False))
        left_out["trades"] += queue.left_out

    for run in runs:
        if last is None or run.batch.rows is not last.batch.rows:
            yield from rest()
            queue = TradeQueue(run.batch.rows.matcher, run.batch.day)
        last = run
        waiting.append(run)
        if not run.batch.begins_day:
            queue.saw(run.records["ts_event"], is_snapshot=run.is_snapshot)
        while waiting and (_is_sure(waiting[0], queue) or sum(len(each.records) for each in waiting) > _MOST_WAITING):
            yield _take(waiting.popleft(), queue)
    yield from rest()


def _is_sure(run: _Run, queue: TradeQueue) -> bool:
    return run.batch.begins_day or queue.is_sure_until(int(run.recv_ns[-1]))


def _take(run: _Run, queue: TradeQueue) -> _Run:
    if run.batch.begins_day or run.day != run.batch.day:
        return run
    return run._replace(trades=queue.take(run.recv_ns, run.scales, int(run.recv_ns[-1])))


def _snapshot(file: DayFile, run: _Run, resting: RestingOrders) -> None:
    records = run.records[1:]  # without the CLEAR
    before, found, successor = resting.replace(records, run.batch.overflow_ids)
    at = Moment(int(run.recv_ns[-1]), int(run.records["ts_event"][-1]))
    file.snapshot(at, _after(records, found), before, found, successor)


def _updates(run: _Run, resting: RestingOrders) -> Updates:
    records = run.records
    before = resting.apply(records, run.batch.overflow_ids)
    ends = (records["flags"] & LAST) != 0
    message = np.cumsum(ends) - ends
    columns = (records["ts_event"], message, records["action"], records["classification"], records["change"])
    return Updates(run.recv_ns, *columns, run.trade_ids, _after(records, before), before, run.trades)


def _trades_alone(trades: StreamedTrades) -> Updates:
    events, numbers = np.zeros(0, EVENT), np.zeros(0, np.int64)
    nobody = Orders(numbers, events["side"], numbers, numbers, numbers, np.zeros(0, bool), events["order_id"])
    kinds = (events["action"], events["classification"])
    return Updates(numbers, numbers, numbers, *kinds, numbers, numbers, nobody, nobody, trades)


def _after(records: Records, before: Orders) -> Orders:
    columns = (records["side"], records["price"], records["qty"], records["ts_order"])
    return Orders(before.order_id, *columns, np.ones(len(records), bool), before.ids)


def _runs(source: Source, scales: tuple[int, int]) -> Iterator[_Run]:
    """The messages with at least so many decimals."""
    is_first = True
    shown_ns = 0
    for batch in source.batches():
        # an empty first snapshot tells no precision, nor anything else
        records = batch.records[batch.records["price_scale"] >= 0]
        records["classification"], trade_ids, _ = batch.rows.match(records)
        if trade_ids is None:
            trade_ids = np.full(len(records), -1)
        if not len(records):
            if batch.begins_day:
                yield _Run(batch.day, batch, records, records["ts_recv"], trade_ids, (0, 0))
            continue
        needed = int(records["price_scale"].max()), int(records["qty_scale"].max())
        more = max(scales[0], needed[0]), max(scales[1], needed[1])
        if more != scales and not is_first:
            raise _MoreDecimals(more)
        is_first, scales = False, more
        _rescale(records, scales, source)
        # without receipts the messages tell the time, and theirs may step back; what is not known is that before
        recv_ns = np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])
        recv_ns = np.maximum(np.maximum.accumulate(recv_ns), shown_ns)
        shown_ns = int(recv_ns[-1])
        if batch.begins_day:
            yield _Run(batch.day, batch, records, recv_ns, trade_ids, scales)
            continue
        for start, end in _cuts(records, recv_ns, source.window):
            day = day_of(int(recv_ns[start])) if recv_ns[start] else None
            yield _Run(day, batch, records[start:end], recv_ns[start:end], trade_ids[start:end], scales)


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
