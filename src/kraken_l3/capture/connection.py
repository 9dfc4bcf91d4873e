"""One WebSocket connection from its opening to its end: frames to the sink first, then to the session.

Reading order of a frame: `on_message` -> the sink's queue -> `Session` -> events into journal and gap ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, NamedTuple, Optional

import structlog

from kraken_l3.archive.receipts import MALFORMED
from kraken_l3.capture.channel import Channel
from kraken_l3.capture.connection_journal import UNRECOGNISED_KEPT, ConnectionJournal
from kraken_l3.capture.delivery import Delivery, Direct
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.maintenance import MaintenanceWatch
from kraken_l3.capture.rest import Tokens
from kraken_l3.capture.sink import Sink
from kraken_l3.capture.transport import WebSocket, connect
from kraken_l3.clock import Clock
from kraken_l3.errors import MalformedMessage
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol import requests
from kraken_l3.protocol.budget import SubscriptionBudget
from kraken_l3.protocol.frames import Data, Heartbeat, Incoming, Pong, Response, Status, classify, snapshot_symbols
from kraken_l3.protocol.session import (
    Acked,
    Dead,
    Event,
    Request,
    Session,
    Snapshotted,
    SymbolRejected,
    SymbolState,
    TokenRefused,
)

__all__ = ["Connection", "ConnectionContext", "ConnectionResult", "Shard"]

TICK_S = 0.25
CLOSE_WAIT_S = 1.0

log = structlog.get_logger("kraken_l3.capture.connection")


class ConnectionContext(NamedTuple):
    """What all connections share.

    Attributes:
        sink: takes frames and journal records.
        gaps: what is missing.
        tokens: the session token (None: only public channels).
        clock: stamps frames.
        liveness_s: a connection that is silent for longer is dead.
        maintenance: says what Kraken announces.
        connect: opens a WebSocket, as `transport.connect` does.
        leaders: decides what is archived where two connections carry the level3 symbols (None: one does).
    """

    sink: Sink
    gaps: GapLedger
    tokens: Optional[Tokens]
    clock: Clock
    liveness_s: float
    maintenance: MaintenanceWatch
    connect: Callable[..., Awaitable[WebSocket]] = connect
    leaders: Optional[Delivery] = None


class Shard(NamedTuple):
    """What one connection subscribes to, at which URL, and the rate budget of its subscriptions.

    `is_second`: another connection carries the same symbols; this one is opened once that one has subscribed them.
    """

    url: str
    channel: Channel
    budget: SubscriptionBudget
    is_second: bool = False


class ConnectionResult(NamedTuple):
    """How a connection ended. `healthy_ns`: for how long all its symbols had been whole."""

    cause: str
    detail: str
    healthy_ns: int
    maintenance: bool


class Connection:
    """See the module. Implements `transport.Receiver`.

    Args:
        number: as in receipts and journal.
        shard: where to connect, and what to subscribe.
        context: what all connections share.
    """

    def __init__(self, number: int, shard: Shard, context: ConnectionContext) -> None:
        self.number = number
        self.channel = shard.channel
        self._url = shard.url
        self._budget = shard.budget
        self._context = context
        self._sink = context.sink
        self._clock = context.clock
        is_shared = shard.channel.name == "level3" and context.leaders is not None
        direct = Direct(shard.channel.name, context.sink, context.gaps)
        self._delivery: Delivery = context.leaders if is_shared and context.leaders is not None else direct
        self._journal = ConnectionJournal(number, shard.channel, context.sink.journal, context.clock)
        self._update_prefix = f'{{"channel":"{self.channel.name}","type":"update"'.encode()
        self._session: Optional[Session] = None
        self._socket: Optional[WebSocket] = None
        self._over: asyncio.Future[Dead] = asyncio.get_running_loop().create_future()
        self._closed = asyncio.Event()
        self._work = asyncio.Event()
        self._close_code: Optional[int] = None
        self._kept_until_ns = 0
        self._tokens_sent: dict[Optional[str], str] = {}
        self._withheld: dict[str, tuple[Acked, int, int]] = {}
        self._paused = False
        self._has_ended = False
        #: When the last frame of any kind was received; monotonic, also when reading was resumed.
        self.last_recv_ns = 0
        self.last_mono_ns = 0

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> ConnectionResult:
        """Connect, subscribe, and record until the connection ends.

        Raises:
            ConnectFailed: the connection could not be made.
            RefusedByKraken: Kraken refuses the key.
        """
        avoid = self._delivery.addresses(self.number)
        how = {"avoid": avoid} if avoid else {}
        self._socket = await self._context.connect(self._url, self, self._clock, **how)
        if self._paused:  # meanwhile
            self.pause()
        tasks = [asyncio.ensure_future(self._send_requests()), asyncio.ensure_future(self._let_time_pass())]
        try:
            waiting: list[asyncio.Future[Any]] = [self._over, *tasks]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            return self._end(self._over.result())
        except BaseException as error:
            is_stop = isinstance(error, asyncio.CancelledError)
            self._end(Dead("stop", "") if is_stop else Dead("fault", type(error).__name__))
            raise
        finally:
            for task in tasks:
                task.cancel()
            await self._close_socket()

    def end(self, cause: str, detail: str, *, kept_until_ns: int = 0) -> None:
        """Make `run` end, with this cause. What was received after `kept_until_ns` is lost (0: nothing is)."""
        self._kept_until_ns = self._kept_until_ns or kept_until_ns
        self.deliver()  # what has arrived comes before what the caller does next
        if not self._over.done():
            self._over.set_result(Dead(cause, detail))

    def deliver(self) -> None:
        """Put what has arrived into the sink, now; `last_recv_ns` is exact then."""
        if self._socket is not None:
            self._socket.deliver()

    @property
    def address(self) -> str:
        """The server's address ("": not connected)."""
        return self._socket.address if self._socket is not None else ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._over.done()

    def pause(self) -> None:
        """Stop reading: the archive cannot keep up."""
        self._paused = True
        if self._socket is not None and not self._closed.is_set():
            self._socket.pause_reading()

    def resume(self) -> None:
        """Resume reading. The pause does not count as silence of the server."""
        self._paused = False
        self.last_mono_ns = self._clock.mono_ns()
        if self._socket is not None and not self._closed.is_set():
            self._socket.resume_reading()

    def add(self, symbol: str) -> None:
        """Subscribe to one more symbol of the channel."""
        self.channel = self.channel.also(symbol)
        if self._session is not None:
            self._session.add(symbol)
        self._work.set()

    def resync(self, symbol: Optional[str]) -> bool:
        """Resubscribe the symbol (None: the channel). False if it is not whole in the first place."""
        done = self._session is not None and self._session.resync(symbol)
        self._work.set()
        return done

    @property
    def has_settled(self) -> bool:
        """Whether every symbol is whole, or was rejected."""
        settled = (SymbolState.LIVE, SymbolState.REJECTED)
        return self._session is not None and all(self._session.state(each) in settled for each in self.channel.symbols)

    def state(self, symbol: Optional[str]) -> SymbolState:
        """The state of a symbol."""
        return SymbolState.WAITING if self._session is None else self._session.state(symbol)

    def _end(self, dead: Dead) -> ConnectionResult:
        assert self._session is not None
        self.deliver()  # the gaps begin after it
        if self._journal.unrecognised_count > UNRECOGNISED_KEPT:
            log.warning("unrecognised frames", connection=self.number, count=self._journal.unrecognised_count)
        left_ns = self.last_recv_ns or self._clock.wall_ns()
        left_ns = min(left_ns, self._kept_until_ns or left_ns)
        # Before the end of the connection is journalled: a crash in between must not leave a symbol without a gap.
        for symbol in self._session.known_whole():
            if symbol is not None:
                self._delivery.missing(symbol, dead.cause, left_ns, self.number)
        self._delivery.ended(self.number)
        self._has_ended = True
        self._journal.disconnected(dead, self._close_code, self.last_recv_ns)
        maintenance = self._session.system != "online"
        return ConnectionResult(dead.cause, dead.detail, self._session.healthy_ns(self._clock.mono_ns()), maintenance)

    async def _close_socket(self) -> None:
        assert self._socket is not None
        if self._closed.is_set():
            return
        # A server's answer to our close frame would stand behind all that was not read: not worth waiting for.
        if self._paused:
            self._socket.abort()
            return
        self._socket.close()
        try:
            await asyncio.wait_for(self._closed.wait(), CLOSE_WAIT_S)
        except asyncio.TimeoutError:
            self._socket.abort()

    # -- frames, as the transport hands them in ------------------------------------------------------------------------

    def on_opened(self, extensions: str) -> None:
        """See `transport.Receiver`. The session's deadlines count from here: connecting may have taken long."""
        self._session = Session(
            self.channel.symbols,
            now_ns=self._clock.mono_ns(),
            liveness_ns=int(self._context.liveness_s * NS_PER_S),
            wants_snapshot=self.channel.whole_by_snapshot,
        )
        self._journal.connected(self._url, extensions)

    def on_message(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        """See `transport.Receiver`."""
        if self._has_ended:  # TLS hands over what came before its own end; the gaps, or the other connection, have it
            return
        self.last_recv_ns = recv_ns
        self.last_mono_ns = mono_ns
        # Nearly every frame is one of these. Whether it is good JSON, the verifier tells: parsing it here would cost
        # more than all the rest, and its bytes go to the archive either way.
        if payload.startswith(self._update_prefix) and payload.endswith(b"}"):
            self._delivery.put(Frame(payload, recv_ns, mono_ns, self.number))
            self.channel.observe(payload, self.number)
            return
        incoming = classify(payload)
        if isinstance(incoming, Data):
            self._on_data(incoming, payload, recv_ns, mono_ns)
        elif isinstance(incoming, (Status, Response)):
            self._on_control(incoming, payload, mono_ns)
        elif not isinstance(incoming, (Heartbeat, Pong)):
            self._on_unrecognised(payload)

    def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
        """See `transport.Receiver`."""
        self.last_recv_ns = recv_ns
        self.last_mono_ns = mono_ns

    def on_violation(self, payload: bytes, what: str) -> None:
        """See `transport.Receiver`."""
        self._on_unrecognised(payload)
        self.end("protocol", what)

    def on_closed(self, code: Optional[int], reason: str) -> None:
        """See `transport.Receiver`."""
        self._close_code = code
        self._closed.set()
        if code is None:
            self.end("network", "the connection broke")
        else:
            self.end("closed", f"closed by the server: {code} {reason}".rstrip())

    def _on_data(self, data: Data, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        frame = Frame(payload, recv_ns, mono_ns, self.number, MALFORMED if data.malformed else 0)
        if data.channel == self.channel.name and data.kind == "snapshot" and self.channel.whole_by_snapshot:
            self._on_snapshot(frame)
        elif data.channel == self.channel.name:
            self._delivery.put(frame)
        else:
            self._sink.put(data.channel, frame)
        if data.malformed:
            log.warning("malformed message", connection=self.number, channel=data.channel, bytes=len(payload))
            return
        self.channel.observe(payload, self.number)

    def _on_snapshot(self, frame: Frame) -> None:
        assert self._session is not None
        symbols: list[str] = []
        try:
            symbols = [symbol for symbol in snapshot_symbols(frame.payload) if symbol in self.channel.symbols]
        except MalformedMessage as error:
            log.warning("unreadable snapshot", connection=self.number, error=str(error))
        self._delivery.put_snapshot(frame, symbols)
        for symbol in symbols:
            self._take(self._session.snapshot(symbol, frame.mono_ns), frame.recv_ns)

    def _on_control(self, incoming: Incoming, payload: bytes, mono_ns: int) -> None:
        assert self._session is not None
        self._journal.control(payload, self.last_recv_ns, mono_ns)
        if isinstance(incoming, Status):
            self._session.status(incoming)
            if incoming.system != "online":
                log.info("exchange status", system=incoming.system)
            self._context.maintenance.observe(incoming.maintenance)
        elif isinstance(incoming, Response):
            if incoming.depth_refused:
                log.warning(
                    "Kraken acknowledged an impossible depth; the requested one is assumed", connection=self.number
                )
            self._take(self._session.response(incoming, mono_ns), self.last_recv_ns)
        self._work.set()

    def _on_unrecognised(self, payload: bytes) -> None:
        self._journal.unrecognised(payload, self.last_recv_ns, self.last_mono_ns)

    # -- events from the session --------------------------------------------------------------------------------------

    def _take(self, events: list[Event], recv_ns: int) -> None:
        for event in events:
            if isinstance(event, Acked):
                self._on_acked(event)
            elif isinstance(event, Snapshotted):
                self._on_whole(event, recv_ns)
            elif isinstance(event, SymbolRejected):
                self._on_rejected(event, recv_ns)
            elif isinstance(event, TokenRefused):
                self._on_token_refused(event)
            else:
                self.end(event.cause, event.detail)

    def _on_acked(self, event: Acked) -> None:
        if event.symbol is None:
            return
        if self._delivery.subscribed(event.symbol, self.number):
            self._withheld.pop(event.symbol, None)
            self._journal.acknowledged(event, self.last_recv_ns, self.last_mono_ns)
        else:
            self._withheld[event.symbol] = (event, self.last_recv_ns, self.last_mono_ns)

    def _on_whole(self, event: Snapshotted, recv_ns: int) -> None:
        if event.symbol is not None and self._delivery.whole(event.symbol, recv_ns, self.number):
            withheld = self._withheld.pop(event.symbol, None)
            if withheld is not None:  # the symbol's subscription is this one now
                self._journal.acknowledged(*withheld)

    def _on_rejected(self, event: SymbolRejected, recv_ns: int) -> None:
        at_ns = recv_ns or self._clock.wall_ns()
        log.error(
            "subscription rejected",
            symbol=event.symbol,
            channel=self.channel.name,
            error=event.error,
            retry_s=event.retry_s,
            hint="Check the name (BTC/USD, not XBT/USD); the other symbols are recorded",
        )
        self._journal.rejected(event, at_ns)
        if event.symbol is not None:
            self._delivery.missing(event.symbol, "rejected", at_ns, self.number)

    def _on_token_refused(self, event: TokenRefused) -> None:
        log.warning("session token rejected, fetching another", error=event.error)
        if self._context.tokens is not None:
            self._context.tokens.refuse(self._tokens_sent.get(event.symbol, ""))

    # -- tasks ---------------------------------------------------------------------------------------------------------

    async def _send_requests(self) -> None:
        assert self._session is not None
        while True:
            if not self._session.has_request(self._clock.mono_ns()):
                self._work.clear()
                await self._work.wait()
                continue
            # Waiting comes before choosing: what is worth asking for may have changed when it is our turn.
            wait_ns = self._budget.reserve(self.channel.cost, self._clock.mono_ns())
            if wait_ns:
                await asyncio.sleep(wait_ns / NS_PER_S)
            token = await self._context.tokens.get() if self.channel.private and self._context.tokens else None
            request = self._session.next_request(self._clock.mono_ns())
            if request is not None:
                if token is not None:
                    self._tokens_sent[request.symbol] = token
                self._send(request, token)

    def _send(self, request: Request, token: Optional[str]) -> None:
        assert self._socket is not None
        if self._closed.is_set():
            return
        if request.method == "ping":
            self._socket.send(requests.ping(request.req_id))
            return
        make = requests.subscribe if request.method == "subscribe" else requests.unsubscribe
        depth = self.channel.depth
        self._socket.send(make(self.channel.name, request.symbol, req_id=request.req_id, depth=depth, token=token))

    async def _let_time_pass(self) -> None:
        assert self._session is not None
        while True:
            await asyncio.sleep(TICK_S)
            if self._paused:  # the silence is ours
                continue
            now_ns = self._clock.mono_ns()
            self._take(self._session.tick(now_ns, self.last_mono_ns), 0)
            ping = self._session.next_ping(now_ns, self.last_mono_ns)
            if ping is not None:
                self._send(ping, None)
            self._work.set()
