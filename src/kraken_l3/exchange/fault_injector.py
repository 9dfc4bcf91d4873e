"""Makes the faults happen: counts messages, keeps the time, acts on the exchange."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Coroutine, Iterable
from typing import Any, Callable, NamedTuple, Optional, Protocol

from kraken_l3.exchange import faults as f
from kraken_l3.exchange.announcements import maintenance_notice
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.wire import BINARY, TEXT, fragments, frame

__all__ = ["FaultInjector", "TokenAnswer"]

_ON_MESSAGES = (f.Skip, f.Duplicate, f.Corrupt, f.Fragment)
_ON_REQUESTS = (f.Reject, f.TokenError)
_FIELDS = {"checksum": rb'"checksum":', "price": rb'"limit_price":', "qty": rb'"order_qty":'}
_GARBAGE: dict[str, tuple[bytes, int, int]] = {
    "text": (b"this is no JSON", TEXT, 0),
    "json": (b'{"channel":"level3","type":"update","data":[{"symbol":"BT', TEXT, 0),
    "empty": (b"", TEXT, 0),
    "utf8": (b'{"channel":"level3","symbol":"\xff\xfe"}', TEXT, 0),
    "binary": (b"\x00\x01\x02", BINARY, 0),
    "rsv1": (b'{"channel":"heartbeat"}', TEXT, 0x40),
}


class FaultTarget(Protocol):
    """What of the exchange the faults act on."""

    def all_connections(self) -> list[Connection]:
        """The connections of both endpoints."""

    def set_pair_status(self, symbol: str, status: str) -> None:
        """Changes a pair's status."""

    def announce(self, system: str, more: Optional[dict[str, object]] = None) -> None:
        """Sends a status to everybody."""

    def expire_tokens(self) -> None:
        """Voids all tokens."""

    def wall_ns(self) -> int:
        """The wall clock."""


class TokenAnswer(NamedTuple):
    """A scripted answer to a token request."""

    http_status: int
    body: str


class _Armed:
    """A fault that still has times left; `seen` counts matching messages since it went live."""

    __slots__ = ("done", "fault", "live", "seen")

    def __init__(self, fault: f.Fault) -> None:
        self.fault = fault
        self.live = False
        self.seen = 0
        self.done = 0

    @property
    def spent(self) -> bool:
        return bool(self.fault.times) and self.done >= self.fault.times

    def matches(self, connection: Connection, symbol: str) -> bool:
        fault = self.fault
        return (
            self.live
            and fault.connection in (None, connection.number)
            and fault.symbol in (None, symbol)
            and fault.public != connection.session.private
        )

    def falls_due(self) -> bool:
        """One more matching message: whether the fault falls on it. Faults of a message come after the counted ones."""
        self.seen += 1
        over = self.seen - self.fault.after_messages - (1 if isinstance(self.fault, _ON_MESSAGES) else 0)
        return over >= 0 and over % max(1, self.fault.every_messages) == 0 and not self.spent


class FaultInjector:
    """The faults of one exchange.

    Args:
        target: the exchange.
        script: faults from the start on.
    """

    def __init__(self, target: FaultTarget, script: Iterable[f.Fault] = ()) -> None:
        self.armed: list[_Armed] = []
        self._target = target
        self._script = list(script)
        self._rng = random.Random(0)
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing_until = 0.0
        self._refusing_status = 429
        self._actions: dict[type, Callable[[Any, list[Connection]], None]] = {
            f.Drop: self._drop,
            f.Close: self._close,
            f.Stall: self._stall,
            f.Slow: self._slow,
            f.Garbage: self._garbage,
            f.Giant: self._giant,
            f.Status: lambda x, _: target.announce(x.system, x.more),
            f.PairStatus: lambda x, _: target.set_pair_status(x.symbol or "", x.status),
            f.Maintenance: lambda x, _: self._spawn(self._maintenance(x)),
            f.ExpireTokens: lambda _x, _: target.expire_tokens(),
            f.RefuseConnections: lambda x, _: self._refuse(x.for_s, x.http_status),
        }

    def start(self) -> None:
        """The exchange has started; the script's times count from now."""
        for fault in self._script:
            self.add(fault)

    def stop(self) -> None:
        """Nothing more happens."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def add(self, fault: f.Fault) -> None:
        """Arms a fault; its times count from now."""
        armed = _Armed(fault)
        if fault.at_s > 0:
            self._later(fault.at_s, lambda: self._go_live(armed))
        else:
            self._go_live(armed)

    def _go_live(self, armed: _Armed) -> None:
        armed.live = True
        fault = armed.fault
        if fault.after_messages or isinstance(fault, _ON_MESSAGES + _ON_REQUESTS):
            self.armed.append(armed)
        else:
            self._act_by_time(armed)

    def _act_by_time(self, armed: _Armed) -> None:
        self._act(armed, self._targets(armed.fault))
        if not armed.spent:
            self._later(armed.fault.every_s, lambda: self._act_by_time(armed))

    def _targets(self, fault: f.Fault) -> list[Connection]:
        return [
            c
            for c in self._target.all_connections()
            if fault.connection in (None, c.number)
            and fault.public != c.session.private
            and (fault.symbol is None or fault.symbol in c.session.depths or fault.symbol in c.session.trades)
        ]

    def _act(self, armed: _Armed, connections: list[Connection]) -> None:
        armed.done += 1
        self._actions[type(armed.fault)](armed.fault, connections)
        self._drop_spent()

    def _drop_spent(self) -> None:
        self.armed = [armed for armed in self.armed if not armed.spent]

    # messages

    def deliver(self, connection: Connection, channel: str, symbol: str, payload: bytes) -> None:
        """Sends a message to one client, with whatever happens to it and around it."""
        if channel != "level3" or not self.armed or connection.closing:
            connection.send(channel, payload)
            return
        due = [
            armed
            for armed in self.armed
            if not isinstance(armed.fault, _ON_REQUESTS) and armed.matches(connection, symbol) and armed.falls_due()
        ]
        altering = [armed for armed in due if isinstance(armed.fault, _ON_MESSAGES)]
        if altering:
            for armed in altering:
                armed.done += 1
            self._alter([armed.fault for armed in altering], connection, payload)
            self._drop_spent()
        else:
            connection.send(channel, payload)
        for armed in due:
            if armed not in altering:
                self._act(armed, [connection])

    def _alter(self, faults: list[f.Fault], connection: Connection, payload: bytes) -> None:
        copies, pieces = 1, 1
        for fault in faults:
            if isinstance(fault, f.Skip):
                copies = 0
            elif isinstance(fault, f.Duplicate):
                copies *= 2
            elif isinstance(fault, f.Fragment):
                pieces = fault.pieces
            elif isinstance(fault, f.Corrupt):
                payload = self._corrupted(payload, fault.what)
        for _ in range(copies):
            connection.send("level3", payload, fragments(payload, pieces) if pieces > 1 else None)

    def _corrupted(self, payload: bytes, what: str) -> bytes:
        if what == "cut":
            return payload[: len(payload) * 2 // 3]
        spots = [m.span(1) for m in re.finditer(_FIELDS[what] + rb'"?([0-9.]+)', payload)]
        if not spots:  # no order in it: then the checksum
            spots = [m.span(1) for m in re.finditer(_FIELDS["checksum"] + rb'"?([0-9.]+)', payload)]
        start, end = self._rng.choice(spots)
        at = self._rng.choice([i for i in range(start, end) if payload[i : i + 1] != b"."])
        digit = (payload[at] - 48 + self._rng.randrange(1, 10)) % 10
        if digit == 0 and at == start and end - start > 1 and payload[at + 1 : at + 2] != b".":
            digit = 1 if payload[at] != 49 else 2  # JSON has no leading zeros
        return payload[:at] + b"%d" % digit + payload[at + 1 :]

    # requests

    def refusal(self, connection: int, symbol: str) -> Optional[str]:
        """See `client_session.Refusals`."""
        for armed in self.armed:
            fault = armed.fault
            if (
                isinstance(fault, f.Reject)
                and fault.connection in (None, connection)
                and fault.symbol in (None, symbol)
            ):
                armed.done += 1
                self._drop_spent()
                return fault.error
        return None

    def token_error(self) -> Optional[TokenAnswer]:
        """The answer that a script has for this token request."""
        for armed in self.armed:
            fault = armed.fault
            if isinstance(fault, f.TokenError):
                armed.done += 1
                self._drop_spent()
                if fault.http_status != 200:
                    return TokenAnswer(fault.http_status, "<html>error</html>")
                return TokenAnswer(200, json.dumps({"error": [fault.error]}))
        return None

    def refused_with(self) -> Optional[int]:
        """The HTTP status with which a new connection is refused now; None when it is let in."""
        return self._refusing_status if asyncio.get_running_loop().time() < self._refusing_until else None

    # actions

    def _refuse(self, for_s: float, http_status: int) -> None:
        self._refusing_status = http_status
        self._refusing_until = asyncio.get_running_loop().time() + for_s

    @staticmethod
    def _drop(fault: f.Drop, connections: list[Connection]) -> None:
        for connection in connections:
            connection.abort(reset=fault.reset)

    @staticmethod
    def _close(fault: f.Close, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close(fault.code, fault.reason)

    def _stall(self, fault: f.Stall, connections: list[Connection]) -> None:
        for connection in connections:
            connection.flush()
            connection.stall()
            if fault.for_s > 0:
                self._later(fault.for_s, connection.resume)

    def _slow(self, fault: f.Slow, connections: list[Connection]) -> None:
        for connection in connections:
            connection.bytes_per_s = fault.bytes_per_s
            if fault.for_s > 0:
                self._later(fault.for_s, connection.quicken)

    @staticmethod
    def _garbage(fault: f.Garbage, connections: list[Connection]) -> None:
        payload, opcode, rsv = _GARBAGE[fault.what]
        for connection in connections:
            connection.send("fault", payload, frame(payload, opcode, rsv=rsv))

    @staticmethod
    def _giant(fault: f.Giant, connections: list[Connection]) -> None:
        head = b'{"channel":"level3","type":"update","data":[{"symbol":"GIANT/USD","checksum":0,"bids":[],"asks":[],'
        payload = head + b'"pad":"' + b"x" * max(0, fault.size - len(head) - 11) + b'"}]}'
        for connection in connections:
            connection.send("level3", payload)

    async def _maintenance(self, fault: f.Maintenance) -> None:
        target = self._target
        target.announce("online", maintenance_notice(target.wall_ns(), fault.announce_s, fault.for_s))
        await asyncio.sleep(fault.announce_s)
        target.announce("maintenance")
        self._refuse(fault.for_s, 503)  # the service is down; 429 would blame the client for its rate
        await asyncio.sleep(min(0.1, fault.for_s))
        for connection in target.all_connections():
            connection.close(1001, "maintenance")
        await asyncio.sleep(max(0.0, fault.for_s - 0.1))
        for system in ("cancel_only", "post_only", "online"):
            target.announce(system)
            await asyncio.sleep(fault.stage_s)

    # time

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
