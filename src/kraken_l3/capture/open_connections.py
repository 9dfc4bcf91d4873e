"""The connections that are open or being opened: who carries what, and calls to all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from kraken_l3.capture.connection import Connection

__all__ = ["OpenConnections"]


class OpenConnections:
    """Kept by the supervisor, used by whoever has to reach a connection."""

    def __init__(self) -> None:
        self._by_number: dict[int, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_number.values()))

    def add(self, connection: Connection) -> None:
        """It is being opened."""
        self._by_number[connection.number] = connection

    def remove(self, connection: Connection) -> None:
        """It is over."""
        del self._by_number[connection.number]

    def of_channel(self, channel: str) -> list[Connection]:
        """Those that carry a channel."""
        return [connection for connection in self if connection.channel.name == channel]

    def carrying(self, channel: str, symbol: str) -> Optional[Connection]:
        """The one that carries a symbol of a channel (None: there is none now)."""
        return next((each for each in self.of_channel(channel) if symbol in each.channel.symbols), None)

    def end(self, cause: str, detail: str, *, kept_until_ns: int = 0) -> None:
        """End all of them; see `Connection.end`."""
        for connection in self:
            connection.end(cause, detail, kept_until_ns=kept_until_ns)
