"""Order events one message at a time, day by day, with the book beside them: what the other tools' formats are made of.

Each UTC day is a file of its own there, and begins with the orders that rest at midnight, so that it reads alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Optional, Protocol

import pyarrow as pa

from kraken_l3.archive.reader import Archive
from kraken_l3.errors import DamageFound
from kraken_l3.export.events import EventsTable
from kraken_l3.export.storage import Store
from kraken_l3.export.stream import read_table
from kraken_l3.model.timestamps import day_of, day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["BUY", "SELL", "DayFile", "Event", "NumberedIds", "Resting", "RestingOrders", "Source", "write_days"]

BUY, SELL = "bid", "ask"


class Event(NamedTuple):
    """One row of the events table."""

    recv_ns: int
    event_ns: int
    order_ns: int
    side: str
    action: str
    classification: str
    order_id: str
    price: int
    qty: int
    change: int
    trade_id: Optional[int]


class Resting(NamedTuple):
    """An order in the book."""

    side: str
    price: int
    qty: int
    order_ns: int
    arrival: int


class RestingOrders:
    """The book as events leave it: all orders by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Resting] = {}
        self._arrivals = 0

    def apply(self, event: Event) -> None:
        """Take an event in."""
        if event.action == "clear":
            self.by_id.clear()
        elif event.action in ("delete", "evict"):
            self.by_id.pop(event.order_id, None)
        else:
            before = self.by_id.get(event.order_id)
            stays = before is not None and before.price == event.price and before.order_ns == event.order_ns
            if not stays:
                self._arrivals += 1
            arrival = before.arrival if before is not None and stays else self._arrivals
            self.by_id[event.order_id] = Resting(event.side, event.price, event.qty, event.order_ns, arrival)

    def in_order(self) -> Iterator[tuple[str, Resting]]:
        """All orders: bids then asks, best level first, each level in the order in which it is served."""

        def place(item: tuple[str, Resting]) -> tuple[Any, ...]:
            order = item[1]
            is_ask = order.side == SELL
            return is_ask, order.price if is_ask else -order.price, order.order_ns, order.arrival

        return iter(sorted(self.by_id.items(), key=place))


class Source(NamedTuple):
    """One pair of an archive."""

    archive: Archive
    symbol: str
    facts: Sequence[SymbolMetadata]
    engine: str = "auto"


class DayFile(Protocol):
    """A day of one pair in some tool's format."""

    def open_with(self, book: RestingOrders, at_ns: int) -> None:
        """The orders that rest when the day begins (called when there are any)."""

    def message(self, events: Sequence[Event], before: RestingOrders) -> None:
        """The events of one message, with the book as it was before them."""

    def finish(self) -> list[str]:
        """Publish; gives the names of the files."""


class MakeDay(Protocol):
    """Begins a `DayFile`."""

    def __call__(self, day: dt.date, price_scale: int, qty_scale: int) -> DayFile:
        """Begin a day; prices and quantities come with so many decimals."""


def write_days(source: Source, make_day: MakeDay) -> list[str]:
    """Send all events of a pair through a format; gives the names of the files."""
    book = RestingOrders()
    names: list[str] = []
    file: Optional[DayFile] = None
    today: Optional[dt.date] = None
    for events, scales in _messages(source):
        day = day_of(events[0].recv_ns)
        if file is None or day != today:
            if file is not None:
                names += file.finish()
            file, today = make_day(day, *scales), day
            if book.by_id and events[0].action != "clear":
                file.open_with(book, day_start_ns(day))
        file.message(events, book)
        for event in events:
            book.apply(event)
    return names + (file.finish() if file is not None else [])


def _messages(source: Source) -> Iterator[tuple[list[Event], tuple[int, int]]]:
    """The events of each message, with the scales of prices and quantities (of the whole stream: its widest).

    Raises:
        DamageFound: a precision changed, which no other tool's file can say.
    """
    table = EventsTable(frozenset([source.symbol]))
    scales: Optional[tuple[int, int]] = None
    events: list[Event] = []
    for batch in read_table(source.archive, table, source.facts, engine=source.engine):
        for *values, flags, price_scale, qty_scale in zip(*_columns(batch)):
            if scales is None:
                scales = price_scale, qty_scale
            elif scales != (price_scale, qty_scale):
                raise DamageFound(
                    f"the precision of {source.symbol} changes within the data",
                    where=str(source.archive.path),
                    hint="Export its days from before and after apart",
                )
            events.append(Event(*values))
            if flags & _LAST:
                yield events, scales
                events = []


_LAST = 128
_NAMES = ("side", "action", "classification", "order_id", "price", "qty", "qty_change", "trade_id")


def _columns(batch: pa.RecordBatch) -> list[list[Any]]:
    event_ns = _times(batch, "ts_event")
    recv_ns = [recv or event for recv, event in zip(_times(batch, "ts_recv"), event_ns)]
    columns = [batch.column(name).to_pylist() for name in _NAMES]
    columns = [[value or 0 for value in c] if name in ("price", "qty") else c for name, c in zip(_NAMES, columns)]
    scales = [batch.column(name).to_pylist() for name in ("flags", "price_scale", "qty_scale")]
    return [recv_ns, event_ns, _times(batch, "ts_order"), *columns, *scales]


def _times(batch: pa.RecordBatch, name: str) -> list[int]:
    return [value or 0 for value in batch.column(name).cast(pa.int64()).to_pylist()]


class NumberedIds:
    """Order ids as 64-bit numbers: the same id has the same number in every file, and no two ids share one."""

    def __init__(self, bits: int = 63) -> None:
        self._shift = 64 - bits
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def __getitem__(self, order_id: str) -> int:
        number = self._numbers.get(order_id)
        if number is None:
            number = self._new(order_id)
            self._numbers[order_id] = number
            self._ids[number] = order_id
        return number

    def _new(self, order_id: str) -> int:
        for salt in range(256):
            digest = blake2b(order_id.encode(), digest_size=8, salt=bytes([salt])).digest()
            number = int.from_bytes(digest, "little") >> self._shift
            if number and number not in self._ids:
                return number
        raise AssertionError("256 collisions in a row")

    def write(self, store: Store, name: str) -> str:
        """The map beside the file that uses it: number,order_id lines, sorted."""
        output = store.begin(name)
        lines = [f"{number},{order_id}\n" for number, order_id in sorted(self._ids.items())]
        output.file.write(b"number,order_id\n" + "".join(lines).encode())
        output.publish()
        return name
