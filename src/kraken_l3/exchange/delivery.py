"""The feed's clock: takes from the feed what is due and sends it to whoever subscribed to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Callable, Optional

from kraken_l3.clock import Clock
from kraken_l3.exchange.backpressure import Backpressure
from kraken_l3.exchange.clients import Clients
from kraken_l3.exchange.connection import Connection, Outgoing
from kraken_l3.exchange.fault_injector import FaultInjector
from kraken_l3.exchange.feed import Feed, Message
from kraken_l3.exchange.price_levels import PriceBooks
from kraken_l3.exchange.wire import frame

__all__ = ["Delivery"]

_NS_PER_S = 1_000_000_000
#: Without a pace: between two looks whether there are readers, and whether they have read on.
_HELD_S = 0.002
#: The longest pause, so that a change of the feed's rate takes effect soon.
_MAX_PAUSE_S = 0.05


class Delivery:
    """Carries messages from the feed to the connections.

    Args:
        feed: where messages come from.
        clients: where they go.
        books: makes the messages of `book` and `ticker` of what the feed has told.
        faults: what happens to them on the way.
        clock: both clocks.
        changed: called after each turn.
    """

    def __init__(
        self,
        feed: Feed,
        clients: Clients,
        books: PriceBooks,
        faults: FaultInjector,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._feed = feed
        self._clients = clients
        self._books = books
        self._faults = faults
        self._clock = clock
        self._changed = changed
        self._backpressure = Backpressure()

    async def run(self) -> None:
        """Delivers until cancelled."""
        while True:
            if self._feed.next_due_ns() == 0 and self._is_held():
                await asyncio.sleep(_HELD_S)
                continue
            due = self._feed.due(self._clock.wall_ns(), self._clock.mono_ns())
            if self._faults.touch_messages:
                for message in due:
                    self._send(self._clients.readers(message), message.channel, message.symbol, message.payload)
            else:
                self._send_all(due)
            trades = [message for message in due if message.channel == "trade"]
            for message in trades:
                self._books.add_trades(message.payload)
            if self._clients.public:
                changed = {message.symbol for message in due if message.channel == "level3"}
                self._show_levels(changed, {message.symbol for message in trades})
            self._changed()
            await asyncio.sleep(self._pause_s())

    def begin_again(self) -> None:
        """The feed is at another moment: readers of `book` and `ticker` get snapshots as soon as the book is known."""
        self._books.forget()
        symbols = [connection.session.public.begin_again() for connection in self._clients.public.values()]
        self._show_levels(set().union(*symbols), ())

    def _send_all(self, due: Iterable[Message]) -> None:
        """Many in one step to each connection; a message is put into a frame once for all of them."""
        batches: dict[Connection, list[Outgoing]] = defaultdict(list)
        readers: dict[tuple[str, str, int], Collection[Connection]] = {}
        for message in due:
            channel, symbol, depth, payload = message
            key = channel, symbol, depth
            if key not in readers:
                readers[key] = self._clients.readers(message)
            if readers[key]:
                outgoing = channel, payload, frame(payload), 0.0
                for connection in readers[key]:
                    batches[connection].append(outgoing)
        for connection, batch in batches.items():
            connection.send_all(batch)

    def _send(self, readers: Collection[Connection], channel: str, symbol: str, payload: bytes) -> None:
        if self._faults.touch_messages:
            for connection in tuple(readers):
                self._faults.deliver(connection, channel, symbol, payload)
        else:
            for connection in readers:
                connection.send(channel, payload)

    def _show_levels(self, changed: Collection[str], traded: Collection[str]) -> None:
        """What became of the price levels, to whoever reads them; once for all messages that were due together."""
        public = [connection for connection in self._clients.public.values() if connection.session.public]
        for symbol in changed if public else ():
            by_depth: dict[int, list[Connection]] = {}
            for connection in public:
                depth = connection.session.public.books.get(symbol)
                if depth is not None:
                    by_depth.setdefault(depth, []).append(connection)
            for depth, readers in by_depth.items():
                owed, informed = _parted(readers, "book", symbol)
                update = self._books.update(symbol, depth) if informed else None
                if update is not None:
                    self._send(informed, "book", symbol, update)
                self._send_owed(owed, "book", symbol, self._books.snapshot(symbol, depth) if owed else None)
        for symbol in {*changed, *traded} if public else ():
            is_moved = symbol in changed and self._books.has_best_changed(symbol)
            owed, informed = _parted(public, "ticker", symbol)
            wanting = [
                c for c in informed if _wants_ticker(c.session.public.tickers.get(symbol), is_moved, symbol in traded)
            ]
            ticker = self._books.ticker("update", symbol) if wanting else None
            if ticker is not None:
                self._send(wanting, "ticker", symbol, ticker)
            self._send_owed(owed, "ticker", symbol, self._books.ticker("snapshot", symbol) if owed else None)

    def _send_owed(self, readers: Collection[Connection], channel: str, symbol: str, snapshot: Optional[bytes]) -> None:
        if snapshot is not None:
            self._send(readers, channel, symbol, snapshot)
            for connection in readers:
                connection.session.public.owed.discard((channel, symbol))

    def _is_held(self) -> bool:
        return self._backpressure.holds(self._readers(), self._clock.mono_ns())

    def _readers(self) -> list[Connection]:
        return [connection for connection in self._clients.all() if connection.session.subscribed]

    def _pause_s(self) -> float:
        due_ns = self._feed.next_due_ns()
        if due_ns is None:
            return _MAX_PAUSE_S
        if due_ns == 0 and not self._readers():
            return _HELD_S
        return min(_MAX_PAUSE_S, max(0.0, (due_ns - self._clock.mono_ns()) / _NS_PER_S))


def _parted(readers: Iterable[Connection], channel: str, symbol: str) -> tuple[list[Connection], list[Connection]]:
    """Those whose snapshot has not been sent yet, and the others."""
    owed: list[Connection] = []
    informed: list[Connection] = []
    for connection in readers:
        (owed if (channel, symbol) in connection.session.public.owed else informed).append(connection)
    return owed, informed


def _wants_ticker(trigger: Optional[str], is_moved: bool, is_traded: bool) -> bool:
    return (trigger == "bbo" and is_moved) or (trigger == "trades" and is_traded)
