"""Where the exchange gets its messages: a port. `flow.feed.OrderFlow` is its adapter for synthetic trading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Optional, Protocol

__all__ = ["Feed", "Message", "PriceLevels"]


class Message(NamedTuple):
    """A message due now, for everybody who is subscribed to it.

    Attributes:
        channel: "level3", "trade" or "instrument".
        symbol: WebSocket v2 name ("" for `instrument`).
        depth: the subscribed depth it is meant for (0 for channels that have none).
        payload: the text to send, as bytes.
    """

    channel: str
    symbol: str
    depth: int
    payload: bytes


class PriceLevels(NamedTuple):
    """A book by price level, best first.

    Attributes:
        bids, asks: (price, quantity) of each level, as integers.
        price_precision, qty_precision: how many of their digits are decimals.
        timestamp: when the book last changed, as Kraken writes it.
    """

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    price_precision: int
    qty_precision: int
    timestamp: str


class Feed(Protocol):
    """Where messages come from. Called from one thread, never concurrently.

    `snapshot` speaks of the moment after the last message that `due` returned, so that the exchange may subscribe
    somebody between two calls of `due` and nothing is missing or twice.
    """

    def instruments(self) -> Mapping[str, str]:
        """Symbol to its object of the `instrument` channel, as JSON text."""

    def assets(self) -> str:
        """The elements of the `instrument` channel's array `assets`, as JSON text."""

    def depths(self, symbol: str) -> Collection[int]:
        """The depths that can be had; Kraken has 10, 100 and 1000, a recording only what was recorded."""

    def watch(self, symbol: str, depth: int) -> None:
        """Messages of this depth are wanted from now on (counted: each `watch` is ended by one `unwatch`)."""

    def unwatch(self, symbol: str, depth: int) -> None:
        """One subscriber less."""

    def snapshot(self, symbol: str, depth: int) -> Optional[bytes]:
        """The level3 snapshot message of this moment; None where the book is not known yet: it comes as a message.

        The depth is watched.
        """

    def levels(self, symbol: str, depth: int) -> Optional[PriceLevels]:
        """So many of the best price levels of this moment; None where the book is not known. The symbol is watched."""

    def recent_trades(self, symbol: str) -> Optional[bytes]:
        """The `trade` channel's snapshot message, up to 50 trades; None when there was none yet."""

    def set_system(self, system: str) -> None:
        """The engine's status changed, e.g. to "post_only"; what a status forbids must not show in messages."""

    def due(self, wall_ns: int, mono_ns: int) -> Sequence[Message]:
        """What has become due by now, in order. A bounded number; the rest comes with the next call."""

    def next_due_ns(self) -> Optional[int]:
        """The monotonic time of the next message; a time that has passed means at once, None means never by itself."""
