"""What one WebSocket connection may ask and is answered. No sockets here: texts in, texts out.

Rules (https://docs.kraken.com/api/docs/websocket-v2/level3, .../trade, .../instrument, .../ping, .../heartbeat):

- one acknowledgement or rejection a symbol, with `req_id` when one came; a rejection never closes the connection
- malformed requests, a bad token and a bad depth are refused once for the whole request, without naming a symbol
- checked in this order, which is not documented: form, channel, token, depth; then for each symbol: known,
  already subscribed, place on the connection, rate
- a snapshot follows each acknowledgement at once, unless `snapshot` is false
- heartbeats begin with the first subscription that was accepted, and go on whatever happens then

Kraken does not list the texts of these errors; those below were seen in the wild unless a comment says INVENTED.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional, Protocol

from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.limits import Limits, subscription_cost
from kraken_l3.exchange.rest import Account
from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["Answer", "ClientSession", "Now", "Rules"]

MALFORMED = "Malformed request"
UNKNOWN_CHANNEL = "Subscription name invalid"
INVALID_SESSION = "ESession:Invalid session"
BAD_DEPTH = "Subscription depth not supported"
UNKNOWN_PAIR = "Currency pair not supported {symbol}"
ALREADY = "Already subscribed"
NOT_FOUND = "Subscription Not Found"
RATE = "Exceeded msg rate"
TOO_MANY = "Exceeded symbols per connection"  # INVENTED: Kraken's text for the 201st symbol is not known

DEFAULT_DEPTH = 10
_TICK_SIZE_WARNING = "tick_size is deprecated, use price_increment"


class Now(NamedTuple):
    """One moment on both clocks, in ns."""

    wall_ns: int
    mono_ns: int


class Answer(NamedTuple):
    """A text to send; `channel` is "answer" or the data channel whose snapshot it is, `symbol` whose."""

    payload: bytes
    channel: str = "answer"
    symbol: str = ""


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
        tokens: who owns a token.
        limits: what a connection may ask for.
        scripted: what goes wrong on purpose.
    """

    feed: Feed
    records: dict[str, str]
    tokens: Tokens
    limits: Limits
    scripted: Scripted


class _Refused(Exception):
    """The whole request is refused."""

    def __init__(self, error: str, extra: Mapping[str, object] = {}) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _micros(ns: int) -> str:
    return format_rfc3339(ns)[:-4] + "Z"


class ClientSession:
    """One connection's subscriptions.

    Args:
        number: the connection's number, for scripted refusals.
        rules: what all connections share.
        private: whether this is the level3 endpoint; otherwise the public one.

    Attributes:
        depths: the level3 subscriptions, symbol to depth.
        trades: symbols of the `trade` subscriptions.
        instruments: whether `instrument` is subscribed.
        heartbeats: whether they have begun.
        token: the last one that the client sent, for faults that repeat it.
    """

    def __init__(self, number: int, rules: Rules, *, private: bool) -> None:
        self.number = number
        self.private = private
        self.depths: dict[str, int] = {}
        self.trades: set[str] = set()
        self.instruments = False
        self.heartbeats = False
        self.token = ""
        self._rules = rules
        # symbol -> the token it was subscribed with, and whose that is
        self._tokens: dict[str, tuple[object, Account]] = {}

    @property
    def subscribed(self) -> bool:
        """Whether anything is subscribed."""
        return bool(self.depths or self.trades or self.instruments)

    # requests

    def receive(self, text: str, now: Now) -> Iterator[Answer]:
        """Answers to one message of the client, in order."""
        request: dict[str, Any] = {}
        try:
            request = self._parse(text)
            yield from self._dispatch(request, now)
        except _Refused as refused:
            method = "error" if refused.error == MALFORMED else request["method"]
            yield self._reject(request, now, method, refused.error, **refused.extra)

    @staticmethod
    def _parse(text: str) -> dict[str, Any]:
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            raise _Refused(MALFORMED) from None
        if not isinstance(request, dict):
            raise _Refused(MALFORMED)
        if "req_id" in request and (not isinstance(request["req_id"], int) or isinstance(request["req_id"], bool)):
            raise _Refused(MALFORMED)
        return request

    def _dispatch(self, request: dict[str, Any], now: Now) -> Iterator[Answer]:
        method = request.get("method")
        if method == "ping":
            yield self._finish({"method": "pong"}, request, now)
            return
        params = request.get("params")
        if method not in ("subscribe", "unsubscribe") or not isinstance(params, dict):
            raise _Refused(MALFORMED)
        channel = params.get("channel")
        known = ("level3",) if self.private else ("instrument", "trade")
        if channel not in known:
            raise _Refused(UNKNOWN_CHANNEL)
        if channel == "instrument":
            yield from self._instrument(request, params, now)
        elif channel == "trade":
            yield from self._trade(request, params, now)
        elif method == "subscribe":
            yield from self._subscribe(request, params, now)
        else:
            yield from self._unsubscribe(request, params, now)

    @staticmethod
    def _symbols(params: Mapping[str, Any]) -> list[str]:
        symbols = params.get("symbol")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
            raise _Refused(MALFORMED)
        return symbols

    @staticmethod
    def _flag(params: Mapping[str, Any], name: str, default: bool) -> bool:
        value = params.get(name, default)
        if not isinstance(value, bool):
            raise _Refused(MALFORMED)
        return value

    def _account(self, params: Mapping[str, Any], now: Now) -> Account:
        """Whose token this is. A token that a living subscription of this connection was made with stays good."""
        token = params.get("token")
        self.token = token if isinstance(token, str) else ""
        for known, owner in self._tokens.values():
            if token == known:
                return owner
        account = self._rules.tokens.owner(token, now.mono_ns)
        if account is None:
            raise _Refused(INVALID_SESSION, {"status": "error"})
        return account

    # level3

    def _subscribe(self, request: dict[str, Any], params: dict[str, Any], now: Now) -> Iterator[Answer]:
        symbols, snapshot = self._symbols(params), self._flag(params, "snapshot", True)
        account = self._account(params, now)
        depth = params.get("depth", DEFAULT_DEPTH)
        if type(depth) is not int or depth not in (10, 100, 1000):
            raise _Refused(BAD_DEPTH)
        for symbol in symbols:
            error = self._symbol_error(symbol, depth, account, now)
            if error is not None:
                yield self._reject(request, now, "subscribe", error, symbol=symbol)
                continue
            self.depths[symbol] = depth
            self._tokens[symbol] = (params["token"], account)
            self.heartbeats = True
            self._rules.feed.watch(symbol, depth)
            told = self._rules.scripted.ack_depth(self.number, symbol)
            more: dict[str, object] = {"snapshot": snapshot} if told is None else {"snapshot": snapshot, "depth": told}
            yield self._acknowledge(request, params, now, symbol, more)
            if snapshot:
                yield Answer(self._rules.feed.snapshot(symbol, depth), "level3", symbol)

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
        symbols = self._symbols(params)
        self._account(params, now)
        for symbol in symbols:
            depth = self.depths.get(symbol)
            if depth is None or params.get("depth", depth) != depth:
                yield self._reject(request, now, "unsubscribe", NOT_FOUND, symbol=symbol)
                continue
            del self.depths[symbol], self._tokens[symbol]
            self._rules.feed.unwatch(symbol, depth)
            yield self._acknowledge(request, params, now, symbol, {})

    def end(self) -> None:
        """The connection is over; nothing of it is watched any more."""
        for symbol, depth in self.depths.items():
            self._rules.feed.unwatch(symbol, depth)
        self.depths.clear()
        self._tokens.clear()
        self.trades.clear()
        self.instruments = False

    # public channels

    def _instrument(self, request: dict[str, Any], params: dict[str, Any], now: Now) -> Iterator[Answer]:
        wanted = request["method"] == "subscribe"
        snapshot = self._flag(params, "snapshot", True)
        if wanted == self.instruments:
            yield self._reject(request, now, request["method"], ALREADY if wanted else NOT_FOUND)
            return
        self.instruments = wanted
        self.heartbeats = True
        if not wanted:
            yield self._finish(
                {"method": "unsubscribe", "result": {"channel": "instrument"}, "success": True}, request, now
            )
            return
        result = {"channel": "instrument", "snapshot": snapshot, "warnings": [_TICK_SIZE_WARNING]}
        yield self._finish({"method": "subscribe", "result": result, "success": True}, request, now)
        if snapshot:
            pairs = ",".join(self._rules.records.values())
            data = f'{{"assets":[{self._rules.feed.assets()}],"pairs":[{pairs}]}}'
            yield Answer(f'{{"channel":"instrument","type":"snapshot","data":{data}}}'.encode(), "instrument")

    def _trade(self, request: dict[str, Any], params: dict[str, Any], now: Now) -> Iterator[Answer]:
        wanted = request["method"] == "subscribe"
        symbols, snapshot = self._symbols(params), self._flag(params, "snapshot", False)
        for symbol in symbols:
            if symbol not in self._rules.records:
                yield self._reject(request, now, request["method"], UNKNOWN_PAIR.format(symbol=symbol), symbol=symbol)
            elif wanted == (symbol in self.trades):
                error = ALREADY if wanted else NOT_FOUND
                yield self._reject(request, now, request["method"], error, symbol=symbol)
            elif not wanted:
                self.trades.discard(symbol)
                yield self._acknowledge(request, params, now, symbol, {})
            else:
                self.trades.add(symbol)
                self.heartbeats = True
                yield self._acknowledge(request, params, now, symbol, {"snapshot": snapshot})
                recent = self._rules.feed.recent_trades(symbol) if snapshot else None
                if recent is not None:
                    yield Answer(recent, "trade", symbol)

    # answers

    def _acknowledge(
        self, request: dict[str, Any], params: dict[str, Any], now: Now, symbol: str, more: dict[str, object]
    ) -> Answer:
        result: dict[str, object] = {"channel": params["channel"]}
        if type(params.get("depth")) is int:
            result["depth"] = params["depth"]
        result.update(more)
        result["symbol"] = symbol
        return self._finish({"method": request["method"], "result": result, "success": True}, request, now)

    def _reject(self, request: dict[str, Any], now: Now, method: str, error: str, **extra: object) -> Answer:
        return self._finish({"error": error, "method": method, "success": False, **extra}, request, now)

    @staticmethod
    def _finish(answer: dict[str, object], request: dict[str, Any], now: Now) -> Answer:
        req_id = request.get("req_id")
        if isinstance(req_id, int) and not isinstance(req_id, bool):
            answer["req_id"] = req_id
        answer["time_in"] = _micros(now.wall_ns)
        answer["time_out"] = _micros(now.wall_ns + 21_000)
        return Answer(_json(answer))
