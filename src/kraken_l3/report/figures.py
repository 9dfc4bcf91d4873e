"""The results of a report as plain values: what `--json` prints and the Parquet file holds."""

from __future__ import annotations

import datetime as dt
from typing import Optional

import msgspec

__all__ = ["DayReport", "GapFigure", "Quantiles", "SymbolFigures"]


class Quantiles(msgspec.Struct, frozen=True):
    """Half, 90, 99 and 99.9 of a hundred values are at most so large. Within 1.2 %."""

    p50: float
    p90: float
    p99: float
    p999: float


class GapFigure(msgspec.Struct, frozen=True):
    """A gap of the day; its edges are receive times, cut to the day. `seconds` counts what lies in the day."""

    symbol: str
    channel: str
    cause: str
    left_ns: int
    right_ns: int
    seconds: float


class SymbolFigures(msgspec.Struct, frozen=True):
    """One symbol's day.

    Attributes:
        symbol: such as BTC/USD.
        grade: see `grade`.
        usable: share of the day's minutes that can be used, 0 to 1.
        covered: share of the 24 hours for which the book is known, 0 to 1.
        gaps: how many gaps the book has in the day.
        missing_s: seconds that they take of the recording.
        messages: level3 messages.
        verified: share of them that agreed with Kraken's checksum; None without messages.
        mismatched: messages that did not.
        busiest_minute: messages in the minute with the most.
        lag_ms: from the message's own time to its receipt, in milliseconds; the error of both clocks is in it.
        early: messages received before their own time: the clock of this machine was behind.
        spread_bp: median of the spread at each full minute, in hundredths of a percent of the mid price.
        bid_depth, ask_depth: median of the ten best levels at each full minute, in the quote currency.
        added: orders that arrived.
        reentered: orders that came back into the recorded window; `reentry_share` of all that were added.
        filled, cancelled: orders whose end was seen.
        filled_life_s, cancelled_life_s: how long they had rested at their price, in seconds.
        order_size: of orders that arrived, in the base currency.
    """

    symbol: str
    grade: str
    usable: float
    covered: float
    gaps: int
    missing_s: float
    messages: int = 0
    verified: Optional[float] = None
    mismatched: int = 0
    busiest_minute: int = 0
    lag_ms: Optional[Quantiles] = None
    early: int = 0
    spread_bp: Optional[float] = None
    bid_depth: Optional[float] = None
    ask_depth: Optional[float] = None
    added: int = 0
    reentered: int = 0
    reentry_share: Optional[float] = None
    filled: int = 0
    cancelled: int = 0
    filled_life_s: Optional[Quantiles] = None
    cancelled_life_s: Optional[Quantiles] = None
    order_size: Optional[Quantiles] = None


class DayReport(msgspec.Struct, frozen=True):
    """One UTC day of an archive.

    Attributes:
        path: the archive.
        day: the UTC day.
        grade: the poorest of the symbols' grades: F if there are none.
        symbols: by name.
        gaps: by their left edges.
        connections_lost: how often a level3 connection ended, by cause.
        bytes: size of the day's files by kind ("data", "receipts", ...), as they lie on disk.
        damage: what is wrong with the files, in words.
    """

    path: str
    day: dt.date
    grade: str
    symbols: list[SymbolFigures]
    gaps: list[GapFigure]
    connections_lost: dict[str, int]
    bytes: dict[str, int]
    damage: list[str]
