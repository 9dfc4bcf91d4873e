"""The table `events`: every change of every order, exactly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Optional

import numpy as np
import pyarrow as pa

from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import content_size, existing
from kraken_l3.archive.reader import Archive
from kraken_l3.engine.port import Engine, EngineOptions
from kraken_l3.export.arrow import array_of, bitmap_of, ids_of, times_of, words_of
from kraken_l3.export.day_trades import DayTrades
from kraken_l3.export.fills import Matcher
from kraken_l3.export.gap_rows import GapRows
from kraken_l3.export.records import EVENT, RecordBuilder, Records, ResultRecords
from kraken_l3.export.schema import ACTIONS, CLASSIFICATIONS, EVENTS, EVENTS_VERSION, MAYBE_BAD_BOOK, SIDES, VERDICTS
from kraken_l3.model.events import Action
from kraken_l3.model.timestamps import day_start_ns
from kraken_l3.rebuild.metadata import SymbolMetadata

__all__ = ["EventsDay", "EventsTable"]


@dataclass(frozen=True)
class EventsTable:
    """Order events; see `table.Table`.

    Attributes:
        symbols: only these; None for all.
    """

    symbols: Optional[frozenset[str]] = None
    name: ClassVar[str] = "events"
    grid_ns: ClassVar[Optional[int]] = None
    has_bars: ClassVar[bool] = False
    has_day_starts: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = EVENTS
    dtype: ClassVar[Any] = EVENT

    def description(self) -> dict[str, str]:
        """See `Table.description`."""
        return {"table": self.name, "schema_version": EVENTS_VERSION}

    def options(self) -> dict[str, Any]:
        """See `Table.options`."""
        symbols = sorted(self.symbols) if self.symbols is not None else None
        return {**self.description(), "symbols": symbols}

    def engine_options(self, part: tuple[int, int] = (0, 1), metadata: Sequence[SymbolMetadata] = ()) -> EngineOptions:
        """See `Table.engine_options`."""
        return EngineOptions(messages=True, events=True, part=part, only=self.symbols)

    def builder(self, engine: Engine) -> RecordBuilder:
        """See `Table.builder`."""
        return RecordBuilder(engine)

    def records(self, results: ResultRecords) -> Iterator[tuple[str, Records]]:
        """See `Table.records`."""
        return results.events()

    def times(self, records: Records) -> Records:
        """Receive times; the messages' own where there are none."""
        return np.where(records["ts_recv"] != 0, records["ts_recv"], records["ts_event"])

    def day(self, archive: Archive, day: Optional[dt.date], gaps: GapRows) -> Callable[[str], EventsDay]:
        """See `Table.day`."""
        trades = DayTrades(archive, day, self.symbols) if day is not None else None
        recorded = trades if trades is not None and trades.recorded else None
        return lambda symbol: EventsDay(Matcher(recorded.of(symbol)) if recorded is not None else None)

    def depends_on(self, archive: Archive, day: dt.date, before_ns: int) -> list[Any]:
        """Trades: they tell fills. Gaps over midnight: the day begins without those books."""
        trades = existing(DayPaths(archive.directory, day).data(Stream.TRADE))
        gaps = gaps_in(archive, channel=Stream.LEVEL3, symbols=self.symbols)
        over_midnight = sorted({gap.symbol for gap in gaps if gap.holds(day_start_ns(day))})
        return [content_size(trades) if trades is not None else None, over_midnight]


class EventsDay:
    """A symbol's events of a day; see `table.SymbolDay`. `matcher` finds the fills' trades, if they were recorded."""

    def __init__(self, matcher: Optional[Matcher]) -> None:
        self.matcher = matcher
        self.left_out = self.suspect = 0

    def keep(self, records: Records) -> Records:
        """See `SymbolDay.keep`."""
        self.suspect += int(np.count_nonzero(records["flags"] & MAYBE_BAD_BOOK))
        return records

    def again(self) -> EventsDay:
        """The same day, with all of its trades still to give."""
        return EventsDay(Matcher(self.matcher.trades) if self.matcher is not None else None)

    def match(self, records: Records) -> tuple[Records, Optional[Records], Optional[Records]]:
        """Classifications, trade ids (-1: none) and confidences (NaN: no fill); a trade is given only once.

        The last two are None where no trades were recorded.
        """
        if self.matcher is not None:
            return self.matcher.match(records)
        return records["classification"], None, None

    def to_arrow(self, records: Records, overflow_ids: Sequence[str]) -> pa.Table:
        """See `SymbolDay.to_arrow`."""
        action = records["action"]
        rests = action != Action.CLEAR
        there = bitmap_of(rests)
        classification, trade_ids, confidence = self.match(records)
        columns = {
            "ts_recv": times_of(records["ts_recv"]),
            "ts_event": times_of(records["ts_event"]),
            "ts_order": times_of(records["ts_order"]),
            "line": array_of(pa.int64(), records["line"]),
            "side": words_of(SIDES, records["side"]),
            "action": words_of(ACTIONS, action),
            "classification": words_of(CLASSIFICATIONS, classification),
            "order_id": ids_of(records["order_id"], overflow_ids, rests),
            "price": array_of(pa.int64(), records["price"], there),
            "price_scale": array_of(pa.int8(), records["price_scale"]),
            "qty": array_of(pa.int64(), records["qty"], there),
            "qty_change": array_of(pa.int64(), records["change"], there),
            "qty_scale": array_of(pa.int8(), records["qty_scale"]),
            "level": array_of(pa.int32(), records["level"], there),
            "queue_position": array_of(pa.int32(), records["queue_position"], there),
            "qty_ahead": array_of(pa.int64(), records["qty_ahead"], there),
            "verdict": words_of(VERDICTS, records["verdict"]),
            "flags": array_of(pa.uint8(), records["flags"]),
            "trade_id": pa.nulls(len(records), pa.int64())
            if trade_ids is None
            else array_of(pa.int64(), trade_ids, bitmap_of(trade_ids >= 0)),
            "fill_confidence": pa.nulls(len(records), pa.float32())
            if confidence is None
            else array_of(pa.float32(), confidence, bitmap_of(~np.isnan(confidence))),
        }
        return pa.table([columns[name] for name in EVENTS.names], EVENTS)
