"""The HTTP server: a table of exact paths, each with its function, behind bounds and the check of who asks.

Only GET and HEAD are served. There are no patterns and no directories: a path is in the table or it is not found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from aiohttp import web

from kraken_l3.errors import DamageFound, DataMissing, KrakenL3Error, LocalFault, UsageError
from kraken_l3.model.address import Address
from kraken_l3.redaction import SECRETS
from kraken_l3.telemetry import get_logger
from kraken_l3.web.access import HEADERS, Access
from kraken_l3.web.connections import Bounds, Connection, Connections
from kraken_l3.web.shared import Busy

__all__ = ["Handler", "WebServer"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = get_logger("kraken_l3.web")

_STATUS: dict[type[KrakenL3Error], int] = {UsageError: 400, DataMissing: 404, DamageFound: 409, Busy: 503}
_SHUTDOWN_S = 2.0


class WebServer:
    """An HTTP server for one page and what belongs to it; an async context manager.

    Args:
        address: where to listen.
        token: see `Access`.
        bounds: see there.

    Raises:
        UsageError: see `Access`.
    """

    def __init__(self, address: Address, *, token: str = "", bounds: Optional[Bounds] = None) -> None:
        self._access = Access(address, token)
        self._address = address
        self._bounds = bounds or Bounds()
        self._routes: dict[str, Handler] = {}
        self._runner: Optional[web.AppRunner] = None
        self._listening: Optional[asyncio.Server] = None

    def add(self, path: str, handler: Handler) -> None:
        """Serve a path, before or while the server runs. Errors of this package become answers with their text."""
        self._routes[path] = handler

    @property
    def url(self) -> str:
        """Where it can be reached, once it runs."""
        assert self._listening is not None
        port = self._listening.sockets[0].getsockname()[1]
        return f"http://{self._address._replace(port=port)}/"

    async def __aenter__(self) -> WebServer:
        app = web.Application(middlewares=[self._answer])
        app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(app, handle_signals=False, handler_cancellation=True)
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                Connections(self._runner.server, self._bounds), self._address.host, self._address.port
            )
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or str(error)
            raise LocalFault(
                f"cannot listen: {reason}", where=str(self._address), hint="Choose another port; 0 takes a free one"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        assert self._runner is not None
        assert self._runner.server is not None
        self._listening.close()
        await self._runner.server.shutdown(_SHUTDOWN_S)  # ends streams, which would go on for ever
        await self._listening.wait_closed()
        await self._runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.request_came()
        refusal = self._access.refusal(request)
        if refusal is not None:
            return refusal
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
        route = self._routes.get(request.path)
        if route is None:
            return web.Response(status=404, text="there is no such page\n")
        try:
            return await route(request)
        except KrakenL3Error as error:
            status = _STATUS.get(type(error), 500)
            return web.json_response({"error": SECRETS.redact(str(error))}, status=status)
        except web.HTTPException:
            raise
        except Exception:  # the last resort before the client's screen
            log.exception("a request failed", path=request.path)
            return web.json_response({"error": "a defect of this program; its log tells more"}, status=500)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
