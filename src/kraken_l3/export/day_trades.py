"""The recorded trades of a day as columns, a pair's in one array: read once, whatever they are needed for.

Kraken sends the most recent trades when the `trade` channel is subscribed, and then each trade as it happens
(https://docs.kraken.com/api/docs/websocket-v2/trade). So a reconnect repeats some: each `trade_id` of a pair counts
once, as it came first.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any, Optional

import numpy as np

from kraken_l3.archive.datafile import DataFile, Line
from kraken_l3.archive.layout import DayPaths, Stream
from kraken_l3.archive.opening import existing
from kraken_l3.archive.reader import Archive
from kraken_l3.errors import DamageFound, DataMissing, KrakenL3Error, MalformedMessage
from kraken_l3.export.records import Records
from kraken_l3.model.decimals import decimals_in, parse_scaled
from kraken_l3.model.events import Side
from kraken_l3.model.messages import Trade
from kraken_l3.protocol.decoding import PRECISIONS, decode_trades

__all__ = ["TRADE", "DayTrades", "rescaled", "trade_records"]

#: One trade.
#:
#: ts_recv: receive time in ns, 0 without receipts; it never falls in a file, as in the tables.
#: ts_event: when Kraken says it happened, in ns.
#: price, qty: integers; the trade's price is price / 10**price_scale. All of a pair's have the same scales, unless some
#: number would not fit 64 bits so; then each has those of its text.
#: taker_side: `Side.BID` where the taker bought, `Side.ASK` where it sold, `Side.NONE` where nothing tells.
#: line: of its message in the trade file, from 0. is_recent: it came with the recent trades that Kraken sends at the
#: subscription, and may have happened long before it was received.
TRADE = np.dtype(
    [
        ("ts_recv", "<i8"),
        ("ts_event", "<i8"),
        ("price", "<i8"),
        ("qty", "<i8"),
        ("trade_id", "<i8"),
        ("line", "<i8"),
        ("price_scale", "i1"),
        ("qty_scale", "i1"),
        ("taker_side", "u1"),
        ("is_recent", "?"),
    ]
)
_TAKER = {"buy": int(Side.BID), "sell": int(Side.ASK)}
#: So many trades wait as Python objects before they become columns.
_WAITING = 1 << 15
_TOO_LARGE = 1 << 63


class DayTrades:
    """The trades of a UTC day: those of the day's trade file, in the order in which they came.

    A trade takes 52 bytes of memory once it is read; those of pairs that are not asked for take none.

    Args:
        archive: holds the file.
        day: which day.
        symbols: only these pairs; None for all.

    Attributes:
        recorded: whether there is a trade file all of which can be read.
        damage: what hides the rest of the file, or all of it; the trades in front of it are here.
        unreadable: how many messages or trades in it could not be read; `verify` and `info` say more.
    """

    def __init__(self, archive: Archive, day: dt.date, symbols: Optional[Collection[str]] = None) -> None:
        self.unreadable = 0
        self.damage: Optional[KrakenL3Error] = None
        self._wanted = None if symbols is None else frozenset(symbols)
        self._records: dict[str, Records] = {}
        path = existing(DayPaths(archive.directory, day).data(Stream.TRADE))
        self.recorded = path is not None
        if path is None:
            return
        try:
            self._read(path)
        except (DamageFound, DataMissing) as error:  # a fill whose trade cannot be read is not to look doubtful
            self.recorded, self.damage = False, error

    @property
    def symbols(self) -> list[str]:
        """The pairs that traded, sorted."""
        return sorted(self._records)

    def of(self, symbol: str) -> Records:
        """The trades of a pair (dtype `TRADE`), each once, in the order in which they came."""
        return self._records.get(symbol, np.zeros(0, TRADE))

    def _read(self, path: Path) -> None:
        needles = None if self._wanted is None else [symbol.encode("utf-8", "surrogatepass") for symbol in self._wanted]
        parts: dict[str, list[Records]] = defaultdict(list)
        waiting: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        count = recv_ns = 0
        try:
            with DataFile(path) as file:
                for line in file.lines(check=False):
                    recv_ns = max(recv_ns, line.receipt.recv_ns if line.receipt is not None else 0)
                    # decoding costs ten times as much as the look; an escaped letter may hide a name from it
                    named = needles is None or b"\\" in line.payload or any(n in line.payload for n in needles)
                    for symbol, row in self._rows(line, recv_ns) if named else ():
                        waiting[symbol].append(row)
                        count += 1
                    if count >= _WAITING:
                        _put_away(waiting, parts)
                        count = 0
        finally:
            _put_away(waiting, parts)
            self._records = {symbol: _finished(np.concatenate(found)) for symbol, found in parts.items()}

    def _rows(self, line: Line, recv_ns: int) -> list[tuple[str, tuple[Any, ...]]]:
        try:
            trades = decode_trades(line.payload)
        except MalformedMessage:
            self.unreadable += 1
            return []
        rows = []
        for trade in trades:
            if self._wanted is not None and trade.symbol not in self._wanted:
                continue
            try:
                rows.append((trade.symbol, _row(trade, recv_ns, line.number)))
            except ValueError:
                self.unreadable += 1
        return rows


def trade_records(trades: Collection[Trade]) -> Records:
    """Trades of one pair as records, each `trade_id` once; receive times and lines are 0.

    Raises:
        ValueError: a number is none, or too large.
    """
    return _finished(np.array([_row(trade, 0, 0) for trade in trades], TRADE))


def rescaled(trades: Records, price_scale: int, qty_scale: int) -> tuple[Records, Records]:
    """The same trades with so many decimals, and which of them have their numbers.

    The others need more decimals, or would not fit 64 bits so: their numbers say nothing.
    """
    trades = trades.copy()
    fits = np.ones(len(trades), bool)
    for name, scale in (("price", price_scale), ("qty", qty_scale)):
        for old in np.unique(trades[f"{name}_scale"]).tolist():
            rows = np.flatnonzero(trades[f"{name}_scale"] == old)
            values, factor = trades[name][rows], 10 ** abs(scale - old)
            if scale >= old:
                fits[rows] &= values <= (_TOO_LARGE - 1) // factor
                trades[name][rows] = values * factor
            else:
                trades[name][rows], rest = np.divmod(values, factor)
                fits[rows] &= rest == 0
        trades[f"{name}_scale"] = scale
    return trades, fits


def _row(trade: Trade, recv_ns: int, line: int) -> tuple[Any, ...]:
    """One `TRADE`.

    Raises:
        ValueError: a number is none, or too large.
    """
    price, price_scale = _scaled(trade.price)
    qty, qty_scale = _scaled(trade.qty)
    if not 0 <= trade.timestamp_ns < _TOO_LARGE:
        raise ValueError(f"time out of range: {trade.timestamp_ns}")
    side = _TAKER.get(trade.side, int(Side.NONE))
    numbers = (recv_ns, trade.timestamp_ns, price, qty, trade.trade_id, line)
    return (*numbers, price_scale, qty_scale, side, trade.is_recent)


def _scaled(text: str) -> tuple[int, int]:
    """A number as an integer, and the decimals that the integer has."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if digits.isdecimal() and digits.isascii() and len(digits) <= PRECISIONS[-1]:
        return int(digits), len(fraction)
    wire = text.encode()  # rare: an exponent, quotes, very many digits
    _, scale = decimals_in(wire)
    value = parse_scaled(wire, scale)
    if scale not in PRECISIONS or value >= _TOO_LARGE:
        raise ValueError(f"out of range: {text[:48]!r}")
    return value, scale


def _put_away(waiting: dict[str, list[tuple[Any, ...]]], parts: dict[str, list[Records]]) -> None:
    for symbol, rows in waiting.items():
        parts[symbol].append(np.array(rows, TRADE))
    waiting.clear()


def _finished(trades: Records) -> Records:
    """Each id once, and all with the most decimals that one of them has."""
    _, first = np.unique(trades["trade_id"], return_index=True)
    trades = trades[np.sort(first)]
    if not len(trades):
        return trades
    same, fits = rescaled(trades, int(trades["price_scale"].max()), int(trades["qty_scale"].max()))
    return same if fits.all() else trades
