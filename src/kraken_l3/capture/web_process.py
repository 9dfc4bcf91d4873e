"""A process that serves what is recorded, as the recorder sees it: restarted when it fails.

No request reaches the recorder. It sends the web process one line a second, its status, and takes nothing back but the
URL: a child that reads too slowly misses lines, and one that reads nothing for a minute is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import structlog

from kraken_l3.capture.child import Child, RestartPacing

__all__ = ["WebLimits", "WebProcess"]

log = structlog.get_logger("kraken_l3.capture.web_process")


class WebLimits(NamedTuple):
    """How patient the recorder is with the child.

    Attributes:
        silence_s: a child that has read nothing for this long is stuck, and is restarted.
        finish_s: how long it may take to end when the recorder stops.
        restarts: how often it may be restarted.
    """

    silence_s: float = 60.0
    finish_s: float = 2.0
    restarts: RestartPacing = RestartPacing()


class WebProcess:
    """Keeps one child running.

    Args:
        command: starts the child, which reads statuses from stdin, writes its URL to stdout, and ends when stdin does.
        environment: the child's environment variables.
        name: what logs call it.
        limits: see `WebLimits`.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        name: str = "web process",
        limits: WebLimits = WebLimits(),  # noqa: B008 - immutable
    ) -> None:
        self._name = name
        self._command = command
        self._environment = environment
        self._limits = limits
        self._child: Optional[Child] = None
        self._read_at = 0.0
        #: Where the current child can be reached ("": it has not said so yet).
        self.url = ""
        self.restarts = 0

    @property
    def pid(self) -> Optional[int]:
        """Process id of the current or last child (None: none was started yet)."""
        return None if self._child is None else self._child.pid

    def tell(self, line: bytes) -> None:
        """Send a line to the child, if there is one and it reads. Never waits."""
        child, now = self._child, asyncio.get_running_loop().time()
        if child is None or child.exit_code is not None:
            return
        if child.send(line):
            self._read_at = now
        elif now - self._read_at > self._limits.silence_s:
            log.warning(f"the {self._name} is stuck and is restarted", seconds=self._limits.silence_s)
            self._read_at = now
            child.signal_kill()

    async def run(self) -> None:
        """Start the child, and restart it whenever it ends, until cancelled; the child ends with this."""
        loop = asyncio.get_running_loop()
        wait_s = 0.0
        while True:
            began = loop.time()
            code = await self._run_once()
            wait_s = self._limits.restarts.next_wait_s(wait_s, loop.time() - began)
            log.warning(f"the {self._name} ended, recording goes on", exit_code=code, restart_s=wait_s)
            self.restarts += 1
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> Optional[int]:
        try:
            child = await Child.start(self._command, self._environment, read="stdout")
        except OSError as error:
            log.warning(f"cannot start the {self._name}", error=str(error))
            return None
        self._child, self._read_at, self.url = child, asyncio.get_running_loop().time(), ""
        try:
            await self._read(child)
            return await child.wait()
        finally:
            await self._end(child)

    async def _read(self, child: Child) -> None:
        """What it says, until it closes its stdout."""
        with contextlib.suppress(ValueError):  # no line of its is that long
            async for line in child.lines():
                self._serves_at(line.decode(errors="replace").strip())

    def _serves_at(self, url: str) -> None:
        if url != self.url:
            self.url = url
            log.info("serving", url=url, process=self._name)

    async def _end(self, child: Child) -> None:
        """Close its stdin, which tells it to end, and kill it if it does not."""
        if child.exit_code is not None:
            return
        child.close_stdin()
        try:
            await asyncio.wait_for(child.wait(), self._limits.finish_s)
        except (asyncio.TimeoutError, asyncio.CancelledError):
            await child.kill()
