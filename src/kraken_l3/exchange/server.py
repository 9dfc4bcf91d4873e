"""The embedded exchange: one server on loopback that is Kraken as far as a client can tell."""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Callable, Optional

from aiohttp import WSMsgType, web

from kraken_l3.clock import Clock, SystemClock
from kraken_l3.exchange.client_session import Now, Rules, Session
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.fault_injector import FaultInjector
from kraken_l3.exchange.faults import Fault
from kraken_l3.exchange.feed import Feed, Message
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits, SlidingWindow
from kraken_l3.exchange.rest import TOKEN_PATH, TokenServer
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.wire import PONG, frame

__all__ = ["API_KEY", "API_SECRET", "Exchange"]

#: Made up for this server; they open nothing at Kraken.
API_KEY = "embedded-exchange-key"
API_SECRET = "ZW1iZWRkZWQgZXhjaGFuZ2UsIG5vdCBhIHNlY3JldCBvZiBhbnlib2R5IGF0IGFsbCwganVzdCBieXRlcw=="

_NS_PER_S = 1_000_000_000
_HEARTBEAT = b'{"channel":"heartbeat"}'
_IDLE_CLOSE_CODE = 1000  # invented: with which code Kraken closes an idle connection is not known
#: How long a client may take to answer a close frame.
_CLOSE_S = 2.0
#: At the greatest rate the flow pauses while every client has so much to read.
_ENOUGH_BYTES = 1 << 20


class Exchange:
    """An async context manager: inside it, a Kraken is running.

    Args:
        feed: where messages come from; by default order flow for BTC/USD and ETH/USD at 50 messages a second.
        limits: what clients may ask for.
        faults: what goes wrong by itself; more by `push`.
        host: address to listen on.
        port: 0 takes a free one.
        tls: a server context; the URLs then say https and wss.
        clock: the clocks it goes by.
        sent: where to note what was sent; by default everything but heartbeats is kept in memory (`sent.payloads`).
    """

    def __init__(
        self,
        feed: Optional[Feed] = None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        faults: Iterable[Fault] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Optional[ssl.SSLContext] = None,
        clock: Optional[Clock] = None,
        api_key: str = API_KEY,
        api_secret: str = API_SECRET,
        sent: Optional[SentLog] = None,
        sent_log: Optional[Path] = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.feed = feed if feed is not None else OrderFlow(now_ns=self.clock.wall_ns())
        self.limits = limits
        self.api_key = api_key
        self.api_secret = api_secret
        self.sent = sent or SentLog(path=sent_log)
        self.tokens = TokenServer(api_key, api_secret, limits)
        self.connections: dict[int, Connection] = {}
        self.public_connections: dict[int, Connection] = {}
        self.connections_made = 0
        self._numbers = {True: 0, False: 0}
        self.tokens_given = 0
        self.system = "online"
        self.faults = FaultInjector(self, faults)
        counter = SlidingWindow(limits.subscriptions_per_s, 1.0)
        self._rules = Rules(self.feed, dict(self.feed.instruments()), self.tokens, limits, counter, self.faults)
        self._attempts: dict[str, SlidingWindow] = {}
        self._banned_until_ns: dict[str, int] = {}
        self._host, self._port, self._tls = host, port, tls
        self._level3: dict[tuple[str, int], set[Connection]] = defaultdict(set)
        self._ids = random.Random()
        self._runner: Optional[web.AppRunner] = None
        self._tasks: list[asyncio.Task[None]] = []

    # life

    async def __aenter__(self) -> Exchange:
        self._changed = asyncio.Event()
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post(TOKEN_PATH, self._token)
        app.router.add_get("/v2", self._private)
        app.router.add_get("/public/v2", self._public)
        app.router.add_route("*", "/0/{tail:.*}", self._unknown_method)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls, backlog=512)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._beat())]
        for task in self._tasks:
            task.add_done_callback(self._tell_if_failed)
        self.faults.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.faults.stop()
        await self._say_goodbye()
        if self._runner is not None:
            await self._runner.cleanup()
        self.sent.close()

    @staticmethod
    def _tell_if_failed(task: asyncio.Task[None]) -> None:
        """A feed that fails must not look like a quiet market."""
        if not task.cancelled() and (error := task.exception()) is not None:
            message = {"message": "the embedded exchange stopped its flow", "exception": error, "task": task}
            asyncio.get_running_loop().call_exception_handler(message)

    async def _say_goodbye(self) -> None:
        """Closes all connections in order; who reads nothing, or does not answer, is cut off soon."""
        for connection in self.all_connections():
            connection.close(1001)
        for turn in range(50):
            left = self.all_connections()
            if not left or (turn >= 10 and not any(connection.backlog for connection in left)):
                break
            await asyncio.sleep(0.02)
        for connection in self.all_connections():
            connection.abort(reset=False)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def rest_url(self) -> str:
        """Where the token is to be had."""
        return f"http{'s' if self._tls else ''}://{self._authority}"

    @property
    def ws_url(self) -> str:
        """The level3 endpoint (ws-l3.kraken.com/v2)."""
        return f"ws{'s' if self._tls else ''}://{self._authority}/v2"

    @property
    def public_ws_url(self) -> str:
        """The public endpoint (ws.kraken.com/v2)."""
        return f"ws{'s' if self._tls else ''}://{self._authority}/public/v2"

    @property
    def _authority(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def now(self) -> Now:
        """This moment on both clocks."""
        return Now(self.clock.wall_ns(), self.clock.mono_ns())

    # what tests do with it

    async def push(self, fault: Fault) -> None:
        """Does the fault now, or arms it when its `when` says later."""
        self.faults.add(fault)
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[Exchange], bool], timeout_s: float = 10.0) -> None:
        """Waits until the condition holds, looking whenever something happened.

        Raises:
            asyncio.TimeoutError: it did not come true in time.
        """

        async def wait() -> None:
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), timeout_s)

    async def until_sent(self, messages: int, timeout_s: float = 10.0) -> None:
        """Waits until so many level3 messages were handed to sockets."""
        await self.until(lambda exchange: exchange.sent.level3_count >= messages, timeout_s)

    async def until_connections(self, made: int, timeout_s: float = 10.0) -> None:
        """Waits until so many connections were made in all, at both endpoints."""
        await self.until(lambda exchange: exchange.connections_made >= made, timeout_s)

    async def until_subscribed(self, subscriptions: int, timeout_s: float = 10.0) -> None:
        """Waits until so many level3 subscriptions are alive."""
        await self.until(
            lambda exchange: sum(len(c.session.depths) for c in exchange.connections.values()) >= subscriptions,
            timeout_s,
        )

    # what faults act on

    def announce(self, system: str, more: Optional[dict[str, object]] = None) -> None:
        """Tells every connection the engine's status, e.g. "maintenance", with announcements beside it."""
        self.system = system
        for connection in self.all_connections():
            connection.send("status", self._status(more))

    def all_connections(self) -> list[Connection]:
        """Those of both endpoints."""
        return [*self.connections.values(), *self.public_connections.values()]

    def set_pair_status(self, symbol: str, status: str) -> None:
        """A pair changes its status; subscribers of `instrument` get an update."""
        record = re.sub(r'"status":"[a-z_]*"', f'"status":"{status}"', self._rules.records[symbol], count=1)
        self._rules.records[symbol] = record
        text = f'{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{record}]}}}}'.encode()
        for connection in self.public_connections.values():
            if connection.session.instruments:
                connection.send("instrument", text)

    def expire_tokens(self) -> None:
        """Voids all tokens given out so far."""
        self.tokens.expire_all()

    def wall_ns(self) -> int:
        """The wall clock it goes by."""
        return self.clock.wall_ns()

    # REST

    async def _token(self, request: web.Request) -> web.Response:
        body = await request.read()
        scripted = self.faults.token_error()
        if scripted is not None:
            return web.Response(status=scripted.http_status, text=scripted.body, content_type="application/json")
        answer = self.tokens.answer(request.headers, body, self.clock.mono_ns())
        if not answer["error"]:
            self.tokens_given += 1
        self._changed.set()
        return web.json_response(answer)

    async def _unknown_method(self, request: web.Request) -> web.Response:
        return web.json_response({"error": ["EGeneral:Unknown method"]})

    # WebSocket

    async def _private(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, private=True)

    async def _public(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, private=False)

    def _refused_attempt(self, address: str) -> bool:
        """Cloudflare's limit: too many attempts ban the address for as long as the window is."""
        mono_ns = self.clock.mono_ns()
        if mono_ns < self._banned_until_ns.get(address, 0):
            return True
        window = self._attempts.setdefault(address, SlidingWindow(self.limits.attempts, self.limits.attempts_window_s))
        if window.take(1, mono_ns):
            return False
        self._banned_until_ns[address] = mono_ns + int(self.limits.attempts_window_s * _NS_PER_S)
        return True

    async def _serve(self, request: web.Request, *, private: bool) -> web.StreamResponse:
        if self._refused_attempt(request.remote or "") or self.faults.refuses_connections():
            return web.Response(status=429, text="error code: 1015")  # as Cloudflare words its rate limit
        ws = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=1 << 20)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        session = Session(self._next_number(private), self._rules, private=private)
        connection = Connection(session, transport, self.sent, self.limits.backlog_bytes)
        connection.active_ns = self.clock.mono_ns()
        self._endpoint(private)[connection.number] = connection
        connection.send("status", self._status())
        self._changed.set()
        try:
            await self._converse(ws, connection)
        finally:
            self._forget(connection)
            connection.hang_up()
        return ws

    def _next_number(self, private: bool) -> int:
        """Each endpoint counts its own connections."""
        self.connections_made += 1
        self._numbers[private] += 1
        return self._numbers[private]

    def _endpoint(self, private: bool) -> dict[int, Connection]:
        return self.connections if private else self.public_connections

    def _status(self, more: Optional[dict[str, object]] = None) -> bytes:
        data = {
            "version": "2.0.10",
            "system": self.system,
            "api_version": "v2",
            "connection_id": self._ids.randrange(2**53 + 1, 2**64),
            **(more or {}),
        }
        return json.dumps({"channel": "status", "type": "update", "data": [data]}, separators=(",", ":")).encode()

    async def _converse(self, ws: web.WebSocketResponse, connection: Connection) -> None:
        while True:
            message = await ws.receive()
            connection.active_ns = self.clock.mono_ns()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                text = message.data if message.type is WSMsgType.TEXT else message.data.decode("utf-8", "replace")
                self._answer(connection, text)
            elif message.type is WSMsgType.PING:
                connection.send("frame", b"", frame(message.data, PONG))
            elif message.type is WSMsgType.CLOSE:
                connection.close(message.data or 1000)
                return
            elif message.type is not WSMsgType.PONG:
                return

    def _answer(self, connection: Connection, text: str) -> None:
        session = connection.session
        before = dict(session.depths)
        for answer in session.receive(text, self.now()):
            self.faults.deliver(connection, answer.channel, answer.symbol, answer.payload)
        if session.depths != before:
            for key in before.items() - session.depths.items():
                self._level3[key].discard(connection)
            for key in session.depths.items() - before.items():
                self._level3[key].add(connection)
        if session.heartbeats and connection.next_heartbeat_ns is None:
            connection.next_heartbeat_ns = self.clock.mono_ns() + _NS_PER_S
        self._changed.set()

    def _forget(self, connection: Connection) -> None:
        connection.closing = True
        for key in connection.session.depths.items():
            self._level3[key].discard(connection)
        connection.session.end()
        self._endpoint(connection.session.private).pop(connection.number, None)
        self._changed.set()

    # the flow

    async def _pump(self) -> None:
        """Delivers what the feed says is due."""
        while True:
            for message in self.feed.due(self.clock.wall_ns(), self.clock.mono_ns()):
                self._deliver(message)
            self._changed.set()
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        due_ns = self.feed.next_due_ns()
        if due_ns is None:
            return 0.05
        if due_ns == 0:
            readers = [c.backlog for c in self.all_connections() if c.session.subscribed]
            return 0.0 if readers and min(readers) < _ENOUGH_BYTES else 0.002
        return min(0.05, max(0.0, (due_ns - self.clock.mono_ns()) / _NS_PER_S))

    def _deliver(self, message: Message) -> None:
        if message.channel == "level3":
            readers: Iterable[Connection] = self._level3.get((message.symbol, message.depth), ())
        else:
            readers = [c for c in self.public_connections.values() if message.symbol in c.session.trades]
        if self.faults.armed:
            for connection in tuple(readers):
                self.faults.deliver(connection, message.channel, message.symbol, message.payload)
            return
        for connection in readers:
            connection.send(message.channel, message.payload)

    async def _beat(self) -> None:
        """Heartbeats, the idle limit, and the sent log's way to the disk."""
        while True:
            await asyncio.sleep(0.05)
            mono_ns = self.clock.mono_ns()
            for connection in self.all_connections():
                due = connection.next_heartbeat_ns
                if due is not None and due <= mono_ns:
                    connection.send("heartbeat", _HEARTBEAT)
                    connection.next_heartbeat_ns = max(due + _NS_PER_S, mono_ns)
                idle_ns = mono_ns - connection.active_ns
                if not connection.session.subscribed and idle_ns > self.limits.idle_s * _NS_PER_S:
                    connection.close(_IDLE_CLOSE_CODE, "idle")
                self._end_if_unanswered(connection, mono_ns)
            self.sent.flush()

    @staticmethod
    def _end_if_unanswered(connection: Connection, mono_ns: int) -> None:
        """A client that does not answer the close is cut off."""
        if not connection.closing:
            return
        if connection.closed_ns is None:
            connection.closed_ns = mono_ns
        elif mono_ns - connection.closed_ns > _CLOSE_S * _NS_PER_S:
            connection.abort(reset=False)
