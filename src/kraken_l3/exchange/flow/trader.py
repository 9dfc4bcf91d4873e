"""Who trades: seeded random decisions that keep a market alive, in about the mix of events seen on Kraken.

Shares are of transactions near the touch and stem from the genuine captures of 2024-11-12 that docs/exchange.md names:
in them an order is added and cancelled about equally often, one transaction in about 18 amends a price, modifies are
about one event in a hundred, and most levels hold a single order. docs/exchange.md compares the result.
"""

from __future__ import annotations

import random
from functools import lru_cache
from math import log
from typing import NamedTuple, Optional

from kraken_l3.exchange.flow.listing import Pair
from kraken_l3.exchange.flow.market import UNSORTED_ADDS, Market, Order, Side, Transaction, rfc3339

__all__ = ["Trader", "TraderProfile"]

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#: Orders join levels near the touch; further out most levels hold a single order.
_JOINED_LEVELS = 2
_HOUR_NS = 3_600_000_000_000


class TraderProfile(NamedTuple):
    """Shares of transactions, and where in the book they happen.

    Attributes:
        taker: crossing orders.
        reduce: quantity reductions without a trade.
        amend: price amends (two messages each).
        join: of the new orders, those that join a level instead of making one.
        improve: of the new orders, those inside the spread at its usual width.
        busy_levels: levels from the touch in which most happens.
        far: share of transactions anywhere in the book instead.
    """

    taker: float = 0.004
    reduce: float = 0.008
    amend: float = 0.055
    join: float = 0.06
    improve: float = 0.06
    busy_levels: int = 12
    far: float = 0.05


@lru_cache(maxsize=1)
def _syllables() -> tuple[list[str], list[str]]:
    two = [a + b for a in _ALPHABET for b in _ALPHABET]
    return two, [a + b for a in two for b in _ALPHABET]


class Trader:
    """Everybody who trades one pair.

    Args:
        pair: what is traded.
        seed: with the pair's name it decides everything but the times.
        levels: how many levels a side is kept at, about.
        now_ns: the time at which the book is first seen; resting orders are older.
        odd_numbers, unsorted_adds: see `Market`.
    """

    def __init__(
        self,
        pair: Pair,
        seed: int,
        *,
        levels: int = 40,
        now_ns: int = 0,
        profile: Optional[TraderProfile] = None,
        odd_numbers: float = 0.0,
        unsorted_adds: float = UNSORTED_ADDS,
    ) -> None:
        self.rng = random.Random(f"{seed}:{pair.symbol}")
        self.market = Market(pair, self.rng, odd_numbers=odd_numbers, unsorted_adds=unsorted_adds)
        self.profile = profile or TraderProfile()
        self.levels = 0
        self.ord_type = "limit"
        self._usual_gap = max(1.0, pair.start_ticks * 2e-5)
        self._qty_unit = max(1, 10**pair.qty_precision * 10**pair.price_precision // max(1, pair.start_ticks))
        self._amending: Optional[tuple[Side, Order]] = None
        self._worst_start = {1: pair.start_ticks, -1: -pair.start_ticks + 1 + int(self._usual_gap)}
        self.market.last_ns = now_ns
        self.market.changed_at = rfc3339(now_ns)
        self.deepen(levels)

    # decisions that recur

    def _order_id(self) -> str:
        two, three = _syllables()
        bits = self.rng.getrandbits(80)
        first = f"O{two[bits & 1023]}{three[bits >> 10 & 32767]}-{two[bits >> 25 & 1023]}"
        return f"{first}{three[bits >> 35 & 32767]}-{three[bits >> 50 & 32767]}{three[bits >> 65]}"

    def _quantity(self) -> int:
        """Log-uniform over five decades of value; about every third a round number."""
        qty = int(self._qty_unit * 10.0 ** (5.0 * self.rng.random())) + 1
        if self.rng.random() < 0.35:
            unit: int = 10 ** (len(str(qty)) - 1)
            qty = qty // unit * unit
        return qty

    def _gap(self) -> int:
        return 1 + int(-log(1.0 - self.rng.random()) * self._usual_gap)

    def _index(self, side: Side) -> int:
        profile, count = self.profile, len(side.keys)
        draw = self.rng.random()
        if self.rng.random() < profile.far:
            return int(draw * count)
        index = int(draw * profile.busy_levels)
        return index if index < count else count - 1

    def _pick(self, side: Side) -> Order:
        orders = side.levels[side.keys[self._index(side)]].orders
        return orders[-1] if len(orders) == 1 else orders[int(self.rng.random() * len(orders))]

    # the book at the start

    def deepen(self, levels: int) -> None:
        """Adds old orders behind the worst level until a side has so many levels (or prices reach the lowest tick)."""
        self.levels = max(self.levels, levels)
        for side in (self.market.bids, self.market.asks):
            while len(side.keys) < levels and self._add_behind(side):
                pass

    def _add_behind(self, side: Side) -> bool:
        worst = side.keys[-1] if side.keys else self._worst_start[side.sign]
        key = worst + self._gap()
        if key * side.sign <= 0:
            return False
        ages = sorted(
            (self.rng.randrange(1, _HOUR_NS) for _ in range(1 + int(self.rng.random() ** 12 * 4))), reverse=True
        )
        for age in ages:
            time = rfc3339(max(0, self.market.last_ns - age))
            self.market.seed(side, Order(self._order_id(), key, self._quantity(), time))
        return True

    # one transaction

    def step(self, now_ns: int, system: str = "online") -> Transaction:
        """The next thing that happens in this market.

        Args:
            now_ns: the time.
            system: the engine's status; "cancel_only" allows cancels alone, "post_only" anything but matching.
                Source: https://docs.kraken.com/api/docs/websocket-v2/status
        """
        if system == "cancel_only":
            self._amending = None  # its delete was told; the order cannot come back
            return self._cancel_any(now_ns)
        if self._amending is not None:
            return self._finish_amend(now_ns)
        rng, profile = self.rng, self.profile
        draw = rng.random()
        side = self.market.bids if rng.random() < 0.5 else self.market.asks
        if len(side.keys) < min(20, self.levels):
            return self._insert(side, now_ns)
        if draw < profile.taker and system != "post_only":
            return self._take(side is self.market.asks, now_ns)
        draw -= profile.taker
        if draw < profile.reduce:
            return self._reduce(side, now_ns)
        draw -= profile.reduce
        if draw < profile.amend:
            order = self._pick(side)
            self._amending = (side, order)
            return self.market.cancel(side, order, now_ns, amend=True)
        short = (self.levels - len(side.keys)) / self.levels
        if rng.random() < 0.5 + 0.5 * short:
            return self._insert(side, now_ns)
        return self.market.cancel(side, self._pick(side), now_ns)

    def _cancel_any(self, now_ns: int) -> Transaction:
        sides = [side for side in (self.market.bids, self.market.asks) if side.keys]
        if not sides:
            return Transaction(self.market.changed_at, None, None, [])
        side = self.rng.choice(sides)
        return self.market.cancel(side, self._pick(side), now_ns)

    def _new_key(self, side: Side) -> int:
        market, rng, profile = self.market, self.rng, self.profile
        spread = market.asks.keys[0] + market.bids.keys[0] if market.asks.keys and market.bids.keys else 0
        if spread > 1:
            wide = spread / (4.0 * self._usual_gap)
            if rng.random() < profile.improve * max(1.0, wide * wide):
                return side.keys[0] - 1 - int(rng.random() * min(spread - 1, 2.0 * self._usual_gap))
        if not side.keys:
            return self._worst_start[side.sign] + self._gap()
        if rng.random() < profile.join:
            return side.keys[min(int(rng.random() * _JOINED_LEVELS), len(side.keys) - 1)]
        key = side.keys[self._index(side)] + self._gap()
        return key if key * side.sign > 0 else side.keys[0]

    def _insert(self, side: Side, now_ns: int) -> Transaction:
        return self.market.add(side, self._order_id(), self._new_key(side), self._quantity(), now_ns)

    def _finish_amend(self, now_ns: int) -> Transaction:
        side, order = self._amending  # type: ignore[misc]  # only called while one is under way
        self._amending = None
        return self.market.add(side, order.order_id, self._new_key(side), order.qty, now_ns)

    def _reduce(self, side: Side, now_ns: int) -> Transaction:
        order = self._pick(side)
        if order.qty < 2:
            return self.market.cancel(side, order, now_ns)
        return self.market.reduce(side, order, max(1, int(order.qty * (0.2 + 0.79 * self.rng.random()))), now_ns)

    def _take(self, buys: bool, now_ns: int) -> Transaction:
        """Half of the takers fill part of the best order, the others clear a level or two; some leave a remainder."""
        other = self.market.asks if buys else self.market.bids
        levels = min(1 + int(self.rng.random() ** 2 * 2.5), len(other.keys))
        limit = other.keys[levels - 1]
        there = sum(order.qty for key in other.keys[:levels] for order in other.levels[key].orders)
        first = other.levels[other.keys[0]].orders[0].qty
        draw = self.rng.random()
        self.ord_type = "limit" if draw >= 0.75 else "market"
        if draw < 0.5 and first > 1:
            qty = max(1, int(first * self.rng.random()))
        elif draw < 0.75:
            qty = there if levels > 1 else first
        else:
            qty = there + self._quantity()
        return self.market.take(buys, self._order_id(), limit, qty, now_ns)
