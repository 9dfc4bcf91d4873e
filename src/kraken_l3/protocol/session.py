"""The state of one connection and of each symbol on it, without I/O: frames and the time go in, events come out.

    connection  opened     no request before the status message, or before STATUS_WAIT_NS have passed
                dead       no frame at all for `liveness_ns`, or no response to the first request for ANSWER_NS
                           (heartbeats start only after the first subscription)

    symbol      WAITING    -> REQUESTED   `next_request` handed out its subscribe
                REQUESTED  -> ACKED       success, matched by req_id, else by symbol
                REQUESTED  -> WAITING     the session token was rejected: `TokenRefused`, retried with a new one
                REQUESTED  -> REJECTED    any other error, or no response for ANSWER_NS while other symbols have theirs
                ACKED      -> LIVE        its snapshot arrived (REQUESTED -> LIVE if that precedes the acknowledgement)
                ACKED      -> LEAVING     no snapshot for SNAPSHOT_NS
                LIVE       -> LEAVING     `resync`: its book must be sent again
                LEAVING    -> WAITING     unsubscribed, or rejected, or no response for ANSWER_NS
                REJECTED   -> WAITING     its retry time has passed
                "Already subscribed"      REQUESTED -> LEAVING: unsubscribe, then subscribe again

Heartbeats start with the first acknowledged subscription. Until then a ping is sent after half of `liveness_ns` without
a frame: the pong shows that the connection is alive, and Kraken closes idle connections after a minute.

Sources: https://docs.kraken.com/api/docs/websocket-v2/level3, /status, /heartbeat, /ping
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple, Optional, Union

from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.frames import Response, Status

__all__ = [
    "Acked",
    "Dead",
    "Event",
    "Request",
    "Session",
    "Snapshotted",
    "SymbolRejected",
    "SymbolState",
    "TokenRefused",
]

STATUS_WAIT_NS = 2 * NS_PER_S
ANSWER_NS = 10 * NS_PER_S
SNAPSHOT_NS = 60 * NS_PER_S
#: Seconds until a rejected symbol is retried; the last value repeats. A rejected pair may be listed later.
RETRY_S = (60, 120, 300, 600, 1800, 3600)
#: The same when the error is about a rate limit, which passes by itself.
RATE_RETRY_S = (5, 10, 20, 40, 60)
_RATE_WORDS = ("rate", "too many", "throttle", "limit")
_SESSION_WORDS = ("invalid session", "invalid token", "session expired", "token expired")
#: After this many rejected tokens in a row the error is not about the token.
TOKEN_REFUSALS_MAX = 3


class SymbolState(enum.Enum):
    """Where a symbol stands on this connection; see the table above."""

    WAITING = "waiting"
    REQUESTED = "requested"
    ACKED = "acked"
    LIVE = "live"
    LEAVING = "leaving"
    REJECTED = "rejected"


class Request(NamedTuple):
    """A request to send now. `symbol` is None for pings and for channels without symbols."""

    method: str
    symbol: Optional[str]
    req_id: int


class Acked(NamedTuple):
    """Kraken accepted the subscription; `depth` as Kraken echoed it (None: it did not)."""

    symbol: Optional[str]
    depth: Optional[int]


class Snapshotted(NamedTuple):
    """The symbol's snapshot arrived: its data is whole from here on."""

    symbol: Optional[str]


class SymbolRejected(NamedTuple):
    """Kraken rejected the symbol; it is requested again in `retry_s` seconds."""

    symbol: Optional[str]
    error: str
    retry_s: int


class TokenRefused(NamedTuple):
    """Kraken rejected the session token of the symbol's request; the next request needs another."""

    symbol: Optional[str]
    error: str


class Dead(NamedTuple):
    """The connection must be closed, for this cause (see `GapOpened`)."""

    cause: str
    detail: str


Event = Union[Acked, Snapshotted, SymbolRejected, TokenRefused, Dead]


class _Symbol:
    __slots__ = (
        "acknowledged",
        "asked_unsubscribe",
        "deadline_ns",
        "refusals",
        "req_id",
        "state",
        "token_refusals",
        "was_live",
    )

    def __init__(self) -> None:
        self.state = SymbolState.WAITING
        self.acknowledged = False
        self.req_id = 0
        self.deadline_ns = 0
        self.refusals = 0
        self.token_refusals = 0
        self.asked_unsubscribe = False
        self.was_live = False


class Session:
    """The state of one connection. All times are monotonic nanoseconds.

    Args:
        symbols: what to subscribe to, in order; [None] for a channel without symbols.
        now_ns: when the connection opened.
        liveness_ns: how long it may be silent.
        wants_snapshot: whether a symbol is whole from its snapshot on (else from its acknowledgement on).
    """

    def __init__(
        self, symbols: Iterable[Optional[str]], *, now_ns: int, liveness_ns: int, wants_snapshot: bool = True
    ) -> None:
        self._symbols = {symbol: _Symbol() for symbol in symbols}
        self._by_req_id: dict[int, Optional[str]] = {}
        self._opened_ns = now_ns
        self._liveness_ns = liveness_ns
        self._wants_snapshot = wants_snapshot
        self._last_req_id = 0
        self._status_came = False
        self._acks = 0
        self._pinged_ns = now_ns
        self._whole_since_ns: Optional[int] = None
        self.system = "online"

    # -- what is known -------------------------------------------------------------------------------------------------

    def state(self, symbol: Optional[str]) -> SymbolState:
        """The state of one symbol."""
        return self._symbols[symbol].state

    def healthy_ns(self, now_ns: int) -> int:
        """For how long all symbols that were not rejected have been whole (0: not yet)."""
        return 0 if self._whole_since_ns is None else now_ns - self._whole_since_ns

    def known_whole(self) -> list[Optional[str]]:
        """The symbols that were whole on this connection, and so have a gap when it ends."""
        return [name for name, symbol in self._symbols.items() if symbol.was_live]

    # -- requests ------------------------------------------------------------------------------------------------------

    def has_request(self, now_ns: int) -> bool:
        """Whether `next_request` would return a request."""
        return self._next_symbol(now_ns) is not None

    def next_request(self, now_ns: int) -> Optional[Request]:
        """The next request. It counts as sent once it is returned, so call this just before sending."""
        found = self._next_symbol(now_ns)
        if found is None:
            return None
        name, symbol = found
        self._last_req_id += 1
        symbol.req_id = self._last_req_id
        symbol.deadline_ns = now_ns + ANSWER_NS
        self._by_req_id[symbol.req_id] = name
        if symbol.state is SymbolState.LEAVING:
            symbol.asked_unsubscribe = True
            return Request("unsubscribe", name, symbol.req_id)
        symbol.state = SymbolState.REQUESTED
        symbol.acknowledged = False
        return Request("subscribe", name, symbol.req_id)

    def next_ping(self, now_ns: int, last_frame_ns: int) -> Optional[Request]:
        """A ping, if nothing else would show that the connection is alive."""
        quiet_since = max(self._pinged_ns, last_frame_ns)
        if self._acks or now_ns - quiet_since < self._liveness_ns // 2:
            return None
        self._pinged_ns = now_ns
        self._last_req_id += 1
        return Request("ping", None, self._last_req_id)

    def add(self, symbol: str) -> None:
        """Subscribe to one more symbol."""
        self._symbols.setdefault(symbol, _Symbol())

    def resync(self, symbol: Optional[str]) -> bool:
        """Resubscribe the symbol. False if it is not whole in the first place."""
        entry = self._symbols.get(symbol)
        if entry is None or entry.state is not SymbolState.LIVE:
            return False
        self._leave(entry)
        return True

    def _next_symbol(self, now_ns: int) -> Optional[tuple[Optional[str], _Symbol]]:
        if not self._status_came and now_ns - self._opened_ns < STATUS_WAIT_NS:
            return None
        for name, symbol in self._symbols.items():
            if symbol.state is SymbolState.WAITING:
                return name, symbol
            if symbol.state is SymbolState.LEAVING and not symbol.asked_unsubscribe:
                return name, symbol
        return None

    def _leave(self, symbol: _Symbol) -> None:
        symbol.state = SymbolState.LEAVING
        symbol.asked_unsubscribe = False

    # -- frames --------------------------------------------------------------------------------------------------------

    def status(self, status: Status) -> None:
        """A status message arrived."""
        self._status_came = True
        self.system = status.system

    def snapshot(self, symbol: Optional[str], now_ns: int) -> list[Event]:
        """A snapshot of the symbol arrived."""
        entry = self._symbols.get(symbol)
        if entry is None or entry.state not in (SymbolState.REQUESTED, SymbolState.ACKED):
            return []
        return self._whole(symbol, entry, now_ns)

    def response(self, response: Response, now_ns: int) -> list[Event]:
        """A response to a request arrived."""
        name, found = self._match(response)
        if not found:
            return []
        symbol = self._symbols[name]
        leaving = symbol.state is SymbolState.LEAVING and symbol.asked_unsubscribe
        other = "subscribe" if leaving else "unsubscribe"
        if response.method == other and response.req_id != symbol.req_id:
            return []  # a late response to an earlier request
        if leaving:
            symbol.state = SymbolState.WAITING
            return []
        if response.success:
            return self._accepted(name, symbol, response, now_ns)
        if symbol.state is not SymbolState.REQUESTED:
            return []
        return self._refused(name, symbol, response.error or "rejected without a reason", now_ns)

    def _match(self, response: Response) -> tuple[Optional[str], bool]:
        """The symbol that a response is about: by req_id, else by name, else the one that has waited longest."""
        if response.req_id is not None:
            found = response.req_id in self._by_req_id
            return self._by_req_id.pop(response.req_id, None), found
        if response.symbol is not None and response.symbol in self._symbols:
            return response.symbol, True
        if None in self._symbols:
            return None, True
        waiting = [
            (symbol.req_id, name)
            for name, symbol in self._symbols.items()
            if symbol.state is SymbolState.REQUESTED
            or (symbol.state is SymbolState.LEAVING and symbol.asked_unsubscribe)
        ]
        return (min(waiting)[1], True) if waiting else (None, False)

    def _accepted(self, name: Optional[str], symbol: _Symbol, response: Response, now_ns: int) -> list[Event]:
        if symbol.acknowledged:  # the server repeats itself: a flood of these must not become a flood of records
            return []
        symbol.acknowledged = True
        self._acks += 1
        events: list[Event] = [Acked(name, response.depth)]
        if symbol.state is SymbolState.REQUESTED:
            symbol.state = SymbolState.ACKED
            symbol.deadline_ns = now_ns + SNAPSHOT_NS
            if not self._wants_snapshot:
                events += self._whole(name, symbol, now_ns)
        return events

    def _whole(self, name: Optional[str], symbol: _Symbol, now_ns: int) -> list[Event]:
        symbol.state = SymbolState.LIVE
        symbol.was_live = True
        symbol.refusals = symbol.token_refusals = 0
        self._look_whether_whole(now_ns)
        return [Snapshotted(name)]

    def _refused(self, name: Optional[str], symbol: _Symbol, error: str, now_ns: int) -> list[Event]:
        folded = error.lower()
        if any(words in folded for words in _SESSION_WORDS) and symbol.token_refusals < TOKEN_REFUSALS_MAX:
            symbol.token_refusals += 1
            symbol.state = SymbolState.WAITING
            return [TokenRefused(name, error)]
        if "already subscribed" in folded:
            self._leave(symbol)
            return []
        return self._reject(name, symbol, error, now_ns)

    def _reject(self, name: Optional[str], symbol: _Symbol, error: str, now_ns: int) -> list[Event]:
        folded = error.lower()
        schedule = RATE_RETRY_S if any(word in folded for word in _RATE_WORDS) else RETRY_S
        retry_s = schedule[min(symbol.refusals, len(schedule) - 1)]
        symbol.refusals += 1
        symbol.state = SymbolState.REJECTED
        symbol.deadline_ns = now_ns + retry_s * NS_PER_S
        self._look_whether_whole(now_ns)
        return [SymbolRejected(name, error, retry_s)]

    def _look_whether_whole(self, now_ns: int) -> None:
        states = {symbol.state for symbol in self._symbols.values()}
        if self._whole_since_ns is None and SymbolState.LIVE in states <= {SymbolState.LIVE, SymbolState.REJECTED}:
            self._whole_since_ns = now_ns

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, last_frame_ns: int) -> list[Event]:
        """Check the deadlines; call it a few times a second, but not while reading is paused.

        Args:
            now_ns: now.
            last_frame_ns: when the last frame of any kind arrived, or when reading was resumed.
        """
        silent_ns = now_ns - max(last_frame_ns, self._opened_ns)
        if silent_ns > self._liveness_ns:
            return [Dead("silence", f"no frame for {silent_ns / NS_PER_S:.1f} s")]
        events: list[Event] = []
        for name, symbol in self._symbols.items():
            if now_ns >= symbol.deadline_ns:
                events += self._overdue(name, symbol, now_ns)
        return events

    def _overdue(self, name: Optional[str], symbol: _Symbol, now_ns: int) -> list[Event]:
        if symbol.state is SymbolState.REQUESTED:
            if not self._acks:
                return [Dead("silence", f"no response to a subscription for {ANSWER_NS // NS_PER_S} s")]
            return self._reject(name, symbol, f"no response for {ANSWER_NS // NS_PER_S} s", now_ns)
        if symbol.state is SymbolState.ACKED:
            self._leave(symbol)
        elif symbol.state is SymbolState.REJECTED or (symbol.state is SymbolState.LEAVING and symbol.asked_unsubscribe):
            symbol.state = SymbolState.WAITING
        return []
