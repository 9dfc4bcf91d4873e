"""One connection and every symbol on it, as a state table without I/O: frames and the time go in, events come out.

    connection  opened     nothing is asked for until the status message came, or STATUS_WAIT_NS passed without it
                dead       no frame at all for `liveness_ns`, or no answer to the first request for ANSWER_NS
                           (heartbeats start only after the first subscription)

    symbol      WAITING    -> REQUESTED   `next_request` handed out its subscribe
                REQUESTED  -> ACKED       success, matched by req_id, else by symbol
                REQUESTED  -> WAITING     the session token is refused: `TokenRefused`, again with a new one
                REQUESTED  -> REJECTED    any other error, or no answer for ANSWER_NS while others have theirs
                ACKED      -> LIVE        its snapshot came (REQUESTED -> LIVE if it overtakes the acknowledgement)
                ACKED      -> LEAVING     no snapshot for SNAPSHOT_NS
                LIVE       -> LEAVING     `resync`: its book is to be sent again
                LEAVING    -> WAITING     unsubscribed, or refused, or no answer for ANSWER_NS
                REJECTED   -> WAITING     its retry time has come
                "Already subscribed"      REQUESTED -> LEAVING: it is unsubscribed first, then subscribed again

While no subscription is acknowledged there are no heartbeats, so a ping is sent when half of `liveness_ns` passed in
silence: its pong is the sign of life, and Kraken closes connections without any activity after a minute.

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
#: Retry times of a rejected symbol, in seconds; the last one repeats. A refused pair may be listed later.
RETRY_S = (60, 120, 300, 600, 1800, 3600)
#: Retry times when the error speaks of a rate: those pass by themselves.
RATE_RETRY_S = (5, 10, 20, 40, 60)
_RATE_WORDS = ("rate", "too many", "throttle", "limit")
_SESSION_WORDS = ("invalid session", "invalid token", "session expired", "token expired")
#: So many token refusals in a row are not about the token.
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
    """To be sent now. `symbol` is None for channels that have none and for pings."""

    method: str
    symbol: Optional[str]
    req_id: int


class Acked(NamedTuple):
    """Kraken accepted the subscription; `depth` as echoed, None when not."""

    symbol: Optional[str]
    depth: Optional[int]


class Snapshotted(NamedTuple):
    """The symbol's snapshot came: its data is whole from here on."""

    symbol: Optional[str]


class SymbolRejected(NamedTuple):
    """Kraken refused the symbol; it is asked for again in `retry_s` seconds."""

    symbol: Optional[str]
    error: str
    retry_s: int


class TokenRefused(NamedTuple):
    """The session token that the symbol was asked for with does not count any more; the next request needs another."""

    symbol: Optional[str]
    error: str


class Dead(NamedTuple):
    """The connection is to be closed, for this cause (see `GapOpened`)."""

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
        symbols: what to subscribe, in order; [None] for a channel without symbols.
        now_ns: the moment the connection opened.
        liveness_ns: how long it may be silent.
        wants_snapshot: whether a symbol is whole by its snapshot (else by its acknowledgement).
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
        """Where one symbol stands."""
        return self._symbols[symbol].state

    def healthy_ns(self, now_ns: int) -> int:
        """For how long all symbols that were not rejected have been whole (0: they are not yet)."""
        return 0 if self._whole_since_ns is None else now_ns - self._whole_since_ns

    def known_whole(self) -> list[Optional[str]]:
        """The symbols whose data was whole on this connection: those that go missing when it ends."""
        return [name for name, symbol in self._symbols.items() if symbol.was_live]

    # -- requests ------------------------------------------------------------------------------------------------------

    def has_request(self, now_ns: int) -> bool:
        """Whether `next_request` would hand one out."""
        return self._next_symbol(now_ns) is not None

    def next_request(self, now_ns: int) -> Optional[Request]:
        """The next request, considered sent by being handed out: call it just before sending."""
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
        """A ping when there is nothing else that would give a sign of life."""
        quiet_since = max(self._pinged_ns, last_frame_ns)
        if self._acks or now_ns - quiet_since < self._liveness_ns // 2:
            return None
        self._pinged_ns = now_ns
        self._last_req_id += 1
        return Request("ping", None, self._last_req_id)

    def add(self, symbol: str) -> None:
        """One more symbol to subscribe."""
        self._symbols.setdefault(symbol, _Symbol())

    def resync(self, symbol: Optional[str]) -> bool:
        """Have the symbol resubscribed. False when it is not whole anyway."""
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
        """The exchange said how it is."""
        self._status_came = True
        self.system = status.system

    def snapshot(self, symbol: Optional[str], now_ns: int) -> list[Event]:
        """A snapshot of the symbol came."""
        entry = self._symbols.get(symbol)
        if entry is None or entry.state not in (SymbolState.REQUESTED, SymbolState.ACKED):
            return []
        return self._whole(symbol, entry, now_ns)

    def response(self, response: Response, now_ns: int) -> list[Event]:
        """Kraken answered a request."""
        name, found = self._match(response)
        if not found:
            return []
        symbol = self._symbols[name]
        leaving = symbol.state is SymbolState.LEAVING and symbol.asked_unsubscribe
        other = "subscribe" if leaving else "unsubscribe"
        if response.method == other and response.req_id != symbol.req_id:
            return []  # the late answer to a request before
        if leaving:
            symbol.state = SymbolState.WAITING
            return []
        if response.success:
            return self._accepted(name, symbol, response, now_ns)
        if symbol.state is not SymbolState.REQUESTED:
            return []
        return self._refused(name, symbol, response.error or "refused without a reason", now_ns)

    def _match(self, response: Response) -> tuple[Optional[str], bool]:
        """The symbol that an answer is about: by req_id, else by name, else the one that waits longest."""
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
        if symbol.acknowledged:  # repeated by the server: a flood of these must not become a flood of records
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
        """Let time pass, a few times a second; not while we have stopped reading ourselves.

        Args:
            now_ns: now.
            last_frame_ns: when the last frame of any kind came, or when reading was taken up again.
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
                return [Dead("silence", f"no answer to a subscription for {ANSWER_NS // NS_PER_S} s")]
            return self._reject(name, symbol, f"no answer for {ANSWER_NS // NS_PER_S} s", now_ns)
        if symbol.state is SymbolState.ACKED:
            self._leave(symbol)
        elif symbol.state is SymbolState.REJECTED or (symbol.state is SymbolState.LEAVING and symbol.asked_unsubscribe):
            symbol.state = SymbolState.WAITING
        return []
