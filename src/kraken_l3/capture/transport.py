"""The WebSocket of a connection, behind a small port. picows calls back for each frame at the lowest cost measured.

What picows leaves to its user is done here: joining fragments, and closing the connection on frames that RFC 6455
forbids (reserved bits without an extension, a continuation of nothing, text that is not UTF-8).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Collection
from typing import Any, Optional, Protocol

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from kraken_l3._version import __version__
from kraken_l3.clock import Clock
from kraken_l3.errors import KrakenL3Error

__all__ = ["MAX_FRAME_BYTES", "ConnectFailed", "Receiver", "WebSocket", "connect"]

#: A snapshot of depth 1000 has about 1 MB; this is enough for any book, and bounds memory.
MAX_FRAME_BYTES = 64 * 1024 * 1024
CONNECT_S = 15.0
HANDSHAKE_S = 10.0
#: With this much waiting to be sent, pings are not answered: pongs for a server that reads none would pile up.
PENDING_BYTES_MAX = 64 * 1024
#: Messages are handed to the receiver together: woken for each, the processor would fetch code and data of all that
#: comes after from memory again, which takes longer than the work. So long the first of them may wait by default.
DELIVER_S = 0.01
#: So many wait at most, and a larger message is handed over at once, with those before it.
WAITING_MAX = 64
WAITING_MESSAGE_BYTES = 16 * 1024
#: RFC 6455, section 7.4.1: the code of a close frame that has none.
CLOSE_WITHOUT_CODE = 1005
_LOGGER = logging.getLogger("kraken_l3.picows")
_LOGGER.setLevel(logging.ERROR)
_TEXT = WSMsgType.TEXT


class ConnectFailed(KrakenL3Error):
    """The WebSocket connection could not be made; the recorder retries."""


class Receiver(Protocol):
    """What a WebSocket calls, in the event loop."""

    def on_opened(self, extensions: str) -> None:
        """The handshake is complete, with these extensions ("": none); frames follow."""

    def on_message(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        """A complete message, up to `deliver_s` ago, in order with everything else that is told here.

        Both clocks were read before anything else was done with its last frame.
        """

    def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
        """A ping or pong frame, or a fragment of a message."""

    def on_violation(self, payload: bytes, what: str) -> None:
        """The server violated the WebSocket protocol with this frame; the connection is being closed."""

    def on_closed(self, code: Optional[int], reason: str) -> None:
        """The connection has ended. `code` is None if there was no close frame."""


class WebSocket(Protocol):
    """An open connection.

    Attributes:
        address: the server's, without its port.
    """

    address: str

    def send(self, message: bytes) -> None:
        """Send one text message."""

    def deliver(self) -> None:
        """Hand the receiver what has arrived, now."""

    def pause_reading(self) -> None:
        """Stop reading from the socket; TCP makes the server wait."""

    def resume_reading(self) -> None:
        """Resume reading."""

    def close(self, code: int = 1000) -> None:
        """Send a close frame and end the connection; `on_closed` follows."""

    def abort(self) -> None:
        """Drop the connection without a close frame; `on_closed` follows."""


class _PicowsSocket(WSListener):
    """picows' listener, and the `WebSocket` port."""

    def __init__(self, receiver: Receiver, clock: Clock, deliver_s: float) -> None:
        self._receiver = receiver
        self._deliver_s = deliver_s
        self._wall_ns, self._mono_ns = clock.wall_ns, clock.mono_ns
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[WSTransport] = None
        self.address = ""
        self._waiting: deque[tuple[bytes, int, int]] = deque()
        self._timer_runs = False
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._binary = False
        self._violated = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.address = str(transport.underlying_transport.get_extra_info("peername")[0])
        self._receiver.on_opened(str(transport.response.headers.get("Sec-WebSocket-Extensions", "")))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        recv_ns, mono_ns = self._wall_ns(), self._mono_ns()
        if self._violated:
            return
        kind = frame.msg_type
        if kind == _TEXT and frame.fin and not (self._parts or frame.rsv1 or frame.rsv2 or frame.rsv3):
            payload = frame.get_payload_as_bytes()
            self._waiting.append((payload, recv_ns, mono_ns))
            if not self._timer_runs:
                self._timer_runs = True
                self._loop.call_later(self._deliver_s, self._on_timer)
            if len(self._waiting) >= WAITING_MAX or len(payload) > WAITING_MESSAGE_BYTES:
                self.deliver()
            return
        self.deliver()
        self._unusual(frame, kind, recv_ns, mono_ns)

    def _on_timer(self) -> None:
        self._timer_runs = False
        try:
            self.deliver()
        except Exception:  # what picows does where a callback of its own fails; what still waits comes with the end
            self.close(WSCloseCode.INTERNAL_ERROR.value)
            raise

    def deliver(self) -> None:
        while self._waiting:
            payload, recv_ns, mono_ns = self._waiting.popleft()
            if payload.isascii() or _is_utf8(payload):
                self._receiver.on_message(payload, recv_ns, mono_ns)
            else:
                self._violation(payload, "text that is not UTF-8", WSCloseCode.INVALID_TEXT)

    def _unusual(self, frame: WSFrame, kind: WSMsgType, recv_ns: int, mono_ns: int) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._violation(frame.get_payload_as_bytes(), "reserved bits without an extension")
        elif kind == WSMsgType.CLOSE:
            self._on_close_frame(frame)
        elif kind in (WSMsgType.PING, WSMsgType.PONG):
            if kind == WSMsgType.PING:
                self._answer_ping(frame)
            self._receiver.on_sign_of_life(recv_ns, mono_ns)
        elif (kind == WSMsgType.CONTINUATION) != bool(self._parts):
            self._violation(frame.get_payload_as_bytes(), "a fragment out of order")
        else:
            self._on_part(frame, kind, recv_ns, mono_ns)

    def _answer_ping(self, frame: WSFrame) -> None:
        # RFC 6455, section 5.5.3: only the newest ping needs an answer.
        assert self._transport is not None
        if self._transport.underlying_transport.get_write_buffer_size() < PENDING_BYTES_MAX:
            self._transport.send_pong(frame.get_payload_as_bytes())

    def _on_part(self, frame: WSFrame, kind: WSMsgType, recv_ns: int, mono_ns: int) -> None:
        if kind != WSMsgType.CONTINUATION:
            self._binary = kind == WSMsgType.BINARY
        part = frame.get_payload_as_bytes()
        self._parts.append(part)
        self._parts_bytes += len(part)
        if self._parts_bytes > MAX_FRAME_BYTES:
            self._violation(
                b"".join(self._parts)[:MAX_FRAME_BYTES], "a message over 64 MiB", WSCloseCode.MESSAGE_TOO_BIG
            )
        elif not frame.fin:
            self._receiver.on_sign_of_life(recv_ns, mono_ns)
        else:
            self._on_whole(recv_ns, mono_ns)

    def _on_whole(self, recv_ns: int, mono_ns: int) -> None:
        payload = b"".join(self._parts)
        self._drop_parts()
        if self._binary or _is_utf8(payload):
            self._receiver.on_message(payload, recv_ns, mono_ns)
        else:
            self._violation(payload, "text that is not UTF-8", WSCloseCode.INVALID_TEXT)

    def _drop_parts(self) -> None:
        self._parts.clear()
        self._parts_bytes = 0

    def _violation(self, payload: bytes, what: str, code: WSCloseCode = WSCloseCode.PROTOCOL_ERROR) -> None:
        self._drop_parts()
        self._waiting.clear()  # they came after it
        self._violated = True
        self._receiver.on_violation(payload, what)
        self.close(code.value)

    def _on_close_frame(self, frame: WSFrame) -> None:
        assert self._transport is not None
        code = frame.get_close_code()
        self._transport.send_close(code if code != WSCloseCode.NO_INFO else WSCloseCode.OK)
        self._transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        try:
            self.deliver()
        finally:
            self._on_closed(transport)

    def _on_closed(self, transport: WSTransport) -> None:
        handshake: Any = transport.close_handshake  # may be None, which picows' stub does not say
        received = None if handshake is None else handshake.recv
        self._drop_parts()
        if received is None:
            self._receiver.on_closed(None, "")
        else:  # picows gives the codes that it knows as an enum, and none as 0
            code = received.code.value if isinstance(received.code, WSCloseCode) else received.code
            self._receiver.on_closed(code or CLOSE_WITHOUT_CODE, received.reason or "")

    def send(self, message: bytes) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, message)

    def pause_reading(self) -> None:
        assert self._transport is not None
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        assert self._transport is not None
        if not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def close(self, code: int = 1000) -> None:
        assert self._transport is not None
        self._transport.send_close(WSCloseCode(code))
        self._transport.disconnect()

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.underlying_transport.abort()


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _dial(host: str, port: int, avoid: Collection[str]) -> Optional[socket.socket]:
    """A socket to another of the server's addresses, if it has one (None: picows finds its own way)."""
    loop = asyncio.get_running_loop()
    for family, kind, protocol, _, address in (
        await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM) if avoid else ()
    ):
        if address[0] in avoid:
            continue
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            return sock
        except OSError:  # this one does not answer, or IPv6 leads nowhere here
            sock.close()
        except BaseException:
            sock.close()
            raise
    return None


async def connect(
    url: str,
    receiver: Receiver,
    clock: Clock,
    *,
    avoid: Collection[str] = (),
    limit_s: float = CONNECT_S,
    deliver_s: float = DELIVER_S,
) -> WebSocket:
    """Open a connection. TLS certificates are checked against the system's, or those in SSL_CERT_FILE.

    Args:
        url: "wss://ws-l3.kraken.com/v2".
        receiver: called with what arrives.
        clock: timestamps frames.
        avoid: addresses of the server that others are connected to: another one is taken where DNS gives several.
        limit_s: seconds for everything from name resolution to the end of the handshake.
        deliver_s: seconds that a message may wait for others before it is handed to the receiver.

    Raises:
        ConnectFailed: why it failed, in one sentence.
    """
    context = ssl.create_default_context() if url.startswith("wss:") else None
    try:
        _, opened = await asyncio.wait_for(
            ws_connect(
                lambda: _PicowsSocket(receiver, clock, deliver_s),
                url,
                ssl_context=context,
                websocket_handshake_timeout=HANDSHAKE_S,
                max_redirects=0,  # the token must not reach any host but the configured one
                max_frame_size=MAX_FRAME_BYTES,
                enable_auto_pong=False,  # it is unbounded
                extra_headers={"User-Agent": f"kraken-l3-recorder/{__version__}"},
                logger_name=_LOGGER,
                socket_factory=lambda parsed: _dial(parsed.host, parsed.port, avoid),
            ),
            limit_s,
        )
    except (OSError, WSError, ssl.SSLError, asyncio.TimeoutError) as error:
        raise ConnectFailed(f"cannot connect: {str(error) or type(error).__name__}", where=url) from error
    if opened is None:  # so it is where the server hangs up before the handshake
        raise ConnectFailed("cannot connect: the server closed the connection without an answer", where=url)
    assert isinstance(opened, _PicowsSocket)
    return opened
