"""Makes the faults happen: counts messages, keeps the time, acts on the exchange."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Coroutine, Iterable
from typing import Any, Callable, NamedTuple, Optional, Protocol, TypeVar

from kraken_l3.exchange import faults as f
from kraken_l3.exchange.announcements import maintenance_notice
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.fault_log import FaultLog
from kraken_l3.exchange.fault_payloads import (
    batched,
    corrupted,
    filled,
    flood,
    garbage,
    giant,
    reordered,
    respelled,
    restamped,
)
from kraken_l3.exchange.wire import fragments
from kraken_l3.exchange.withheld import LateSnapshots, Silences, UnfinishedBatches

__all__ = ["FaultInjector", "TokenAnswer"]

_F = TypeVar("_F", bound=f.Fault)
#: How a connection is rather than what befalls it: noted once, since they may alter every message.
_MANNERS = (f.Delay, f.Reorder, f.Respell, f.Restamp, f.Batch)
_ON_MESSAGES = (f.Skip, f.Duplicate, f.Corrupt, f.Fragment, *_MANNERS)
_ON_REQUESTS = (f.Reject, f.AckDepth, f.LateSnapshot, f.TokenError)


class FaultTarget(Protocol):
    """What of the exchange the faults act on."""

    def all_connections(self) -> list[Connection]:
        """The connections of both endpoints."""

    def set_pair_status(self, symbol: str, status: str) -> None:
        """Changes a pair's status."""

    def set_pair_field(self, symbol: str, field: str, value: object) -> None:
        """Changes a field of a pair's object."""

    def announce(self, system: str, more: Optional[dict[str, object]] = None) -> None:
        """Sends a status to everybody."""

    def expire_tokens(self) -> None:
        """Voids all tokens."""

    def wall_ns(self) -> int:
        """The wall clock."""


class TokenAnswer(NamedTuple):
    """A scripted answer to a token request."""

    http_status: int
    reason: str
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

    def falls_due(self, rng: random.Random) -> bool:
        """One more matching message: whether the fault falls on it. Faults of a message come after the counted ones."""
        self.seen += 1
        over = self.seen - self.fault.after_messages - (1 if isinstance(self.fault, _ON_MESSAGES) else 0)
        if over < 0 or self.spent:
            return False
        return self.is_lucky(rng) if self.fault.probability else over % max(1, self.fault.every_messages) == 0

    def is_lucky(self, rng: random.Random) -> bool:
        """Whether the chance of the fault, if it has one, came true."""
        return not self.fault.probability or rng.random() < self.fault.probability


def _is_snapshot(payload: bytes) -> bool:
    return payload.startswith(b'{"channel":"level3","type":"snapshot"')


class FaultInjector:
    """The faults of one exchange.

    Args:
        target: the exchange.
        script: faults from the start on.
        log: where what was injected is noted.
        seed: decides what is left to chance.
    """

    def __init__(
        self, target: FaultTarget, script: Iterable[f.Fault] = (), log: Optional[FaultLog] = None, seed: int = 0
    ) -> None:
        self.log = log or FaultLog()
        self.armed: list[_Armed] = []
        self._target = target
        self._script = list(script)
        self._rng = random.Random(seed)
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._late_snapshots = LateSnapshots()
        self._silences = Silences()
        self._batches = UnfinishedBatches()
        self._refusing_until = 0.0
        self._refusing_status = 429
        self._actions: dict[type, Callable[[Any, list[Connection]], None]] = {
            f.Drop: self._drop,
            f.Close: self._close,
            f.Stall: self._stall,
            f.Slow: self._slow,
            f.Silence: self._silence,
            f.Garbage: self._garbage,
            f.Giant: self._giant,
            f.Send: self._send,
            f.Flood: self._flood,
            f.Deaf: self._deaf,
            f.Status: lambda x, _: target.announce(x.system, x.more),
            f.PairStatus: lambda x, _: target.set_pair_status(x.symbol or "", x.status),
            f.PairField: lambda x, _: target.set_pair_field(x.symbol or "", x.field, x.value),
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
        if fault.after_messages or fault.probability or isinstance(fault, _ON_MESSAGES + _ON_REQUESTS):
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
            and (fault.symbol is None or fault.symbol in c.session.depths or fault.symbol in c.session.public.trades)
        ]

    def _act(self, armed: _Armed, connections: list[Connection]) -> None:
        armed.done += 1
        for connection in connections:
            self._note(armed, connection.number, armed.fault.symbol)
        if not connections:
            self._note(armed, None, armed.fault.symbol)
        self._actions[type(armed.fault)](armed.fault, connections)
        self._drop_spent()

    def _note(self, armed: _Armed, connection: Optional[int], symbol: Optional[str]) -> None:
        found = {"connection": connection, "symbol": symbol, "number": armed.seen or None}
        told = {name: value for name, value in found.items() if value is not None}
        self.log.add({"at_ns": self._target.wall_ns(), "do": type(armed.fault).__name__.lower(), **told})

    def _drop_spent(self) -> None:
        self.armed = [armed for armed in self.armed if not armed.spent]

    # messages

    @property
    def touch_messages(self) -> bool:
        """Whether a level3 message may come to harm now: then it has to go through `deliver`."""
        return bool(self.armed or self._late_snapshots or self._silences or self._batches)

    def deliver(self, connection: Connection, channel: str, symbol: str, payload: bytes) -> None:
        """Sends a message to one client, with whatever happens to it and around it."""
        if channel != "level3":
            connection.send(channel, payload)
        elif not (
            self._late_snapshots.keeps(connection, symbol, payload) or self._silences.keeps(connection, symbol, payload)
        ):
            late = self._request_fault(f.LateSnapshot, connection.number, symbol) if _is_snapshot(payload) else None
            if late is not None:
                self._late_snapshots.hold(connection, symbol, payload, late.messages)
                return
            self._deliver_level3(connection, symbol, payload)
            for held in self._late_snapshots.due(connection):
                connection.send("level3", held)

    def _deliver_level3(self, connection: Connection, symbol: str, payload: bytes) -> None:
        first = self._batches.take(connection, symbol)
        if first is not None and _is_snapshot(payload):
            connection.send("level3", first)
        elif first is not None:
            payload = batched(first, payload)
        if not self.armed or connection.closing:
            connection.send("level3", payload)
            return
        due = [
            armed
            for armed in self.armed
            if not isinstance(armed.fault, _ON_REQUESTS)
            and armed.matches(connection, symbol)
            and armed.falls_due(self._rng)
        ]
        altering = [armed for armed in due if isinstance(armed.fault, _ON_MESSAGES)]
        if altering:
            for armed in altering:
                armed.done += 1
                if armed.done == 1 or not isinstance(armed.fault, _MANNERS):
                    self._note(armed, connection.number, symbol)
            faults = [armed.fault for armed in altering if first is None or not isinstance(armed.fault, f.Batch)]
            self._alter(faults, connection, symbol, payload)
            self._drop_spent()
        else:
            connection.send("level3", payload)
        for armed in due:
            if armed not in altering:
                self._act(armed, [connection])

    def _alter(self, faults: list[f.Fault], connection: Connection, symbol: str, payload: bytes) -> None:
        copies, pieces, delay_s = 1, 1, 0.0
        for fault in faults:
            if isinstance(fault, f.Skip):
                copies = 0
            elif isinstance(fault, f.Duplicate):
                copies *= 2
            elif isinstance(fault, f.Fragment):
                pieces = fault.pieces
            elif isinstance(fault, f.Delay):
                delay_s += fault.delay_s + fault.jitter_s * self._rng.random()
            else:
                payload = self._altered(fault, payload)
        if copies and not _is_snapshot(payload) and any(isinstance(fault, f.Batch) for fault in faults):
            self._batches.begin(connection, symbol, payload)
            return
        for _ in range(copies):
            wire = fragments(payload, pieces) if pieces > 1 else None
            connection.send("level3", payload, wire, delay_s=delay_s)

    def _altered(self, fault: f.Fault, payload: bytes) -> bytes:
        if isinstance(fault, f.Corrupt):
            return corrupted(payload, fault.what, self._rng)
        if isinstance(fault, f.Reorder):
            return reordered(payload)
        if isinstance(fault, f.Respell):
            return respelled(payload, fault.how)
        return restamped(payload, fault.by_ns) if isinstance(fault, f.Restamp) else payload

    # requests

    def refusal(self, connection: int, symbol: str) -> Optional[str]:
        """See `client_session.Scripted`."""
        fault = self._request_fault(f.Reject, connection, symbol)
        return None if fault is None else fault.error

    def ack_depth(self, connection: int, symbol: str) -> Optional[int]:
        """See `client_session.Scripted`."""
        fault = self._request_fault(f.AckDepth, connection, symbol)
        return None if fault is None else fault.depth

    def _request_fault(self, kind: type[_F], connection: int, symbol: str) -> Optional[_F]:
        """The first armed fault of this kind that falls on the request; it counts as done."""
        for armed in self.armed:
            fault = armed.fault
            if not isinstance(fault, kind) or fault.connection not in (None, connection):
                continue
            if fault.symbol in (None, symbol) and armed.is_lucky(self._rng):
                armed.done += 1
                self._note(armed, connection or None, symbol or None)
                self._drop_spent()
                return fault
        return None

    def token_error(self, api_key: str, api_sign: str) -> Optional[TokenAnswer]:
        """The answer that a script has for this token request; None when it has none."""
        fault = self._request_fault(f.TokenError, 0, "")
        if fault is None:
            return None

        def with_secrets(text: str) -> str:
            return text.replace("{api_key}", api_key).replace("{api_sign}", api_sign)

        body = json.dumps({"error": [with_secrets(fault.error)]}) if fault.http_status == 200 else "<html>error</html>"
        return TokenAnswer(fault.http_status, with_secrets(fault.reason), body)

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
            connection.close(fault.code, filled(fault.reason, connection.session.token))

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

    def _silence(self, fault: f.Silence, connections: list[Connection]) -> None:
        for connection in connections:
            self._silences.begin(connection, fault.symbol, lose=fault.lose)
            if fault.for_s > 0:
                self._later(fault.for_s, functools.partial(self._break_silence, connection, fault.symbol))

    def _break_silence(self, connection: Connection, symbol: Optional[str]) -> None:
        for message in self._silences.end(connection, symbol):
            self.deliver(connection, "level3", message.symbol, message.payload)

    @staticmethod
    def _garbage(fault: f.Garbage, connections: list[Connection]) -> None:
        for connection in connections:
            connection.send("fault", *garbage(fault.what))

    @staticmethod
    def _giant(fault: f.Giant, connections: list[Connection]) -> None:
        for connection in connections:
            connection.send("level3", giant(fault.size))

    @staticmethod
    def _send(fault: f.Send, connections: list[Connection]) -> None:
        for connection in connections:
            payload = filled(fault.text, connection.session.token).encode()
            connection.send("fault", payload, fragments(payload, fault.pieces))

    @staticmethod
    def _flood(fault: f.Flood, connections: list[Connection]) -> None:
        for connection in connections:
            message = flood(fault.what, fault.size, connection.connection_id)
            for _ in range(fault.count):
                connection.send("fault", *message)

    def _deaf(self, fault: f.Deaf, connections: list[Connection]) -> None:
        for connection in connections:
            connection.pause_reading()
            if fault.for_s > 0:
                self._later(fault.for_s, connection.resume_reading)

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
