"""The live relay: the exchange's server with a growing archive as its feed.

One recorder has the one subscription at Kraken; any number of programs on the same machine read it here. The relay only
reads the recorder's files, so nothing that a client does can delay the recording.

`GET /replay` tells where it is.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.replay.live import LiveFeed
from kraken_l3.exchange.replay.server import NO_LIMITS
from kraken_l3.exchange.server import Exchange
from kraken_l3.model.relay import RelayProgress
from kraken_l3.model.timestamps import format_rfc3339
from kraken_l3.telemetry import get_logger

__all__ = ["RELAY_LIMITS", "Relay"]

log = get_logger("kraken_l3.exchange")

#: The programs that share the one made-up key know nothing of each other's nonces.
RELAY_LIMITS: Limits = NO_LIMITS._replace(rising_nonces=False)
#: Between two looks for the first pair.
_WAIT_S = 0.05


class Relay(Exchange):
    """An exchange that shows what a recorder is recording; an async context manager like `Exchange`.

    It listens as soon as the first pair is known.

    Args:
        directory: the recorder's archive.
        engine_name: which engine rebuilds the books.
        exchange: see `Exchange`.
    """

    def __init__(self, directory: Path, *, engine_name: str = "auto", **exchange: Any) -> None:
        self._directory = directory
        self._listens = False
        self.recording = LiveFeed(directory, on_listed=self._list, engine_name=engine_name)
        super().__init__(self.recording, routes=[web.get("/replay", self._tell)], **exchange)

    def _list(self, symbol: str, record: str) -> None:
        self._rules.records[symbol] = record

    async def __aenter__(self) -> Exchange:
        await self._catch_up()
        if not self.recording.instruments():
            log.info("waiting for the first pair that a recorder writes", directory=str(self._directory))
        while not self.recording.instruments():
            await asyncio.sleep(_WAIT_S)
            await self._catch_up()
        entered = await super().__aenter__()
        self._listens = True
        return entered

    async def _catch_up(self) -> None:
        for _ in self.recording.catch_up():
            await asyncio.sleep(0)  # a day takes minutes without checkpoints: signals and `progress` do not wait

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        self.recording.close()

    def progress(self) -> RelayProgress:
        """What the recorder is told that runs it."""
        url = self.rest_url if self._listens else ""
        return RelayProgress(url=url, clients=len(self.clients.all()), received_ns=self.recording.at_ns)

    def state(self) -> dict[str, object]:
        """Where it is, as `GET /replay` tells it."""
        at_ns = self.recording.at_ns
        return {
            "at": format_rfc3339(at_ns) if at_ns else None,
            "at_ns": at_ns or None,
            "live": True,
            "missing": self.recording.missing,
            "clients": len(self.clients.all()),
        }

    async def _tell(self, _request: web.Request) -> web.Response:
        return web.json_response(self.state())
