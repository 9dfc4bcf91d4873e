"""Order flow without a server: the lines of a recording, as fast as they can be made."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from typing import Callable, Optional, Union

from kraken_l3.exchange.flow.listing import listing
from kraken_l3.exchange.flow.trader import Trader, TraderProfile

__all__ = ["DEFAULT_START_NS", "default_profile", "generate", "popularity"]

#: 2026-01-02T03:04:05Z
DEFAULT_START_NS = 1_767_323_045_000_000_000


def popularity(count: int) -> list[float]:
    """Cumulative shares of the flow: the n-th pair trades 1/n as much as the first, and the last still does."""
    return list(accumulate(1.0 / (1 + n) for n in range(count)))


def default_profile(depth: int) -> TraderProfile:
    """Most happens near the touch; a deep window sees more of it further down."""
    return TraderProfile() if depth <= 10 else TraderProfile(busy_levels=depth // 4, far=0.1)


def generate(
    *,
    symbols: Union[int, list[str], tuple[str, ...]] = ("BTC/USD",),
    depth: int = 10,
    messages: int,
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
    rate: float = 50.0,
    levels: Optional[int] = None,
    profile: Optional[TraderProfile] = None,
    odd_numbers: float = 0.0,
    trades: Optional[Callable[[bytes], object]] = None,
) -> Iterator[bytes]:
    """Level3 messages as a client of one connection gets them, without newlines: a snapshot a symbol, then updates.

    The same arguments give the same bytes. Checksums are right.

    Args:
        symbols: names, or how many.
        depth: the subscribed depth.
        messages: how many messages in all, snapshots included.
        seed: decides everything.
        start_ns, rate: time of the first message; messages a second on the simulated clock.
        levels: levels kept a side; by default some more than the depth.
        profile: what traders do; `TraderProfile()` by default, spread wider for a deep window.
        odd_numbers: share written with an exponent or in quotes.
        trades: called with each `trade` message as it happens.
    """
    count = levels if levels is not None else depth + max(20, depth // 4)
    profile = profile or default_profile(depth)
    traders = [
        Trader(pair, seed, levels=count, now_ns=start_ns, profile=profile, odd_numbers=odd_numbers)
        for pair in listing(symbols if isinstance(symbols, int) else list(symbols))
    ]
    left = messages
    for trader in traders[:left]:
        yield trader.market.snapshot(depth)
    left -= len(traders)
    rng = random.Random(seed)
    shares, pause, now = popularity(len(traders)), 2_000_000_000.0 / rate, float(start_ns)
    while left > 0:
        now += rng.random() * pause
        trader = traders[bisect(shares, rng.random() * shares[-1])] if len(traders) > 1 else traders[0]
        done = trader.step(int(now))
        text = trader.market.update(done, depth)
        if trades is not None and done.trades:
            trades(trader.market.trade_message(done, trader.ord_type))
        if text is not None:
            left -= 1
            yield text
