"""One WebSocket connection as the server holds it: frames out through the transport, stalls, cuts, the sent log.

Frames are written straight to the transport, many in one write. A client that reads slowly makes the transport's
buffer grow; at the bound the connection is cut (Kraken queues too, its bound is not known).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Optional

from kraken_l3.exchange.client_session import ClientSession
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.wire import PONG, close_frame, frame

__all__ = ["Connection", "Outgoing"]

#: Channel, payload, frame, and when it may leave by the loop's clock (0: at once).
Outgoing = tuple[str, bytes, bytes, float]
_CONTROL = "control"  # frames that are no messages: the sent log has none of them


class Connection:
    """What the exchange knows of one client.

    Attributes:
        opened_ns, active_ns: monotonic times of its start and of the client's last frame.
        messages: handed to its socket so far.
        queued_bytes: what was to be sent so far, whether it has left or not.

    Args:
        session: its subscriptions; carries the connection's number.
        connection_id: what status messages call it; one for as long as it lives.
        transport: where its bytes go.
        log: where they are noted.
        backlog_bytes: the bound of what waits for it.
    """

    def __init__(
        self,
        session: ClientSession,
        connection_id: int,
        transport: asyncio.Transport,
        log: SentLog,
        backlog_bytes: int,
    ) -> None:
        self.session = session
        self.connection_id = connection_id
        self.number = session.number
        self.active_ns = 0
        self.opened_ns = 0
        self.messages = 0
        self.queued_bytes = 0
        self.next_heartbeat_ns: Optional[int] = None
        self.closing = False
        self.closed_ns: Optional[int] = None
        self.stalled = False
        self.bytes_per_s: Optional[float] = None
        self._transport = transport
        self._log = log
        self._backlog_bytes = backlog_bytes
        self._waiting: deque[Outgoing] = deque()
        self._waiting_bytes = 0
        self._last_due_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._timer: Optional[asyncio.Handle] = None

    @property
    def backlog(self) -> int:
        """Bytes that wait for this client."""
        return self._waiting_bytes + self._transport.get_write_buffer_size()

    # output

    def send(self, channel: str, payload: bytes, wire: Optional[bytes] = None, *, delay_s: float = 0.0) -> None:
        """Sends a message, soon and in order; what follows a delayed message waits behind it.

        `wire` is its frame when it is not a plain text frame.
        """
        if self.closing:
            return
        data = frame(payload) if wire is None else wire
        if delay_s or self._last_due_s:
            self._last_due_s = max(self._last_due_s, self._loop.time() + delay_s)
        self._waiting.append((channel, payload, data, self._last_due_s))
        self._waiting_bytes += len(data)
        self.queued_bytes += len(data)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._waiting_bytes > self._backlog_bytes:
            self.abort()
        elif self._timer is None and not self.stalled:
            self._timer = self._loop.call_soon(self.flush)

    def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Sends many messages that may leave at once; all who read them may be given the same list."""
        if self._last_due_s:
            for channel, payload, data, _ in messages:
                self.send(channel, payload, data)
        elif not self.closing:
            self._waiting.extend(messages)
            size = sum([len(data) for _, _, data, _ in messages])
            self._waiting_bytes += size
            self.queued_bytes += size
            self._flush_soon()

    def pong(self, payload: bytes) -> None:
        """Answers a ping frame, behind what waits."""
        self.send(_CONTROL, b"", frame(payload, PONG))

    def flush(self) -> None:
        """Hands what waits to the transport."""
        self._timer = None
        if self.stalled or self.closing or not self._waiting:
            return
        now_s = self._loop.time() if self._last_due_s else 0.0
        if self._waiting[0][3] <= now_s and self.bytes_per_s is not None:
            # One message, and the next when the time it takes has passed
            pause_s = len(self._waiting[0][2]) / self.bytes_per_s
            self._write(1)
            self._timer = self._loop.call_later(pause_s, self.flush)
            return
        if self._last_due_s <= now_s:
            self._write(len(self._waiting))
        else:
            self._write(sum(1 for _ in takewhile(lambda outgoing: outgoing[3] <= now_s, self._waiting)))
            self._timer = self._loop.call_at(self._waiting[0][3], self.flush)
        if self._transport.get_write_buffer_size() > self._backlog_bytes:
            self.abort()

    def _write(self, count: int) -> None:
        out = [self._waiting.popleft() for _ in range(count)]
        noted = [outgoing for outgoing in out if outgoing[0] != _CONTROL]
        self._log.add_all(self.number, noted)
        self.messages += len(noted)
        data = b"".join([outgoing[2] for outgoing in out])
        self._waiting_bytes -= len(data)
        self._transport.write(data)

    # endings and pauses

    def stall(self) -> None:
        """Half-open silence: nothing leaves any more, not even a pong; what is due waits."""
        self.stalled = True

    def resume(self) -> None:
        """The silence ends, and what waited goes out."""
        self.stalled = False
        if self._timer is None:
            self._timer = self._loop.call_soon(self.flush)

    def pause_reading(self) -> None:
        """Nothing of the client is read any more: its pongs and requests fill the socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The client is read again."""
        self._transport.resume_reading()

    def quicken(self) -> None:
        """The way to the client carries all again."""
        self.bytes_per_s = None
        self.resume()

    def close(self, code: int, reason: str = "") -> None:
        """A closing handshake from the server's side; what waits is sent before, unless the connection is stalled."""
        if self.closing:
            return
        self.bytes_per_s = None
        if not self.stalled:
            self._write(len(self._waiting))
        self.closing = True
        self._transport.write(close_frame(code, reason))

    def hang_up(self) -> None:
        """The TCP connection ends in order, after what was written."""
        self.closing = True
        self._transport.close()

    def abort(self, *, reset: bool = True) -> None:
        """The TCP connection ends without a close frame: by RST, or by FIN when `reset` is False.

        What is delayed is lost: it is still on its way.
        """
        if not self.closing:
            self.bytes_per_s = None
            self.flush()
        self.closing = True
        sock = self._transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
