"""The connections of both endpoints, and which of them read which messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Optional, Protocol

from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.feed import Message

__all__ = ["Clients", "Observer"]


class Observer(Protocol):
    """Who is told when clients come and go."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def closed(self, connection: Connection) -> None:
        """A connection has ended, whoever ended it."""

    def asked_for_token(self, api_key: str, error: str) -> None:
        """A token request was answered; `error` is empty when a token was given."""


class Clients:
    """Who is connected.

    Args:
        observer: told of each connection.

    Attributes:
        level3: connections of the level3 endpoint by number.
        public: connections of the public endpoint by number.
        made: connections made so far, at both endpoints.
    """

    def __init__(self, observer: Optional[Observer] = None) -> None:
        self._observer = observer
        self.level3: dict[int, Connection] = {}
        self.public: dict[int, Connection] = {}
        self.made = 0
        self._last_number = {True: 0, False: 0}
        # Looked up for every message of a busy feed, so it is kept instead of asking each session
        self._readers: dict[tuple[str, int], set[Connection]] = defaultdict(set)

    def next_number(self, *, private: bool) -> int:
        """The number of a new connection; each endpoint counts its own from 1."""
        self.made += 1
        self._last_number[private] += 1
        return self._last_number[private]

    def add(self, connection: Connection) -> None:
        """A client has connected."""
        self._endpoint(connection)[connection.number] = connection
        if self._observer is not None:
            self._observer.opened(connection)

    def remove(self, connection: Connection) -> None:
        """A client is gone; call it before its session ends, which forgets its subscriptions."""
        for key in connection.session.depths.items():
            self._readers[key].discard(connection)
        del self._endpoint(connection)[connection.number]
        if self._observer is not None:
            self._observer.closed(connection)

    def _endpoint(self, connection: Connection) -> dict[int, Connection]:
        return self.level3 if connection.session.private else self.public

    def all(self) -> list[Connection]:
        """The connections of both endpoints."""
        return [*self.level3.values(), *self.public.values()]

    def resubscribed(self, connection: Connection, before: Mapping[str, int]) -> None:
        """The level3 subscriptions of a connection may have changed.

        Args:
            connection: whose session holds them now.
            before: symbol to depth as it was.
        """
        now = connection.session.depths
        for key in before.items() - now.items():
            self._readers[key].discard(connection)
        for key in now.items() - before.items():
            self._readers[key].add(connection)

    def readers(self, message: Message) -> Collection[Connection]:
        """Who gets a message of the feed."""
        if message.channel == "level3":
            return self._readers.get((message.symbol, message.depth), ())
        if message.channel == "instrument":
            return [c for c in self.public.values() if c.session.public.instruments]
        return [c for c in self.public.values() if message.symbol in c.session.public.trades]
