"""The recorded channels: what a connection must know to subscribe to each and to handle its snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

from kraken_l3.protocol.budget import SUBSCRIPTION_COST

__all__ = ["PUBLIC_COST", "Channel", "instrument", "level3", "trade"]

#: Public subscriptions do not count against level3's rate limit; a budget of their own spreads them out.
PUBLIC_COST = 5

#: Called with (payload, connection number) for each data message, after it was queued for the archive.
Observe = Callable[[bytes, int], None]


def _nothing(payload: bytes, connection: int) -> None:
    """For channels that are only archived."""


class Channel(NamedTuple):
    """What one connection subscribes to.

    Attributes:
        name: Kraken's name of the channel, also the archive's name of the stream.
        symbols: what to subscribe to; (None,) if the channel has no symbols.
        depth: price levels per side (None: the channel has no depth).
        private: whether a session token is needed.
        cost: what one subscription takes from the rate budget.
        whole_by_snapshot: a symbol is whole once its snapshot has arrived, else once it is acknowledged.
        observe: called with each message after it was queued.
    """

    name: str
    symbols: tuple[Optional[str], ...]
    depth: Optional[int] = None
    private: bool = False
    cost: int = PUBLIC_COST
    whole_by_snapshot: bool = False
    observe: Callable[[bytes, int], None] = _nothing

    def recorded_symbols(self) -> list[str]:
        """The symbols by name."""
        return [symbol for symbol in self.symbols if symbol is not None]

    def also(self, symbol: str) -> Channel:
        """The same channel with one more symbol."""
        return self._replace(symbols=(*self.symbols, symbol))


def level3(symbols: Sequence[str], depth: int) -> Channel:
    """The market-by-order book."""
    cost = SUBSCRIPTION_COST[depth]
    return Channel("level3", tuple(symbols), depth, private=True, cost=cost, whole_by_snapshot=True)


def trade(symbols: Sequence[str], observe: Observe) -> Channel:
    """Public trades. A symbol is whole once it is acknowledged: a pair that never traded has no snapshot."""
    return Channel("trade", tuple(symbols), observe=observe)


def instrument(observe: Observe) -> Channel:
    """The list of pairs with their precisions: one snapshot, then changes."""
    return Channel("instrument", (None,), observe=observe)
