"""What becomes of a channel's messages: port `Delivery`. With one connection a symbol each is archived (`Direct`); with
two, `capture.leaders` decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.sink import Sink
from kraken_l3.model.frames import Frame

__all__ = ["Delivery", "Direct"]


class Delivery(Protocol):
    """What a connection tells of the symbols of its channel. `connection` is always its number."""

    def put(self, frame: Frame) -> None:
        """An update, or whatever else came on the channel."""

    def put_snapshot(self, frame: Frame, symbols: Sequence[str]) -> None:
        """A snapshot of these symbols (none: it cannot be read)."""

    def subscribed(self, symbol: str, connection: int) -> bool:
        """Kraken accepted a subscription; whether the journal says so."""

    def whole(self, symbol: str, right_ns: int, connection: int) -> bool:
        """The symbol is whole on this connection from the snapshot received at `right_ns` on; whether it leads."""

    def missing(self, symbol: str, cause: str, left_ns: int, connection: int) -> None:
        """The symbol is not whole on this connection any more, from `left_ns` on."""

    def ended(self, connection: int) -> None:
        """The connection is over."""

    def addresses(self, connection: int) -> set[str]:
        """Addresses of the server that the connection should avoid, since another one is there."""


class Direct:
    """Implements `Delivery` where each symbol has one connection.

    Args:
        channel: the name of the channel.
        sink: takes all frames.
        gaps: what is missing.
    """

    def __init__(self, channel: str, sink: Sink, gaps: GapLedger) -> None:
        self._channel = channel
        self._sink = sink
        self._gaps = gaps

    def put(self, frame: Frame) -> None:
        """See `Delivery`."""
        self._sink.put(self._channel, frame)

    def put_snapshot(self, frame: Frame, symbols: Sequence[str]) -> None:
        """See `Delivery`."""
        self._sink.put(self._channel, frame)

    def subscribed(self, symbol: str, connection: int) -> bool:
        """See `Delivery`."""
        return True

    def whole(self, symbol: str, right_ns: int, connection: int) -> bool:
        """See `Delivery`."""
        self._gaps.close(self._channel, symbol, right_ns, connection)
        return True

    def missing(self, symbol: str, cause: str, left_ns: int, connection: int) -> None:
        """See `Delivery`."""
        self._gaps.open(self._channel, symbol, cause, left_ns, connection)

    def ended(self, connection: int) -> None:
        """See `Delivery`."""

    def addresses(self, connection: int) -> set[str]:
        """See `Delivery`."""
        return set()
