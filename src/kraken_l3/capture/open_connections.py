"""The connections that are open or being opened, and the symbols that each of them carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from kraken_l3.capture.connection import Connection

__all__ = ["OpenConnections"]


class OpenConnections:
    """Maintained by the supervisor, for whoever has to reach a connection."""

    def __init__(self) -> None:
        self._by_number: dict[int, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_number.values()))

    def add(self, connection: Connection) -> None:
        """The connection is being opened."""
        self._by_number[connection.number] = connection

    def remove(self, connection: Connection) -> None:
        """The connection has ended."""
        del self._by_number[connection.number]

    def of_channel(self, channel: str) -> list[Connection]:
        """The connections of a channel."""
        return [connection for connection in self if connection.channel.name == channel]

    def carrying(self, channel: str, symbol: str) -> list[Connection]:
        """The connections that carry a symbol of a channel: with `redundancy: 2` there are two."""
        return [connection for connection in self.of_channel(channel) if symbol in connection.channel.symbols]

    def numbered(self, number: Optional[int]) -> Optional[Connection]:
        """The connection with this number (None: it is not open)."""
        return self._by_number.get(number) if number is not None else None

    def to_resubscribe(self, symbol: str) -> Optional[Connection]:
        """The connection on which a level3 symbol is subscribed anew; see `resync.Subscriptions`."""
        return next(iter(self.carrying("level3", symbol)), None)

    def end(self, cause: str, detail: str, *, kept_until_ns: int = 0) -> None:
        """End all of them; see `Connection.end`."""
        for connection in self:
            connection.end(cause, detail, kept_until_ns=kept_until_ns)
