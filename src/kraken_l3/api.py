"""The Python API: an archive opened for research.

    import kraken_l3

    archive = kraken_l3.open("data")
    archive.symbols                                           # ["BTC/USD", "ETH/USD"]
    archive.book("BTC/USD", at="2026-11-22T14:30:00Z")        # every order, exact
    archive.events("BTC/USD").read_all()                      # an Arrow table
    polars.from_arrow(archive.snapshots("BTC/USD", every="1s", levels=10))

Moments are RFC 3339 texts, datetimes (naive: UTC) or integer nanoseconds since 1970 UTC, on the clock of reception.
`events` and `snapshots` are `pyarrow.RecordBatchReader`s: they are read as they are used, in bounded memory, and
polars, pandas and DuckDB take them by the Arrow PyCapsule interface. A reader is read once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import msgspec

from kraken_l3.archive.datafile import Line, Skipped
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive as Files
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.model.events import State
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import walk
from kraken_l3.rebuild.verify import Findings
from kraken_l3.rebuild.verify_jobs import verify

if TYPE_CHECKING:
    import pyarrow as pa

    from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["Archive", "Book", "BookLevel", "BookOrder", "Ladder", "Moment", "open_for_research"]

Moment = Union[str, int, dt.datetime]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_LAST_NS = (1 << 63) - 1
_SPANS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}


class BookOrder(NamedTuple):
    """A resting order: its id, its quantity, and its own time (ns since 1970 UTC; 0: unknown)."""

    order_id: str
    qty: Decimal
    order_ns: int


class BookLevel(NamedTuple):
    """The orders at one price in the order in which they are served."""

    price: Decimal
    orders: tuple[BookOrder, ...]

    @property
    def qty(self) -> Decimal:
        """What rests here in all."""
        return sum((order.qty for order in self.orders), Decimal(0))


class Book(NamedTuple):
    """Every order of a pair at a moment; levels best first.

    Attributes:
        symbol: the pair.
        bids: highest price first.
        asks: lowest price first.
        recv_ns: when the last message in it was received; None when nothing tells.
        verified: whether it agreed with Kraken's checksum (of the 10 best levels a side).
        gap: cause of the gap that the moment lies in; then the book is what was known before. "" otherwise.
        message: the book as a Kraken snapshot message.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    recv_ns: Optional[int]
    verified: bool
    gap: str
    message: bytes


class Ladder(NamedTuple):
    """The best levels at a moment: (price, quantity) pairs as doubles, best first."""

    timestamp_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


def open_for_research(path: Union[str, Path]) -> Archive:
    """Open an archive directory, or an NDJSON file of level3 messages by any recorder.

    Raises:
        UsageError: there is nothing of that name.
    """
    return Archive(Path(path))


class Archive:
    """An archive of any size; nothing is read until it is asked for.

    Attributes:
        path: what was opened.
        days: UTC days that have data, oldest first (empty for a file whose name tells none).
    """

    def __init__(self, path: Path, *, engine: str = "auto") -> None:
        self.path = path
        self._files: Files = open_archive(path)
        self._engine = engine
        self._facts: Optional[list[SymbolMetadata]] = None
        self._symbols: Optional[list[str]] = None

    def __repr__(self) -> str:
        return f"kraken_l3.open({str(self.path)!r})"

    @property
    def days(self) -> list[dt.date]:
        """UTC days that have data."""
        return self._files.days

    @property
    def symbols(self) -> list[str]:
        """The pairs, sorted. The journal tells them; without one the data is read through, once."""
        if self._symbols is None:
            told = {fact.symbol for fact in metadata_in(self._files) if fact.depth is not None}
            self._symbols = sorted(told or set(self._symbols_in_data()))
        return self._symbols

    def _symbols_in_data(self) -> Iterator[str]:
        from kraken_l3.engine.choose import make_engine

        engine = make_engine(EngineOptions(), self._engine)
        for _ in walk(engine, self._files, ()):
            pass
        return iter(engine.symbols())

    def messages(
        self, stream: str = "level3", *, start: Optional[Moment] = None, end: Optional[Moment] = None
    ) -> Iterator[Line]:
        """Messages as they were received: `payload` (bytes), `number`, `offset`, and `receipt` where one is.

        Args:
            stream: "level3", "trade" or "instrument".
            start: first receive time.
            end: receive time before which to stop.
        """
        start_ns = None if start is None else _ns(start)
        end_ns = _LAST_NS if end is None else _ns(end)
        for line in self._files.lines(Stream(stream), start_ns=start_ns, skipped=Skipped()):
            if line.receipt is not None and line.receipt.recv_ns >= end_ns:
                return
            yield line

    def book(self, symbol: str, at: Optional[Moment] = None) -> Book:
        """The book after all that was received at or before `at` (default: the end), from the nearest checkpoint.

        Raises:
            DataMissing: the pair has no book there.
        """
        found = book_at(self.path, symbol, at_ns=None if at is None else _ns(at), engine_name=self._engine)
        data = _decoder.decode(found.image.message).data[0]
        bids, asks = _levels(data.bids), _levels(data.asks)
        verified = found.tally.state is State.SYNCED
        return Book(symbol, bids, asks, found.recv_ns, verified, found.gap, found.image.message)

    def books(
        self,
        symbol: str,
        every: str = "1s",
        levels: int = 10,
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
    ) -> Iterator[Ladder]:
        """The rows of `snapshots`, one by one."""
        for batch in self.snapshots(symbol, every, levels, start=start, end=end):
            times, *sides = batch.columns
            columns = (times.cast("int64").to_pylist(), *(side.to_pylist() for side in sides))
            for at_ns, bid_prices, bid_qtys, ask_prices, ask_qtys in zip(*columns):
                yield Ladder(at_ns, list(zip(bid_prices, bid_qtys)), list(zip(ask_prices, ask_qtys)))

    def events(self, symbol: str, start: Optional[Moment] = None, end: Optional[Moment] = None) -> pa.RecordBatchReader:
        """Order events of a pair, in order; docs/export.md describes the columns.

        Args:
            symbol: the pair.
            start: first receive time.
            end: receive time before which to stop.

        Raises:
            DataMissing: the archive does not have the pair.
            UsageError: numpy and pyarrow are not installed.
        """
        return self._read("events", symbol, start, end)

    def snapshots(
        self,
        symbol: str,
        every: str = "1s",
        levels: int = 10,
        *,
        start: Optional[Moment] = None,
        end: Optional[Moment] = None,
        wide: bool = False,
        keep_gaps: bool = False,
    ) -> pa.RecordBatchReader:
        """Book snapshots of a pair: timestamp, bid_prices, bid_qtys, ask_prices, ask_qtys; best level first.

        Args:
            symbol: the pair.
            every: spacing on the receive clock ("1s", "100ms", ...), or "change".
            levels: price levels a side, 1 to 1000.
            start: first moment.
            end: moment before which to stop.
            wide: more columns.
            keep_gaps: keep rows over gaps, marked in a column `over_gap`.

        Raises:
            DataMissing: the archive does not have the pair.
            UsageError: numpy and pyarrow are not installed, or an argument makes no sense.
        """
        if not 1 <= levels <= 1000:
            raise UsageError(f"{levels} levels", hint="1 to 1000")
        how = {"levels": levels, "grid_ns": span_ns(every), "wide": wide, "keep_gaps": keep_gaps}
        return self._read("snapshots", symbol, start, end, **how)

    def _read(
        self, table: str, symbol: str, start: Optional[Moment], end: Optional[Moment], **how: Any
    ) -> pa.RecordBatchReader:
        try:
            from kraken_l3.export.bulk import metadata_for
            from kraken_l3.export.job import TableOptions
            from kraken_l3.export.stream import read_table
        except ImportError:
            raise UsageError(
                "tables need numpy and pyarrow", hint="pip install 'kraken-l3-recorder[research]'"
            ) from None
        if symbol not in self.symbols:
            raise DataMissing(f"there is no {symbol!r}", where=str(self.path), hint=f"Pairs: {', '.join(self.symbols)}")
        if self._facts is None:
            self._facts = metadata_for(self._files, engine=self._engine)
        options = TableOptions(table, symbols=frozenset([symbol]), **how)
        start_ns = 0 if start is None else _ns(start)
        end_ns = _LAST_NS if end is None else _ns(end)
        return read_table(self._files, options, self._facts, start_ns=start_ns, end_ns=end_ns, engine=self._engine)

    def verify(self, jobs: int = 1) -> Findings:
        """Compare every checksum; `exit_code()` of what comes back is 0 when all is well, `symbols` has the counts."""
        findings, _ = verify(self.path, engine_name=self._engine, jobs=jobs)
        return findings


class _Order(msgspec.Struct):
    order_id: str
    limit_price: Decimal
    order_qty: Decimal
    timestamp: Optional[str] = None


class _Data(msgspec.Struct):
    bids: list[_Order]
    asks: list[_Order]


class _Message(msgspec.Struct):
    data: list[_Data]


_decoder = msgspec.json.Decoder(_Message)


def _levels(orders: list[_Order]) -> tuple[BookLevel, ...]:
    levels = groupby(orders, key=lambda order: order.limit_price)
    return tuple(BookLevel(price, tuple(_order(order) for order in at_price)) for price, at_price in levels)


def _order(order: _Order) -> BookOrder:
    return BookOrder(order.order_id, order.order_qty, parse_rfc3339(order.timestamp) if order.timestamp else 0)


def _ns(moment: Moment) -> int:
    if isinstance(moment, int):
        return moment
    if isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.timezone.utc)
        since = aware - _EPOCH
        return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    try:
        return parse_rfc3339(moment)
    except ValueError as error:
        raise UsageError(str(error), hint="Write 2026-11-22T14:30:00Z") from None


def span_ns(every: str) -> Optional[int]:
    """Nanoseconds of "1s", "100ms", ...; None for "change".

    Raises:
        UsageError: it is neither.
    """
    if every == "change":
        return None
    digits = every.rstrip("numsh")
    unit = _SPANS_NS.get(every[len(digits) :])
    if unit is None or not digits.isdecimal() or not int(digits):
        raise UsageError(f"{every!r} is no time span", hint="Say 1s, 100ms, 5m, or change")
    return int(digits) * unit
