"""The embedded exchange: one server on loopback that is Kraken as far as a client can tell."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterable, Mapping
from typing import Optional

from aiohttp import web

from kraken_l3.clock import Clock, SystemClock
from kraken_l3.errors import ConfigError
from kraken_l3.exchange.announcements import instrument_update, status_update, with_field
from kraken_l3.exchange.client_session import Rules
from kraken_l3.exchange.clients import Clients, Observer
from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.delivery import Delivery
from kraken_l3.exchange.endpoints import LEVEL3_PATH, PUBLIC_PATH, Endpoints
from kraken_l3.exchange.fault_injector import FaultInjector
from kraken_l3.exchange.fault_log import FaultLog
from kraken_l3.exchange.faults import Fault, PairField, PairStatus
from kraken_l3.exchange.feed import Feed
from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.liveness import INTERVAL_S, keep_time
from kraken_l3.exchange.price_levels import PriceBooks
from kraken_l3.exchange.rest import TokenServer
from kraken_l3.exchange.sent_log import SentLog

__all__ = ["API_KEY", "API_SECRET", "Exchange", "made_up_keys"]

#: Made up for this server; they open nothing at Kraken.
API_KEY = "embedded-exchange-key"
API_SECRET = "ZW1iZWRkZWQgZXhjaGFuZ2UsIG5vdCBhIHNlY3JldCBvZiBhbnlib2R5IGF0IGFsbCwganVzdCBieXRlcw=="


def made_up_keys(count: int) -> dict[str, str]:
    """So many API keys and their secrets, always the same."""
    more = {
        f"{API_KEY}-{n}": base64.b64encode(f"embedded exchange, key {n}, not a secret of anybody".encode()).decode()
        for n in range(2, count + 1)
    }
    return {API_KEY: API_SECRET, **more}


class Exchange:
    """An async context manager: inside it, a Kraken is running.

    Args:
        feed: where messages come from; by default order flow for BTC/USD and ETH/USD at 50 messages a second.
        limits: what clients may ask for.
        faults: what goes wrong by itself; more by `push`.
        fault_log: where what went wrong is noted; by default in memory (`faults.log.records`).
        fault_seed: decides what faults leave to chance.
        host: address to listen on.
        port: 0 takes a free one.
        tls: a server context; the URLs then say https and wss.
        clock: the clocks it goes by.
        keys: the API keys it knows and their secrets (base64); by default one.
        sent: where to note what was sent; by default everything but heartbeats is kept in memory (`sent.payloads`).
        observer: told when clients come and go.
        routes: what is served beside Kraken's own paths.

    Raises:
        ConfigError: a fault names a pair that is not traded here.

    Attributes:
        clients: the connections.
        keys: API keys and their secrets.
        tokens: what they are worth.
        system: the engine's status, e.g. "online".
        changed: set whenever a client or the feed did something (see `testing`); there once the exchange runs.
    """

    changed: asyncio.Event

    def __init__(
        self,
        feed: Optional[Feed] = None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        faults: Iterable[Fault] = (),
        fault_log: Optional[FaultLog] = None,
        fault_seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Optional[ssl.SSLContext] = None,
        clock: Optional[Clock] = None,
        keys: Optional[Mapping[str, str]] = None,
        sent: Optional[SentLog] = None,
        observer: Optional[Observer] = None,
        routes: Iterable[web.RouteDef] = (),
    ) -> None:
        self.clock = clock or SystemClock()
        self.feed = feed if feed is not None else OrderFlow(now_ns=self.clock.wall_ns())
        self.limits = limits
        self.keys = dict(keys or made_up_keys(1))
        self.sent = sent or SentLog()
        self.tokens = TokenServer(self.keys, limits)
        self.clients = Clients(observer)
        self.system = "online"
        records = dict(self.feed.instruments())
        script = list(faults)
        for fault in script:
            if isinstance(fault, (PairStatus, PairField)) and fault.symbol not in records:
                name = type(fault).__name__.lower()
                raise ConfigError(f"fault {name} needs the symbol of a pair that is traded here, got {fault.symbol}")
        self.faults = FaultInjector(self, script, fault_log, fault_seed)
        books = PriceBooks(self.feed)
        self._rules = Rules(self.feed, records, books, self.tokens, limits, self.faults)
        self._delivery = Delivery(self.feed, self.clients, books, self.faults, self.clock, self._notify)
        self._endpoints = Endpoints(
            self.clients,
            self._rules,
            self.tokens,
            self.faults,
            self.sent,
            self.clock,
            lambda: self.system,
            self._notify,
            observer,
            routes,
        )
        self._host, self._port, self._tls = host, port, tls
        self._runner: Optional[web.AppRunner] = None
        self._tasks: list[asyncio.Task[None]] = []

    # life

    async def __aenter__(self) -> Exchange:
        self.changed = asyncio.Event()  # here, since an Event of Python 3.9 belongs to the loop it was made in
        self._runner = web.AppRunner(
            self._endpoints.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls, backlog=512)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._tasks = [asyncio.create_task(self._delivery.run()), asyncio.create_task(self._keep_time())]
        for task in self._tasks:
            task.add_done_callback(self._tell_if_failed)
        self.faults.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.faults.stop()
        await self._close_connections()
        if self._runner is not None:
            await self._runner.cleanup()
        self.sent.close()
        self.faults.log.close()

    @staticmethod
    def _tell_if_failed(task: asyncio.Task[None]) -> None:
        """A feed that fails must not look like a quiet market."""
        if not task.cancelled() and (error := task.exception()) is not None:
            message = {"message": "the embedded exchange stopped its flow", "exception": error, "task": task}
            asyncio.get_running_loop().call_exception_handler(message)

    async def run_until_failure(self) -> None:
        """Wait until a part of it fails, and raise its error; inside the context manager."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _close_connections(self) -> None:
        """Closes all connections in order; a client that reads nothing, or does not answer, is cut off soon."""
        for connection in self.clients.all():
            connection.close(1001)
        for turn in range(50):
            left = self.clients.all()
            # 0.2 s for the answer to the close frame, 1 s for a client that still reads what was sent before it
            if not left or (turn >= 10 and not any(connection.backlog for connection in left)):
                break
            await asyncio.sleep(0.02)
        for connection in self.clients.all():
            connection.abort(reset=False)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            for connection in self.clients.all():
                keep_time(connection, self.limits, self.clock.mono_ns())
            self.sent.flush()  # so that a log file on disk is never long behind the sockets

    def _notify(self) -> None:
        self.changed.set()

    # where it is

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def rest_url(self) -> str:
        """Base URL of REST (https://api.kraken.com)."""
        return f"http{'s' if self._tls else ''}://{self._authority}"

    @property
    def ws_url(self) -> str:
        """The level3 endpoint (wss://ws-l3.kraken.com/v2)."""
        return f"ws{'s' if self._tls else ''}://{self._authority}{LEVEL3_PATH}"

    @property
    def public_ws_url(self) -> str:
        """The public endpoint (wss://ws.kraken.com/v2)."""
        return f"ws{'s' if self._tls else ''}://{self._authority}{PUBLIC_PATH}"

    @property
    def _authority(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    @property
    def api_key(self) -> str:
        """The first of its keys."""
        return next(iter(self.keys))

    @property
    def api_secret(self) -> str:
        """The secret of the first key."""
        return self.keys[self.api_key]

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `kraken-l3 record` finds it, and its keys."""
        found = {
            "KRAKEN_L3_REST_URL": self.rest_url,
            "KRAKEN_L3_WS_URL": self.ws_url,
            "KRAKEN_L3_PUBLIC_WS_URL": self.public_ws_url,
        }
        for number, (key, secret) in enumerate(self.keys.items(), 1):
            suffix = f"_{number}" if number > 1 else ""
            found[f"KRAKEN_API_KEY{suffix}"] = key
            found[f"KRAKEN_API_SECRET{suffix}"] = secret
        return found

    # what has happened, and what is to happen

    @property
    def connections_made(self) -> int:
        """WebSocket connections made so far, at both endpoints."""
        return self.clients.made

    @property
    def tokens_given(self) -> int:
        """Tokens handed out so far."""
        return self.tokens.given

    async def push(self, fault: Fault) -> None:
        """Does the fault now, or arms it when its fields say later."""
        self.faults.add(fault)
        await asyncio.sleep(0)  # what it sends is handed to the sockets before the caller goes on

    # what faults act on (`fault_injector.FaultTarget`)

    def announce(self, system: str, more: Optional[dict[str, object]] = None) -> None:
        """Tells every connection the engine's status, e.g. "maintenance", with announcements beside it."""
        self.system = system
        self.feed.set_system(system)
        for connection in self.clients.all():
            connection.send("status", status_update(connection.connection_id, system, more or {}))

    def all_connections(self) -> list[Connection]:
        """The connections of both endpoints."""
        return self.clients.all()

    def set_pair_status(self, symbol: str, status: str) -> None:
        """A pair changes its status; subscribers of `instrument` get an update."""
        self.set_pair_field(symbol, "status", status)

    def set_pair_field(self, symbol: str, field: str, value: object) -> None:
        """A field of a pair's object changes, e.g. `price_precision`; subscribers of `instrument` get an update."""
        record = self._rules.records[symbol] = with_field(self._rules.records[symbol], field, value)
        for connection in self.clients.public.values():
            if connection.session.public.instruments:
                connection.send("instrument", instrument_update(record))

    def expire_tokens(self) -> None:
        """Voids all tokens given out so far."""
        self.tokens.expire_all()

    def wall_ns(self) -> int:
        """The wall clock it goes by."""
        return self.clock.wall_ns()
