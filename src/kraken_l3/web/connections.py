"""Bounds on what a client can make the server hold: connections, bytes of a request, and time to send one.

aiohttp bounds the length of each header, but neither their sum nor, in its older versions, how long a first request may
take. Both are counted here, on the connection, before anything is parsed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple, Optional, cast

from aiohttp import web

__all__ = ["Bounds", "Connection", "Connections"]

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 10\r\nConnection: close\r\n"
    b"Content-Length: 21\r\n\r\ntoo many connections\n"
)
#: aiohttp would log each request that is none with a traceback: a stranger could fill the disk.
_SILENT = logging.Logger("aiohttp of the page", logging.CRITICAL + 1)


class Bounds(NamedTuple):
    """What one server holds at most.

    Attributes:
        connections: open at a time; one more is answered with 503.
        header_bytes: the longest request line, and the longest header.
        request_bytes: a whole request, with its headers and whatever body it brings.
        request_s: seconds that a client has for sending a request, and for being idle between two.
    """

    connections: int = 512
    header_bytes: int = 8 * 1024
    request_bytes: int = 32 * 1024
    request_s: float = 15.0


class Connection(web.RequestHandler):
    """One connection, which ends when a request grows too large or does not come."""

    def __init__(self, server: web.Server, bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=bounds.request_s,
            max_line_size=bounds.header_bytes,
            max_field_size=bounds.header_bytes,
            lingering_time=0,
            logger=_SILENT,
        )
        self._left_bytes = self._most_bytes = bounds.request_bytes
        self._timer: Optional[asyncio.TimerHandle] = loop.call_later(bounds.request_s, self.force_close)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.force_close()
            return
        super().data_received(data)

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        """See `asyncio.Protocol`."""
        self.request_came()
        super().connection_lost(exc)

    def request_came(self) -> None:
        """A request was received in time; from now on the next one is counted."""
        self._left_bytes = self._most_bytes
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connections:
    """Makes a `Connection` of each client that comes, up to the bound.

    Args:
        server: who answers their requests.
        bounds: see there.
    """

    def __init__(self, server: web.Server, bounds: Bounds) -> None:
        self._server = server
        self._bounds = bounds

    def __call__(self) -> asyncio.Protocol:
        """The protocol of one more connection, as `loop.create_server` asks for it."""
        if len(self._server.connections) >= self._bounds.connections:
            return _Refused()
        return Connection(self._server, self._bounds, asyncio.get_running_loop())


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        own = cast("asyncio.Transport", transport)
        own.write(_TOO_MANY)
        own.close()
