"""The HTTP side: the REST calls, and the two WebSocket endpoints up to the end of each conversation."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from typing import Callable, Optional

from aiohttp import WSMsgType, web

from kraken_l3.clock import Clock
from kraken_l3.exchange.announcements import status_update
from kraken_l3.exchange.answers import Now
from kraken_l3.exchange.client_session import ClientSession, Rules
from kraken_l3.exchange.clients import Clients, Observer
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.fault_injector import FaultInjector
from kraken_l3.exchange.level3_rest import LEVEL3_CALL, level3_answer
from kraken_l3.exchange.limits import AttemptLimit
from kraken_l3.exchange.public_rest import PUBLIC_PREFIX, public_answer
from kraken_l3.exchange.rest import KEY_INFO_PATH, QUERY_PERMISSION, TOKEN_PATH, TokenServer, field_of
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.trades_rest import TRADES_METHOD, trades_answer

__all__ = ["LEVEL3_PATH", "PUBLIC_PATH", "Endpoints"]

#: Kraken serves both under /v2 of two hosts; one server on one port needs two paths.
LEVEL3_PATH = "/v2"
PUBLIC_PATH = "/public/v2"

_NS_PER_S = 1_000_000_000
_MAX_REQUEST_BYTES = 1 << 20


def _refusal(http_status: int) -> web.Response:
    # 1015 is how Cloudflare words its rate limit
    return web.Response(status=http_status, text="error code: 1015" if http_status == 429 else "<html>error</html>")


class Endpoints:
    """Requests and connections.

    Args:
        clients: where connections are entered.
        rules: what their sessions go by.
        tokens: who answers token requests.
        faults: what goes wrong.
        sent: where what is sent is noted.
        clock: both clocks.
        system: the engine's status at this moment.
        changed: called after each request, connection and message of a client.
        observer: told of each token request.
        routes: what is served beside Kraken's own.
    """

    def __init__(
        self,
        clients: Clients,
        rules: Rules,
        tokens: TokenServer,
        faults: FaultInjector,
        sent: SentLog,
        clock: Clock,
        system: Callable[[], str],
        changed: Callable[[], None],
        observer: Optional[Observer] = None,
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        self._routes = tuple(routes)
        self._clients = clients
        self._rules = rules
        self._tokens = tokens
        self._faults = faults
        self._sent = sent
        self._clock = clock
        self._system = system
        self._changed = changed
        self._observer = observer
        self._attempts = AttemptLimit(rules.limits.attempts, rules.limits.attempts_window_s)
        self._ids = random.Random()

    def application(self) -> web.Application:
        """The routes, for a server to run."""
        app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
        app.router.add_post(TOKEN_PATH, self._token)
        app.router.add_post(KEY_INFO_PATH, self._key_info)
        app.router.add_post(LEVEL3_CALL, self._level3_call)
        app.router.add_route("*", PUBLIC_PREFIX + "{method}", self._public_call)
        app.router.add_get(LEVEL3_PATH, self._level3)
        app.router.add_get(PUBLIC_PATH, self._public)
        app.router.add_routes(self._routes)
        app.router.add_route("*", "/0/{tail:.*}", self._unknown_method)
        return app

    # REST

    async def _token(self, request: web.Request) -> web.Response:
        body = await request.read()
        api_key = request.headers.get("API-Key", "")
        scripted = self._faults.token_error(api_key, request.headers.get("API-Sign", ""))
        if scripted is not None:
            self._tell(api_key, scripted.body)
            return web.Response(
                status=scripted.http_status,
                reason=scripted.reason or None,
                text=scripted.body,
                content_type="application/json",
            )
        answer = self._tokens.answer(request.headers, body, self._clock.mono_ns())
        self._tell(api_key, answer["error"][0] if answer["error"] else "")
        self._changed()
        return web.json_response(answer)

    async def _key_info(self, request: web.Request) -> web.Response:
        return web.json_response(self._tokens.key_info(request.headers, await request.read(), self._clock.mono_ns()))

    async def _level3_call(self, request: web.Request) -> web.Response:
        body = await request.read()
        account, error = self._tokens.admit(LEVEL3_CALL, request.headers, body, self._clock.mono_ns())
        if account is None or QUERY_PERMISSION not in self._tokens.permissions:
            return web.json_response({"error": [error or "EGeneral:Permission denied"]})
        kind = request.headers.get("Content-Type", "")
        return web.json_response(level3_answer(body, kind, self._rules.feed, self._rules.records))

    def _tell(self, api_key: str, error: str) -> None:
        if self._observer is not None:
            self._observer.asked_for_token(api_key, error)

    async def _public_call(self, request: web.Request) -> web.Response:
        body, kind = await request.read(), request.headers.get("Content-Type", "")
        names = ("pair", "since", "asset")
        pair, since, asset = (request.query.get(name) or field_of(body, kind, name) for name in names)
        method, rules = request.match_info["method"], self._rules
        if method == TRADES_METHOD:
            return web.json_response(trades_answer(pair, since, rules.feed, rules.records))
        wanted = asset if method == "Assets" else pair
        assets, system = rules.feed.assets(), self._system()
        return web.json_response(public_answer(method, wanted, rules.records, assets, system, self._clock.wall_ns()))

    async def _unknown_method(self, request: web.Request) -> web.Response:
        return web.json_response({"error": ["EGeneral:Unknown method"]})

    # WebSocket

    async def _level3(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, private=True)

    async def _public(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, private=False)

    async def _serve(self, request: web.Request, *, private: bool) -> web.StreamResponse:
        if not self._attempts.take(request.remote or "", self._clock.mono_ns()):
            return _refusal(429)
        refused_with = self._faults.refused_with()
        if refused_with is not None:
            return _refusal(refused_with)
        # Pings and closes are answered through the connection, so that a stall holds them back too
        ws = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, max_msg_size=_MAX_REQUEST_BYTES)
        with contextlib.suppress(ConnectionError):
            await ws.prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():  # the client left during the handshake
            return ws
        session = ClientSession(self._clients.next_number(private=private), self._rules, private=private)
        # Over 2**53, so that a client which reads numbers as floats is found out
        connection_id = self._ids.randrange(2**53 + 1, 2**64)
        connection = Connection(session, connection_id, transport, self._sent, self._rules.limits.backlog_bytes)
        connection.opened_ns = connection.active_ns = self._clock.mono_ns()
        self._clients.add(connection)
        connection.send("status", status_update(connection_id, self._system(), {}))
        self._changed()
        try:
            await self._converse(ws, connection)
        finally:
            connection.closing = True
            self._clients.remove(connection)
            session.end()
            connection.hang_up()
            self._changed()
        return ws

    async def _converse(self, ws: web.WebSocketResponse, connection: Connection) -> None:
        while True:
            message = await ws.receive()
            connection.active_ns = self._clock.mono_ns()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                text = message.data if message.type is WSMsgType.TEXT else message.data.decode("utf-8", "replace")
                self._answer(connection, text)
            elif message.type is WSMsgType.PING:
                connection.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                connection.close(message.data or 1000)
                return
            elif message.type is not WSMsgType.PONG:
                return

    def _answer(self, connection: Connection, text: str) -> None:
        session = connection.session
        before = dict(session.depths)
        for answer in session.receive(text, Now(self._clock.wall_ns(), self._clock.mono_ns())):
            self._faults.deliver(connection, answer.channel, answer.symbol, answer.payload)
        if session.depths != before:
            self._clients.resubscribed(connection, before)
        if session.heartbeats and connection.next_heartbeat_ns is None:
            connection.next_heartbeat_ns = self._clock.mono_ns() + _NS_PER_S
        self._changed()
