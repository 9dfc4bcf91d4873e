"""One market: the orders, their matching, and the texts that subscribers of each depth see of it.

How Kraken tells a transaction, and so does this. https://docs.kraken.com/api/docs/websocket-v2/level3 has the events
and the truncation; the rest is not documented and was counted in genuine captures (docs/exchange.md names them):

- one message is one transaction; in each side's array stand deletes, then adds, then modifies
- a level that vanishes from a window brings all orders of the level that takes its place, as adds, in the same message
- a level that an insert pushes out of the window leaves without an event; the client has to truncate
- a fill deletes with quantity 0 and the match time; a partial fill or a reduction modifies and keeps the order's time
- a cancel deletes with the quantity that rested and a later time; an amend deletes with the order's own time
- the checksum covers the ten best levels of both sides, so it is the same for every depth
"""

from __future__ import annotations

import datetime as dt
import random
from bisect import bisect_left
from typing import NamedTuple, Optional
from zlib import crc32

from kraken_l3.exchange.feed import PriceLevels
from kraken_l3.exchange.flow.listing import Pair

__all__ = ["CHECKSUM_LEVELS", "UNSORTED_ADDS", "Level", "Market", "Order", "Side", "Transaction", "rfc3339"]

CHECKSUM_LEVELS = 10
_NS_PER_S = 1_000_000_000
_EPOCH = dt.datetime(1970, 1, 1)
#: Kraken writes the adds of a revealed level out of queue order now and then: 3 of 136 in the genuine capture.
UNSORTED_ADDS = 3 / 136

_second = (-1, "")


def rfc3339(ns: int) -> str:
    """Nine fractional digits and Z, as on the wire. The text of the current second is kept."""
    global _second
    seconds, fraction = divmod(ns, _NS_PER_S)
    known = _second
    if known[0] != seconds:
        known = _second = (seconds, (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S."))
    return f"{known[1]}{fraction:09d}Z"


class Order:
    """A resting order. `key` is its side's sort key; `body` the JSON of its entry behind the event."""

    __slots__ = ("body", "digits", "key", "order_id", "qty", "time")

    def __init__(self, order_id: str, key: int, qty: int, time: str) -> None:
        self.order_id = order_id
        self.key = key
        self.qty = qty
        self.time = time
        self.body = ""
        self.digits = ""


class Level:
    """The orders at one price, oldest first; `token` is its part of the checksum's input, None when it must be made."""

    __slots__ = ("digits", "orders", "text", "token")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digits = text.replace(".", "").lstrip("0")
        self.orders: list[Order] = []
        self.token: Optional[str] = None


class Side:
    """One side; the sort key of a price is the price for asks and its negative for bids, so the best comes first."""

    __slots__ = ("changed", "keys", "levels", "sign", "text")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.changed = True
        self.text = b""

    def top(self) -> bytes:
        """The checksum's input: price and quantity digits of every order in the ten best levels."""
        if self.changed:
            tokens = []
            for key in self.keys[:CHECKSUM_LEVELS]:
                level = self.levels[key]
                if level.token is None:
                    price = level.digits
                    level.token = "".join([price + order.digits for order in level.orders])
                tokens.append(level.token)
            self.text = "".join(tokens).encode()
            self.changed = False
        return self.text


class _Part:
    """What a transaction did to one side; indices count levels from the best."""

    __slots__ = ("added", "deleted", "emptied", "modified")

    def __init__(self) -> None:
        self.deleted: list[tuple[int, str]] = []
        self.emptied: list[int] = []
        self.added: Optional[tuple[int, Order]] = None
        self.modified: Optional[tuple[int, Order]] = None


class Trade(NamedTuple):
    """One execution against a resting order."""

    price: str
    qty: str
    trade_id: int


class Transaction(NamedTuple):
    """One step of the engine: the time it carries, what it did, and the executions of its taker."""

    time: str
    bids: Optional[_Part]
    asks: Optional[_Part]
    trades: list[Trade]
    taker: str = ""


class Market:
    """The book of one pair with its operations; each returns the transaction, to be rendered for any depth at once.

    Args:
        pair: what is traded.
        odd_numbers: share of prices and quantities written with an exponent or in quotes, for robustness tests.
        unsorted_adds: share of revealed levels whose orders are sent out of time order.
        rng: where the odd numbers and the unsorted adds come from.
    """

    def __init__(
        self, pair: Pair, rng: random.Random, *, odd_numbers: float = 0.0, unsorted_adds: float = UNSORTED_ADDS
    ) -> None:
        self.pair = pair
        self.bids = Side(-1)
        self.asks = Side(1)
        self.trade_id = 0
        self.last_ns = 0
        self.changed_at = rfc3339(0)
        self._rng = rng
        self._odd = odd_numbers
        self._unsorted_adds = unsorted_adds
        self._price_scale = 10**pair.price_precision
        self._qty_scale = 10**pair.qty_precision
        self._crc = 0
        self._zero_qty = self._qty_text(0)
        self._head = f'{{"channel":"level3","type":"update","data":[{{"symbol":"{pair.symbol}","checksum":'
        self._snapshot_head = self._head.replace('"update"', '"snapshot"', 1)

    # numbers as text

    def _price_text(self, ticks: int) -> str:
        precision = self.pair.price_precision
        if not precision:
            return str(ticks)
        return f"{ticks // self._price_scale}.{ticks % self._price_scale:0{precision}d}"

    def _qty_text(self, qty: int) -> str:
        precision = self.pair.qty_precision
        if not precision:
            return str(qty)
        return f"{qty // self._qty_scale}.{qty % self._qty_scale:0{precision}d}"

    def _wire(self, text: str) -> str:
        """The text as sent: itself, or now and then an equal number in another notation."""
        if not self._odd or self._rng.random() >= self._odd:
            return text
        if self._rng.random() < 0.2:
            return f'"{text}"'
        whole, _, fraction = text.partition(".")
        digits = (whole + fraction).lstrip("0") or "0"
        mantissa = digits.rstrip("0") or "0"
        exponent = len(digits) - len(mantissa) - len(fraction)
        return f"{mantissa}{self._rng.choice('eE')}{exponent:+03d}"

    def _write(self, order: Order, price: str) -> None:
        qty = self._qty_text(order.qty)
        order.digits = qty.replace(".", "").lstrip("0")
        if self._odd:
            price, qty = self._wire(price), self._wire(qty)
        order.body = (
            f'"order_id":"{order.order_id}","limit_price":{price},"order_qty":{qty},"timestamp":"{order.time}"}}'
        )

    # the book

    def tick(self, now_ns: int, apart_ns: int = 1) -> str:
        """The time of the next thing that happens: now, but always later than what happened before."""
        self.last_ns = now_ns if now_ns > self.last_ns + apart_ns else self.last_ns + apart_ns
        return rfc3339(self.last_ns)

    def _insert(self, side: Side, order: Order) -> int:
        """Puts the order behind its level's others; the level's index."""
        key = order.key
        level = side.levels.get(key)
        index = bisect_left(side.keys, key)
        if level is None:
            level = side.levels[key] = Level(self._price_text(key * side.sign))
            side.keys.insert(index, key)
        self._write(order, level.text)
        level.orders.append(order)
        level.token = None
        if index < CHECKSUM_LEVELS:
            side.changed = True
        return index

    def _remove(self, side: Side, order: Order, part: _Part, entry: str) -> None:
        level = side.levels[order.key]
        index = bisect_left(side.keys, order.key)
        level.orders.remove(order)
        level.token = None
        part.deleted.append((index + len(part.emptied), entry))
        if not level.orders:
            part.emptied.append(index + len(part.emptied))
            del side.levels[order.key]
            del side.keys[index]
        if index < CHECKSUM_LEVELS:
            side.changed = True

    def _resize(self, side: Side, order: Order, qty: int, part: _Part) -> None:
        level = side.levels[order.key]
        index = bisect_left(side.keys, order.key)
        order.qty = qty
        self._write(order, level.text)
        level.token = None
        part.modified = (index + len(part.emptied), order)
        if index < CHECKSUM_LEVELS:
            side.changed = True

    def _close(self, side: Side, part: _Part, time: str) -> Transaction:
        self.changed_at = time
        return Transaction(time, part, None, []) if side is self.bids else Transaction(time, None, part, [])

    # operations

    def seed(self, side: Side, order: Order) -> None:
        """An order that was there before anybody looked."""
        self._insert(side, order)

    def add(self, side: Side, order_id: str, key: int, qty: int, now_ns: int) -> Transaction:
        """A new order (or an amended one coming back) rests; the caller sees to it that it does not cross."""
        time = self.tick(now_ns)
        order = Order(order_id, key, qty, time)
        part = _Part()
        part.added = (self._insert(side, order), order)
        return self._close(side, part, time)

    def cancel(self, side: Side, order: Order, now_ns: int, *, amend: bool = False) -> Transaction:
        """The order goes, its quantity unfilled. With `amend` the entry carries the order's own time."""
        time = self.tick(now_ns)
        part = _Part()
        entry = order.body if amend else order.body.replace(order.time, time)
        self._remove(side, order, part, entry)
        return self._close(side, part, time)

    def reduce(self, side: Side, order: Order, qty: int, now_ns: int) -> Transaction:
        """The quantity shrinks in place; time and priority stay."""
        time = self.tick(now_ns)
        part = _Part()
        self._resize(side, order, qty, part)
        return self._close(side, part, time)

    def take(self, buys: bool, order_id: str, limit_key: int, qty: int, now_ns: int) -> Transaction:
        """An order that crosses: fills against the best levels up to `limit_key` (of the other side), the rest stays.

        A remainder of a marketable limit order rests at its limit on its own side; the maker deletes carry later times.
        """
        own, other = (self.bids, self.asks) if buys else (self.asks, self.bids)
        arrived = time = self.tick(now_ns)
        hit, placed = _Part(), None
        trades: list[Trade] = []
        while qty and other.keys and other.keys[0] <= limit_key:
            level = other.levels[other.keys[0]]
            maker = level.orders[0]
            filled = min(qty, maker.qty)
            qty -= filled
            self.trade_id += 1
            trades.append(Trade(level.text, self._qty_text(filled), self.trade_id))
            time = self.tick(0, self._rng.randrange(9, 30))
            if filled == maker.qty:
                price, zero = self._wire(level.text), self._wire(self._zero_qty)
                self._remove(other, maker, hit, self._filled_entry(maker, price, zero, time))
            else:
                self._resize(other, maker, maker.qty - filled, hit)
        if qty:
            rest = Order(order_id, -limit_key, qty, arrived)
            placed = _Part()
            placed.added = (self._insert(own, rest), rest)
        self.changed_at = time
        bids, asks = (placed, hit) if buys else (hit, placed)
        return Transaction(time, bids, asks, trades, "buy" if buys else "sell")

    @staticmethod
    def _filled_entry(order: Order, price: str, zero: str, time: str) -> str:
        return f'"order_id":"{order.order_id}","limit_price":{price},"order_qty":{zero},"timestamp":"{time}"}}'

    # what subscribers see

    def levels(self, depth: int) -> PriceLevels:
        """The best price levels of both sides."""
        bids, asks = (
            [(key * side.sign, sum(order.qty for order in side.levels[key].orders)) for key in side.keys[:depth]]
            for side in (self.bids, self.asks)
        )
        return PriceLevels(bids, asks, self.pair.price_precision, self.pair.qty_precision, self.changed_at)

    def checksum(self) -> int:
        """CRC-32 over the ten best levels, asks then bids."""
        if self.asks.changed or self.bids.changed:
            self._crc = crc32(self.bids.top(), crc32(self.asks.top()))
        return self._crc

    def update(self, done: Transaction, depth: int) -> Optional[bytes]:
        """The message that a subscriber of this depth gets of the transaction; None when it touched nothing in view."""
        bids = self._entries(self.bids, done.bids, depth) if done.bids else ""
        asks = self._entries(self.asks, done.asks, depth) if done.asks else ""
        if not bids and not asks:
            return None
        crc = self.checksum()
        return f'{self._head}{crc},"bids":[{bids}],"asks":[{asks}],"timestamp":"{done.time}"}}]}}'.encode()

    def _entries(self, side: Side, part: _Part, depth: int) -> str:
        entries = ['{"event":"delete",' + entry for index, entry in part.deleted if index < depth]
        if part.added is not None and part.added[0] < depth:
            entries.append('{"event":"add",' + part.added[1].body)
        revealed = sum([index < depth for index in part.emptied])
        if revealed:
            for key in side.keys[depth - revealed : depth]:
                entries += ['{"event":"add",' + order.body for order in self._as_sent(side.levels[key].orders)]
        if part.modified is not None and part.modified[0] < depth:
            entries.append('{"event":"modify",' + part.modified[1].body)
        return ",".join(entries)

    def _as_sent(self, orders: list[Order]) -> list[Order]:
        if len(orders) == 1 or self._rng.random() >= self._unsorted_adds:
            return orders
        return self._rng.sample(orders, len(orders))

    def snapshot(self, depth: int) -> bytes:
        """The book's first `depth` levels as a snapshot message; its timestamp is that of the last change."""
        bids, asks = (
            ",".join(["{" + o.body for key in side.keys[:depth] for o in side.levels[key].orders])
            for side in (self.bids, self.asks)
        )
        crc = self.checksum()
        text = f'{self._snapshot_head}{crc},"bids":[{bids}],"asks":[{asks}],"timestamp":"{self.changed_at}"}}]}}'
        return text.encode()

    def trade_entries(self, done: Transaction, ord_type: str) -> list[str]:
        """A taker's executions as elements of the `trade` channel's array (microseconds there)."""
        head = f'{{"symbol":"{self.pair.symbol}","side":"{done.taker}","price":'
        tail = f'"ord_type":"{ord_type}","trade_id":'
        time = f'"timestamp":"{done.time[:-4]}Z"}}'
        return [f'{head}{t.price},"qty":{t.qty},{tail}{t.trade_id},{time}' for t in done.trades]

    def trade_message(self, done: Transaction, ord_type: str) -> bytes:
        """The `trade` message of a taker's executions."""
        entries = ",".join(self.trade_entries(done, ord_type))
        return f'{{"channel":"trade","type":"update","data":[{entries}]}}'.encode()
