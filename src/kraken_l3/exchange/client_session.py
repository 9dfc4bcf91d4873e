"""What one WebSocket connection may ask and is answered. No sockets here: texts in, texts out.

Rules (https://docs.kraken.com/api/docs/websocket-v2/level3, .../trade, .../instrument, .../ping, .../heartbeat):

- one acknowledgement or rejection a symbol, with `req_id` when one came; a rejection never closes the connection
- malformed requests, a bad token and a bad depth are refused once for the whole request, without naming a symbol
- checked in this order, which is not documented: form, channel, token, depth; then for each symbol: known,
  already subscribed, place on the connection, rate
- a snapshot follows each acknowledgement at once, unless `snapshot` is false; where a replay's book is not known
  yet, it follows when it comes
- heartbeats begin with the first subscription that was accepted, and go on whatever happens then
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional, Protocol

from kraken_l3.exchange.answers import (
    ALREADY,
    BAD_DEPTH,
    INVALID_SESSION,
    MALFORMED,
    NOT_FOUND,
    RATE,
    TOO_MANY,
    UNKNOWN_CHANNEL,
    UNKNOWN_PAIR,
    Answer,
    Now,
    Refused,
    acknowledge,
    finish,
    flag_in,
    reject,
    symbols_in,
)
from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.limits import Limits, subscription_cost
from kraken_l3.exchange.price_levels import PriceBooks
from kraken_l3.exchange.public_channels import PublicChannels
from kraken_l3.exchange.rest import Account

__all__ = ["ClientSession", "Rules"]

DEFAULT_DEPTH = 10


class Tokens(Protocol):
    """Who knows which tokens are good."""

    def owner(self, token: object, mono_ns: int) -> Optional[Account]:
        """Whose token this is; None when it is not good."""


class Scripted(Protocol):
    """What a fault script has for a subscription (see `faults`)."""

    def refusal(self, connection: int, symbol: str) -> Optional[str]:
        """The error with which this subscription is refused, or None."""

    def ack_depth(self, connection: int, symbol: str) -> Optional[int]:
        """The depth that its acknowledgement is to state, or None for the right one."""


class Rules(NamedTuple):
    """What all connections share.

    Attributes:
        feed: the data.
        records: symbol to the pair's object of the `instrument` channel.
        books: makes the messages of `book` and `ticker`.
        tokens: who owns a token.
        limits: what a connection may ask for.
        scripted: what goes wrong on purpose.
    """

    feed: Feed
    records: dict[str, str]
    books: PriceBooks
    tokens: Tokens
    limits: Limits
    scripted: Scripted


class ClientSession:
    """One connection's subscriptions.

    Args:
        number: the connection's number, for scripted refusals.
        rules: what all connections share.
        private: whether this is the level3 endpoint; otherwise the public one.

    Attributes:
        depths: the level3 subscriptions, symbol to depth.
        public: the subscriptions of the public endpoint.
        heartbeats: whether they have begun.
        token: the last one that the client sent, for faults that repeat it.
    """

    def __init__(self, number: int, rules: Rules, *, private: bool) -> None:
        self.number = number
        self.private = private
        self.depths: dict[str, int] = {}
        self.public = PublicChannels(rules.feed, rules.records, rules.books)
        self.heartbeats = False
        self.token = ""
        self._rules = rules
        # symbol -> the token it was subscribed with, and whose that is
        self._tokens: dict[str, tuple[object, Account]] = {}

    @property
    def subscribed(self) -> bool:
        """Whether anything is subscribed."""
        return bool(self.depths or self.public)

    # requests

    def receive(self, text: str, now: Now) -> Iterator[Answer]:
        """Answers to one message of the client, in order."""
        request: dict[str, Any] = {}
        try:
            request = self._parse(text)
            yield from self._dispatch(request, now)
        except Refused as refused:
            method = "error" if refused.error == MALFORMED else request["method"]
            yield reject(request, now, method, refused.error, **refused.extra)

    @staticmethod
    def _parse(text: str) -> dict[str, Any]:
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(MALFORMED) from None
        if not isinstance(request, dict):
            raise Refused(MALFORMED)
        if "req_id" in request and (not isinstance(request["req_id"], int) or isinstance(request["req_id"], bool)):
            raise Refused(MALFORMED)
        return request

    def _dispatch(self, request: dict[str, Any], now: Now) -> Iterator[Answer]:
        method = request.get("method")
        if method == "ping":
            yield finish({"method": "pong"}, request, now)
            return
        params = request.get("params")
        if method not in ("subscribe", "unsubscribe") or not isinstance(params, dict):
            raise Refused(MALFORMED)
        channel = params.get("channel")
        if channel not in (("level3",) if self.private else PublicChannels.NAMES):
            raise Refused(UNKNOWN_CHANNEL)
        if not self.private:
            for answer in self.public.answer(request, now):
                self.heartbeats = self.heartbeats or bool(self.public)
                yield answer
        elif method == "subscribe":
            yield from self._subscribe(request, params, now)
        else:
            yield from self._unsubscribe(request, params, now)

    def _account(self, params: dict[str, Any], now: Now) -> Account:
        """Whose token this is. A token that a living subscription of this connection was made with stays good."""
        token = params.get("token")
        self.token = token if isinstance(token, str) else ""
        for known, owner in self._tokens.values():
            if token == known:
                return owner
        account = self._rules.tokens.owner(token, now.mono_ns)
        if account is None:
            raise Refused(INVALID_SESSION, {"status": "error"})
        return account

    # level3

    def _subscribe(self, request: dict[str, Any], params: dict[str, Any], now: Now) -> Iterator[Answer]:
        symbols, snapshot = symbols_in(params), flag_in(params, "snapshot", True)
        account = self._account(params, now)
        depth = params.get("depth", DEFAULT_DEPTH)
        if type(depth) is not int or depth not in (10, 100, 1000):
            raise Refused(BAD_DEPTH)
        for symbol in symbols:
            error = self._symbol_error(symbol, depth, account, now)
            if error is not None:
                yield reject(request, now, "subscribe", error, symbol=symbol)
                continue
            self.depths[symbol] = depth
            self._tokens[symbol] = (params["token"], account)
            self.heartbeats = True
            self._rules.feed.watch(symbol, depth)
            told = self._rules.scripted.ack_depth(self.number, symbol)
            more: dict[str, object] = {"snapshot": snapshot} if told is None else {"snapshot": snapshot, "depth": told}
            yield acknowledge(request, now, symbol, more)
            book = self._rules.feed.snapshot(symbol, depth) if snapshot else None
            if book is not None:
                yield Answer(book, "level3", symbol)

    def _symbol_error(self, symbol: str, depth: int, account: Account, now: Now) -> Optional[str]:
        scripted = self._rules.scripted.refusal(self.number, symbol)
        if scripted is not None:
            return scripted
        if symbol not in self._rules.records:
            return UNKNOWN_PAIR.format(symbol=symbol)
        if symbol in self.depths:
            return ALREADY
        if depth not in self._rules.feed.depths(symbol):
            return BAD_DEPTH
        if len(self.depths) >= self._rules.limits.symbols_per_connection:
            return TOO_MANY
        if not account.subscriptions.take(subscription_cost(depth), now.mono_ns):
            return RATE
        return None

    def _unsubscribe(self, request: dict[str, Any], params: dict[str, Any], now: Now) -> Iterator[Answer]:
        symbols = symbols_in(params)
        self._account(params, now)
        for symbol in symbols:
            depth = self.depths.get(symbol)
            if depth is None or params.get("depth", depth) != depth:
                yield reject(request, now, "unsubscribe", NOT_FOUND, symbol=symbol)
                continue
            del self.depths[symbol], self._tokens[symbol]
            self._rules.feed.unwatch(symbol, depth)
            yield acknowledge(request, now, symbol)

    def end(self) -> None:
        """The connection is over; nothing of it is watched any more."""
        for symbol, depth in self.depths.items():
            self._rules.feed.unwatch(symbol, depth)
        self.depths.clear()
        self._tokens.clear()
        self.public.end()
