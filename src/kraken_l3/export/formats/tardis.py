"""Tardis' CSV files: `incremental_book_L2`, `book_snapshot_25` and `trades`, one a pair and day.

Columns and names as https://docs.tardis.dev/downloadable-csv-files has them: microseconds since 1970, exact decimals,
amount 0 removes a level. A level that leaves the recorded window is removed likewise, since nobody sees it change then.
Kraken's level2 channel is separate: both files are what a level2 feed of this depth would have shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kraken_l3.export.formats.csv_text import csv_lines, decimals, shortest
from kraken_l3.export.formats.event_stream import Moment, NewDay, Source, Updates, Written, write_days
from kraken_l3.export.formats.gzip_file import GzipFile
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.naming import escape_symbol
from kraken_l3.export.pairs import EventBatch
from kraken_l3.export.records import Records
from kraken_l3.export.snapshots import SnapshotsTable
from kraken_l3.export.storage import Store
from kraken_l3.export.table import records_in
from kraken_l3.model.events import Side
from kraken_l3.model.timestamps import NS_PER_DAY, day_of

__all__ = ["export_tardis"]

_L2_HEAD = b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
_LEVELS = 25
_BOOK = SnapshotsTable(_LEVELS)
_TRADES_HEAD = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
_US_NS = 1000
_SIDES = pa.array(["bid", "ask"])


def export_tardis(source: Source, store: Store) -> Written:
    """All kinds of files for all days of a pair; gives their names."""
    snapshots = _Snapshots(store, source)
    try:
        both = source._replace(book=_BOOK, through=lambda batches: snapshots.write(source.through(batches)))
        changes = write_days(both, lambda day: _Changes(store, day))
        return changes._replace(names=changes.names + snapshots.finish())
    finally:
        snapshots.abandon()


def _name(kind: str, day: dt.date, symbol: str) -> str:
    return f"tardis/kraken_{kind}_{day.isoformat()}_{escape_symbol(symbol)}.csv.gz"


class _Deltas(NamedTuple):
    """Changes of levels in columns of one length, in the order in which they happened.

    Attributes:
        message: counts the messages.
        level: the price of a bid; of an ask, its bits inverted (~price).
        by: what was added to the level.
    """

    message: Records
    level: Records
    by: Records


class _Changes:
    """A day of `incremental_book_L2`, and of `trades` where there were any."""

    def __init__(self, store: Store, day: NewDay) -> None:
        self._store, self._trades_name = store, _name("trades", day.date, day.symbol)
        self._trades: Optional[GzipFile] = None
        self._file = GzipFile(store, _name("incremental_book_L2", day.date, day.symbol), _L2_HEAD)
        self._symbol = day.symbol
        self._price_scale, self._qty_scale = day.price_scale, day.qty_scale
        self._amounts: dict[int, int] = {}

    def open_with(self, resting: Orders, at_ns: int) -> None:
        self._fill(resting, at_ns, at_ns)

    def snapshot(self, at: Moment, after: Orders, before: Orders, found: Orders, successor: Records) -> None:
        self._fill(after, at.recv_ns, at.event_ns or at.recv_ns)

    def _fill(self, orders: Orders, recv_ns: int, event_ns: int) -> None:
        """All levels, in the order in which the orders name them first."""
        self._amounts.clear()
        for level, qty in zip(_levels(orders).tolist(), orders.qty.tolist()):
            self._amounts[level] = self._amounts.get(level, 0) + qty
        levels = np.array(list(self._amounts), np.int64)
        amounts = _integers(list(self._amounts.values()))
        self._rows(levels, amounts, np.full(len(levels), recv_ns), np.full(len(levels), event_ns), "true")

    def updates(self, updates: Updates) -> None:
        new = ~updates.trades.records["is_recent"]  # what Kraken repeats at a subscription had happened before
        if new.any():
            self._write_trades(updates.trades.records[new], updates.trades.recv_ns[new])
        deltas = _deltas(updates)
        levels, group = np.unique(deltas.level, return_inverse=True)
        order = np.argsort(group, kind="stable")  # each level's changes together, in turn
        group, message, by = group[order], deltas.message[order], deltas.by[order]
        carried = _integers([self._amounts.get(level, 0) for level in levels.tolist()])
        if by.dtype == object or carried.dtype == object:
            by, carried = by.astype(object), carried.astype(object)
        total = np.cumsum(by)
        new_level = np.append(True, group[1:] != group[:-1])[: len(group)]
        starts = np.flatnonzero(new_level)
        before_level = (total - by)[starts]
        amounts = total - np.repeat(before_level - carried, np.diff(starts, append=len(group)))

        first = new_level | np.append(True, message[1:] != message[:-1])[: len(group)]
        firsts = np.flatnonzero(first)
        lasts = np.append(firsts[1:], len(group))[: len(firsts)] - 1
        changed = amounts[lasts] != (amounts - by)[firsts]
        firsts, lasts = firsts[changed], lasts[changed]
        shown = np.argsort(order[firsts], kind="stable")  # a message's levels as it names them first
        firsts, lasts = firsts[shown], lasts[shown]
        event = np.searchsorted(updates.message, message[lasts])
        recv_ns, event_ns = updates.recv_ns[event], updates.event_ns[event]
        event_ns = np.where(event_ns != 0, event_ns, recv_ns)
        self._rows(levels[group[lasts]], amounts[lasts], recv_ns, event_ns, "false")

        ends = np.append(starts[1:], len(group))[: len(starts)] - 1
        for level, amount in zip(levels.tolist(), amounts[ends].tolist()):
            if amount:
                self._amounts[level] = amount
            else:
                self._amounts.pop(level, None)

    def _rows(self, levels: Records, amounts: Records, recv_ns: Records, event_ns: Records, snapshot: str) -> None:
        if not len(levels):
            return
        is_ask = levels < 0
        cells = [
            f"kraken,{self._symbol}",
            event_ns // _US_NS,
            recv_ns // _US_NS,
            snapshot,
            _SIDES.take(pa.array(is_ask.astype(np.int8))),
            decimals(np.where(is_ask, ~levels, levels), self._price_scale),
            decimals(amounts, self._qty_scale),
        ]
        self._file.write(csv_lines(cells))

    def _write_trades(self, trades: Records, recv_ns: Records) -> None:
        if self._trades is None:
            self._trades = GzipFile(self._store, self._trades_name, _TRADES_HEAD)
        cells = [
            f"kraken,{self._symbol}",
            trades["ts_event"] // _US_NS,
            recv_ns // _US_NS,
            trades["trade_id"],
            _TAKERS.take(pa.array(trades["taker_side"])),
            decimals(trades["price"], self._price_scale),
            decimals(trades["qty"], self._qty_scale),
        ]
        self._trades.write(csv_lines(cells))

    def finish(self) -> Written:
        names = [self._file.publish()]
        if self._trades is not None:
            names.append(self._trades.publish())
        return Written(names)

    def abandon(self) -> None:
        self._file.abandon()
        if self._trades is not None:
            self._trades.abandon()


#: Tardis' words for the taker, by `Side`.
_TAKERS = pa.array([{Side.BID: "buy", Side.ASK: "sell"}.get(side, "unknown") for side in sorted(Side)])


def _levels(orders: Orders) -> Records:
    return np.where(orders.side == Side.ASK, ~orders.price, orders.price)


def _integers(values: list[int]) -> Records:
    """As 64 bits, or as Python integers where a level's sum has more."""
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return np.array(values, object)


def _deltas(updates: Updates) -> _Deltas:
    """Each event takes its order from the level where it was, and puts it where it is."""
    after, before = updates.after, updates.before
    count = len(updates.action)
    takes = before.rests & (before.qty != 0)
    wanted = np.stack([takes, ~updates.gone], axis=1).reshape(-1)
    level = np.stack([_levels(before), _levels(after)], axis=1).reshape(-1)[wanted]
    by = np.stack([-before.qty, after.qty], axis=1).reshape(-1)[wanted]
    if np.abs(by.astype(float)).sum() > _SAFE:
        by = by.astype(object)
    return _Deltas(np.repeat(updates.message, 2)[wanted] if count else updates.message, level, by)


#: Sums of less than this fit 64 bits, whatever was carried.
_SAFE = float(1 << 61)


class _Snapshots:
    """`book_snapshot_25`: a row whenever the 25 best levels change."""

    def __init__(self, store: Store, source: Source) -> None:
        self._store, self._symbol, self._window = store, source.symbol, source.window
        self._names: list[str] = []
        self._file: Optional[GzipFile] = None
        self._today: Optional[dt.date] = None

    def write(self, batches: Iterator[EventBatch]) -> Iterator[EventBatch]:
        """Write the rows that stand beside events on their way; those of a reading before are done again."""
        self.abandon()
        self._names.clear()
        for batch in batches:
            if batch.book is not None:
                self._write(batch.book)
            yield batch

    def _write(self, records: Records) -> None:
        for day, of_day in _by_day(records_in(self._window, _BOOK, records)):
            if self._file is None or day != self._today:
                self._publish()
                self._today = day
                self._file = GzipFile(self._store, _name("book_snapshot_25", day, self._symbol), _SNAPSHOT_HEAD)
            self._file.write(_snapshot_lines(self._symbol, of_day))

    def _publish(self) -> None:
        if self._file is not None:
            self._names.append(self._file.publish())
            self._file = None

    def finish(self) -> list[str]:
        """Publish; gives the names of the files."""
        self._publish()
        return self._names

    def abandon(self) -> None:
        """Remove what is half written."""
        if self._file is not None:
            self._file.abandon()
            self._file = None


_CELLS = [
    f"{side}[{level}].{cell}" for level in range(_LEVELS) for side in ("asks", "bids") for cell in ("price", "amount")
]
_SNAPSHOT_HEAD = f"exchange,symbol,timestamp,local_timestamp,{','.join(_CELLS)}\n".encode()


def _by_day(records: Records) -> Iterator[tuple[dt.date, Records]]:
    records = records[records["timestamp"] != 0]  # nothing tells when
    days = records["timestamp"] // NS_PER_DAY
    starts = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(records)]
    for start, end in zip(starts, starts[1:]):
        if start < end:
            yield day_of(int(records["timestamp"][start])), records[start:end]


def _snapshot_lines(symbol: str, records: Records) -> bytes:
    """Ask price, ask amount, bid price, bid amount of each level; empty where there is none."""
    scales = np.stack([records["price_scale"], records["qty_scale"]], axis=1)
    starts = [0, *(np.flatnonzero((scales[1:] != scales[:-1]).any(axis=1)) + 1).tolist(), len(records)]
    parts = [records[start:end] for start, end in zip(starts, starts[1:])]
    return b"".join(_lines_of_one_scale(symbol, part) for part in parts)


def _lines_of_one_scale(symbol: str, records: Records) -> bytes:
    prices, amounts = (np.empty((len(records), 2 * _LEVELS), np.int64) for _ in range(2))
    for side, name in enumerate(("ask", "bid")):
        prices[:, side::2], amounts[:, side::2] = records[f"{name}_price"], records[f"{name}_qty"]
    # a level that is as in the row before has its text: few are not
    changed = np.ones(prices.shape, bool)
    changed[1:] = (prices[1:] != prices[:-1]) | (amounts[1:] != amounts[:-1])
    texts, text = _level_texts(
        prices[changed], amounts[changed], int(records["price_scale"][0]), int(records["qty_scale"][0])
    )
    last = np.maximum.accumulate(np.where(changed, np.arange(len(prices))[:, None], 0), axis=0)
    places = np.zeros(prices.shape, np.int32)
    places[changed] = text
    cells = texts.take(pa.array(places[last, np.arange(2 * _LEVELS)].reshape(-1)))
    ends = np.arange(len(prices) + 1, dtype=np.int32) * (2 * _LEVELS)
    rows = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), cells), ",")
    local_ns = records["timestamp"]
    event_ns = np.where(records["ts_event"] != 0, records["ts_event"], local_ns)
    return csv_lines([f"kraken,{symbol}", event_ns // _US_NS, local_ns // _US_NS, rows])


def _level_texts(prices: Records, amounts: Records, price_scale: int, qty_scale: int) -> tuple[pa.Array, Records]:
    """Each "price,amount" once, "," for no level, and for each level the index of its own."""
    distinct_prices, price = _distinct(prices)
    distinct_amounts, amount = _distinct(amounts)
    both, place = _distinct(price.astype(np.int64) * len(distinct_amounts) + amount)
    price, amount = np.divmod(both, len(distinct_amounts))
    price_texts = shortest(np.maximum(distinct_prices, 0), price_scale).take(pa.array(price))
    amount_texts = shortest(distinct_amounts, qty_scale).take(pa.array(amount))
    is_none = pa.array(distinct_prices[price] < 0)
    return pc.if_else(is_none, ",", pc.binary_join_element_wise(price_texts, amount_texts, ",")), place


def _distinct(values: Records) -> tuple[Records, Records]:
    """Each value once, as they come first, and for each the index of its own."""
    encoded = pa.array(values).dictionary_encode()
    distinct = np.frombuffer(encoded.dictionary.buffers()[1], np.int64, len(encoded.dictionary))
    return distinct, np.frombuffer(encoded.indices.buffers()[1], np.int32, len(values))
