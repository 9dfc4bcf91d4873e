"""Order flow behind the exchange's port: many markets on the exchange's clock."""

from __future__ import annotations

import random
from bisect import bisect
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Optional, Union

from kraken_l3.exchange.feed import Message, PriceLevels
from kraken_l3.exchange.flow.generate import popularity
from kraken_l3.exchange.flow.listing import assets, listing
from kraken_l3.exchange.flow.market import UNSORTED_ADDS, Transaction
from kraken_l3.exchange.flow.trader import Trader, TraderProfile

__all__ = ["OrderFlow"]

DEPTHS = (10, 100, 1000)
_RECENT_TRADES = 50
_BATCH = 500
_NS_PER_S = 1_000_000_000
#: After a stop (a busy machine, a debugger) the flow goes on instead of catching up on more than this.
_CATCH_UP_NS = 2 * _NS_PER_S
#: A transaction outside every window makes no message; so many are tried for one.
_TRIES = 40


class OrderFlow:
    """A feed of made-up trading.

    Args:
        symbols: how many, or names; see `listing`.
        rate: level3 messages a second over all symbols; 0 is silence, `inf` as fast as they are taken.
        seed: decides everything but the times, and the share of flow that each symbol has.
        odd_numbers: share of numbers written with an exponent or in quotes.
        unsorted_adds: share of revealed levels whose orders are sent out of time order; by default as seen on Kraken.
        profile: what traders do; by default near the touch, and further down once somebody watches that.
        now_ns: the wall time at the start.
    """

    def __init__(
        self,
        symbols: Union[int, list[str], tuple[str, ...]] = ("BTC/USD", "ETH/USD"),
        *,
        rate: float = 50.0,
        seed: int = 0,
        odd_numbers: float = 0.0,
        unsorted_adds: float = UNSORTED_ADDS,
        profile: Optional[TraderProfile] = None,
        now_ns: int = 0,
    ) -> None:
        pairs = listing(symbols if isinstance(symbols, int) else list(symbols))
        self.rate = rate
        self.traders = {
            pair.symbol: Trader(
                pair, seed, now_ns=now_ns, profile=profile, odd_numbers=odd_numbers, unsorted_adds=unsorted_adds
            )
            for pair in pairs
        }
        self._records = {pair.symbol: pair.record for pair in pairs}
        self._own_profile = profile is not None
        self._watched: dict[str, Counter[int]] = {symbol: Counter() for symbol in self.traders}
        self._recent: dict[str, deque[str]] = {symbol: deque(maxlen=_RECENT_TRADES) for symbol in self.traders}
        self._order = list(self.traders.values())
        self._shares = popularity(len(self._order))
        self._rng = random.Random(seed)
        self._next_ns: Optional[float] = None
        self._system = "online"

    # what is traded

    def instruments(self) -> Mapping[str, str]:
        """See `Feed.instruments`."""
        return self._records

    def assets(self) -> str:
        """See `Feed.assets`."""
        return assets()

    def depths(self, symbol: str) -> Collection[int]:
        """See `Feed.depths`."""
        return DEPTHS

    # subscriptions

    def watch(self, symbol: str, depth: int) -> None:
        """See `Feed.watch`. A deeper window than before makes the book deeper, out of everybody's sight."""
        self._watched[symbol][depth] += 1
        trader = self.traders[symbol]
        trader.deepen(depth + max(20, depth // 4))
        if depth > 10 and not self._own_profile:
            trader.profile = trader.profile._replace(far=0.3)

    def unwatch(self, symbol: str, depth: int) -> None:
        """See `Feed.unwatch`."""
        watched = self._watched[symbol]
        watched[depth] -= 1
        if not watched[depth]:
            del watched[depth]

    def snapshot(self, symbol: str, depth: int) -> bytes:
        """See `Feed.snapshot`."""
        return self.traders[symbol].market.snapshot(depth)

    def levels(self, symbol: str, depth: int) -> PriceLevels:
        """See `Feed.levels`."""
        return self.traders[symbol].market.levels(depth)

    def recent_trades(self, symbol: str) -> Optional[bytes]:
        """See `Feed.recent_trades`."""
        entries = ",".join(self._recent[symbol])
        return f'{{"channel":"trade","type":"snapshot","data":[{entries}]}}'.encode() if entries else None

    # the flow

    def set_system(self, system: str) -> None:
        """See `Feed.set_system`. Nothing happens in "maintenance"; afterwards the flow goes on without catching up."""
        self._system = system
        self._next_ns = None

    def due(self, wall_ns: int, mono_ns: int) -> list[Message]:
        """See `Feed.due`."""
        out: list[Message] = []
        if self._system == "maintenance":
            return out
        if self.rate == float("inf"):
            for _ in range(_BATCH):
                self._happen(wall_ns, out)
            return out
        if self.rate <= 0:
            return out
        at = self._next_ns if self._next_ns is not None else float(mono_ns)
        at = max(at, float(mono_ns - _CATCH_UP_NS))
        pause = 2.0 * _NS_PER_S / self.rate
        while at <= mono_ns and len(out) < _BATCH:
            self._happen(wall_ns - mono_ns + int(at), out)
            at += self._rng.random() * pause
        self._next_ns = at
        return out

    def next_due_ns(self) -> Optional[int]:
        """See `Feed.next_due_ns`."""
        if self.rate <= 0 or self._system == "maintenance":
            return None
        return 0 if self._next_ns is None or self.rate == float("inf") else int(self._next_ns)

    def _happen(self, now_ns: int, out: list[Message]) -> None:
        """Something happens in one market: where somebody watches, until it shows in the deepest window."""
        trader = self._order[bisect(self._shares, self._rng.random() * self._shares[-1])]
        watched = self._watched[trader.market.pair.symbol]
        before = len(out)
        for _ in range(_TRIES if watched else 1):
            self._render(trader, trader.step(now_ns, self._system), watched, out)
            if len(out) > before:
                return

    def _render(self, trader: Trader, done: Transaction, watched: Collection[int], out: list[Message]) -> None:
        market = trader.market
        symbol = market.pair.symbol
        for depth in watched:
            text = market.update(done, depth)
            if text is not None:
                out.append(Message("level3", symbol, depth, text))
        if done.trades:
            self._recent[symbol].extend(market.trade_entries(done, trader.ord_type))
            out.append(Message("trade", symbol, 0, market.trade_message(done, trader.ord_type)))
