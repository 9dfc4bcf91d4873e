"""The process that serves the page: what is served under which path."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Callable, Optional

from kraken_l3.clock import SystemClock
from kraken_l3.model.address import Address
from kraken_l3.web.archive_api import ArchiveApi
from kraken_l3.web.files import page_files
from kraken_l3.web.probes import Probes
from kraken_l3.web.server import WebServer
from kraken_l3.web.status_lines import StatusLines

__all__ = ["serve_page"]


async def serve_page(
    path: Path,
    address: Address,
    *,
    token: str,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    status: Optional[StatusLines] = None,
) -> None:
    """Serve the page of an archive until `stop` is set.

    Args:
        path: an archive directory or a single file.
        address: where to listen.
        token: see `Access`.
        stop: ends it.
        ready: called with the page's URL.
        status: what the recorder says of itself, where one runs this.

    Raises:
        LocalFault: it cannot listen there.
        UsageError: there is no such archive, or the address needs a token.
    """
    server = WebServer(address, token=token)
    probes = Probes(status, SystemClock()) if status is not None else None
    api = ArchiveApi(path, recorder=probes.summary if probes is not None else None)
    for name, file in page_files().items():
        server.add(name, file.answer)
    for name, handler in api.routes().items():
        server.add(name, handler)
    if probes is not None:
        server.add("/metrics", probes.metrics)
        server.add("/healthz", probes.health)
    async with server:
        try:
            ready(server.url)
            await stop.wait()
        finally:
            await api.close()
