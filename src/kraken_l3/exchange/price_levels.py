"""What the channels `book` and `ticker` show, made from the feed's books. No sockets here.

Sources: https://docs.kraken.com/api/docs/websocket-v2/book, https://docs.kraken.com/api/docs/websocket-v2/ticker; for
the checksum, https://docs.kraken.com/api/docs/guides/spot-ws-book-v2. Kraken's ticker tells of the last 24 hours, this
one of the trades since the exchange began.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, Optional
from zlib import crc32

from kraken_l3.exchange.exact_json import read_exact
from kraken_l3.exchange.feed import Feed, PriceLevels
from kraken_l3.model.decimals import format_scaled

__all__ = ["BOOK_DEPTHS", "PriceBooks", "level3_depth"]

BOOK_DEPTHS = (10, 25, 100, 500, 1000)
_CHECKSUM_LEVELS = 10

_Levels = list[tuple[int, int]]


def level3_depth(offered: Iterable[int], depth: int) -> Optional[int]:
    """The smallest depth of the feed that shows so many levels; None: it has none."""
    return min((each for each in offered if each >= depth), default=None)


class _Trades(NamedTuple):
    """The trades of a pair so far, in its own decimals."""

    first: Decimal
    last: Decimal
    low: Decimal
    high: Decimal
    volume: Decimal
    value: Decimal

    def then(self, price: Decimal, qty: Decimal) -> _Trades:
        low, high = min(self.low, price), max(self.high, price)
        return _Trades(self.first, price, low, high, self.volume + qty, self.value + price * qty)


class PriceBooks:
    """The last levels that subscribers were shown, by symbol and depth, and the trades of each symbol.

    Args:
        feed: has the books.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._shown: dict[tuple[str, int], PriceLevels] = {}
        self._trades: dict[str, _Trades] = {}
        self._best: dict[str, Optional[tuple[_Levels, _Levels]]] = {}

    def forget(self) -> None:
        """The feed is at another moment: nothing was shown, and nothing traded."""
        self._shown.clear()
        self._trades.clear()
        self._best.clear()

    def snapshot(self, symbol: str, depth: int) -> Optional[bytes]:
        """The `book` snapshot of this moment; None where the book is not known yet."""
        levels = self._feed.levels(symbol, depth)
        if levels is None:
            return None
        self._shown[symbol, depth] = levels
        return _message("snapshot", symbol, levels, levels.bids, levels.asks)

    def update(self, symbol: str, depth: int) -> Optional[bytes]:
        """What changed since the last message of this symbol and depth; None: nothing, or the book is not known."""
        before = self._shown.get((symbol, depth))
        if before is None:
            return self.snapshot(symbol, depth)
        levels = self._feed.levels(symbol, depth)
        if levels is None:
            return None
        self._shown[symbol, depth] = levels
        bids = _changes(before.bids, levels.bids, depth, -1)
        asks = _changes(before.asks, levels.asks, depth, 1)
        return _message("update", symbol, levels, bids, asks) if bids or asks else None

    # ticker

    def add_trades(self, payload: bytes) -> None:
        """Count the trades of a `trade` message; one that cannot be read counts for nothing."""
        with contextlib.suppress(ValueError, KeyError, TypeError, ArithmeticError):
            for trade in read_exact(payload.decode())["data"]:
                price, qty = Decimal(str(trade["price"])), Decimal(str(trade["qty"]))
                before = self._trades.get(trade["symbol"], _Trades(price, price, price, price, Decimal(0), Decimal(0)))
                self._trades[trade["symbol"]] = before.then(price, qty)

    def has_best_changed(self, symbol: str) -> bool:
        """Whether a best price or its quantity differs from when this was asked last."""
        levels = self._feed.levels(symbol, 1)
        best = None if levels is None else (levels.bids, levels.asks)
        before, self._best[symbol] = self._best.get(symbol), best
        return best != before

    def ticker(self, kind: str, symbol: str) -> Optional[bytes]:
        """A `ticker` message ("snapshot" or "update"); None where the book is not known yet."""
        levels = self._feed.levels(symbol, 1)
        if levels is None:
            return None
        fields = {"symbol": json.dumps(symbol, ensure_ascii=False)}
        for name, side in (("bid", levels.bids), ("ask", levels.asks)):
            price, qty = side[0] if side else (0, 0)
            fields[name] = format_scaled(price, levels.price_precision)
            fields[f"{name}_qty"] = format_scaled(qty, levels.qty_precision)
        fields.update(self._traded(symbol, levels))
        fields["timestamp"] = json.dumps(levels.timestamp)
        body = ",".join(f'"{name}":{value}' for name, value in fields.items())
        return f'{{"channel":"ticker","type":"{kind}","data":[{{{body}}}]}}'.encode()

    def _traded(self, symbol: str, levels: PriceLevels) -> dict[str, str]:
        zero = Decimal(0)
        trades = self._trades.get(symbol, _Trades(zero, zero, zero, zero, zero, zero))
        price, qty = Decimal(1).scaleb(-levels.price_precision), Decimal(1).scaleb(-levels.qty_precision)
        change = trades.last - trades.first
        numbers = {
            "last": (trades.last, price),
            "volume": (trades.volume, qty),
            "vwap": (trades.value / trades.volume if trades.volume else zero, price),
            "low": (trades.low, price),
            "high": (trades.high, price),
            "change": (change, price),
            "change_pct": (100 * change / trades.first if trades.first else zero, Decimal("0.01")),
        }
        return {name: format(value.quantize(step), "f") for name, (value, step) in numbers.items()}


def _changes(before: _Levels, after: _Levels, depth: int, sign: int) -> _Levels:
    """New and changed levels, and with quantity 0 those that are gone; `sign` is 1 where the lowest price is the best.

    What a better level pushed out of a full window is not told: the client truncates.
    """
    known, now = dict(before), dict(after)
    worst = after[-1][0] * sign if len(after) == depth else None
    gone = [(price, 0) for price in known if price not in now and (worst is None or price * sign < worst)]
    return gone + [level for level in after if known.get(level[0]) != level[1]]


def _message(kind: str, symbol: str, levels: PriceLevels, bids: _Levels, asks: _Levels) -> bytes:
    precisions = levels.price_precision, levels.qty_precision
    sides = (",".join(_level(price, qty, *precisions) for price, qty in side) for side in (bids, asks))
    top = [*levels.asks[:_CHECKSUM_LEVELS], *levels.bids[:_CHECKSUM_LEVELS]]
    checksum = crc32("".join(f"{price}{qty}" for price, qty in top).encode())
    name = json.dumps(symbol, ensure_ascii=False)
    text = '"symbol":{},"bids":[{}],"asks":[{}],"checksum":{},"timestamp":"{}"'
    body = text.format(name, *sides, checksum, levels.timestamp)
    return f'{{"channel":"book","type":"{kind}","data":[{{{body}}}]}}'.encode()


def _level(price: int, qty: int, price_precision: int, qty_precision: int) -> str:
    return f'{{"price":{format_scaled(price, price_precision)},"qty":{format_scaled(qty, qty_precision)}}}'
