"""The live verifier as the recorder sees it: a child process that follows the archive, restarted when it fails.

The child reads files and writes the messages of `model.live` to its standard output; closing its standard input ends
it. A new child continues from the checkpoints of the previous one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Callable, NamedTuple, Optional

import structlog

from kraken_l3.capture.child import Child, RestartPacing
from kraken_l3.model.live import LiveMessage, ResyncRequest, VerifierFinding, VerifierProgress, decode_live

__all__ = ["VerifierLimits", "VerifierProcess"]

log = structlog.get_logger("kraken_l3.capture.verifier")


class VerifierLimits(NamedTuple):
    """How patient the recorder is with the child.

    Attributes:
        silence_s: a child that has data to read and reports no progress for this long is stuck, and is restarted.
        finish_s: how long it may take to read the rest of the archive when the recorder stops.
        restarts: how often it may be restarted.
    """

    silence_s: float = 60.0
    finish_s: float = 3.0
    restarts: RestartPacing = RestartPacing()


class VerifierProcess:
    """Keeps one child running.

    Args:
        command: starts the child.
        environment: the child's environment variables (None: the recorder's own).
        on_resync: called with each request to resubscribe a symbol.
        on_finding: called with each finding.
        lines_written: how many lines were added to the archive, to tell a stuck child from an idle one.
        limits: see `VerifierLimits`.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Optional[Mapping[str, str]] = None,
        *,
        on_resync: Callable[[ResyncRequest], None],
        on_finding: Callable[[VerifierFinding], None],
        lines_written: Callable[[], int],
        limits: VerifierLimits = VerifierLimits(),  # noqa: B008 - immutable
    ) -> None:
        self._command = command
        self._environment = environment
        self._on_resync = on_resync
        self._on_finding = on_finding
        self._lines_written = lines_written
        self._limits = limits
        self._child: Optional[Child] = None
        #: The child's latest report.
        self.progress = VerifierProgress()
        self.restarts = 0

    @property
    def pid(self) -> Optional[int]:
        """Process id of the current or last child (None: none was started yet)."""
        return None if self._child is None else self._child.pid

    async def run(self) -> None:
        """Start the child, and restart it whenever it ends, until cancelled."""
        loop = asyncio.get_running_loop()
        wait_s = 0.0
        while True:
            started = loop.time()
            code = await self._run_once()
            wait_s = self._limits.restarts.next_wait_s(wait_s, loop.time() - started)
            log.warning("the live verifier ended unexpectedly, recording goes on", exit_code=code, restart_s=wait_s)
            self.restarts += 1
            await asyncio.sleep(wait_s)

    async def finish(self) -> None:
        """Let the child read to the end of the archive and write its checkpoints; kill it if that takes too long."""
        child = self._child
        if child is None or child.exit_code is not None:
            return
        child.close_stdin()
        reading = asyncio.ensure_future(self._read(child))
        try:
            await asyncio.wait_for(child.wait(), self._limits.finish_s)
            await reading
        except asyncio.TimeoutError:
            log.warning("the live verifier is behind; at the next start it continues from its checkpoints")
            await child.kill()
        except Exception as error:  # noqa: BLE001 - its last output must not spoil an orderly stop
            log.warning("unreadable output of the live verifier", error=str(error))
            await child.kill()
        finally:
            reading.cancel()

    async def _run_once(self) -> Optional[int]:
        try:
            child = self._child = await Child.start(self._command, self._environment, read="stdout")
        except OSError as error:
            log.warning("cannot start the live verifier", error=str(error))
            return None
        watching = asyncio.ensure_future(self._kill_when_stuck(child))
        try:
            await self._read(child)
            return await child.wait()
        except asyncio.CancelledError:
            raise  # the recorder stops: `finish` deals with the child
        except Exception as error:  # noqa: BLE001 - a child with unreadable output is restarted, whatever the error
            log.warning("unreadable output of the live verifier", error=str(error))
            await child.kill()
            return child.exit_code
        finally:
            watching.cancel()

    async def _read(self, child: Child) -> None:
        async for line in child.lines():
            self._take(decode_live(line))

    def _take(self, message: LiveMessage) -> None:
        if isinstance(message, VerifierProgress):
            self.progress = message
        elif isinstance(message, VerifierFinding):
            self._on_finding(message)
        else:
            self._on_resync(message)

    async def _kill_when_stuck(self, child: Child) -> None:
        progress, lines = self.progress, 0
        while True:
            await asyncio.sleep(self._limits.silence_s)
            lines_before, lines = lines, self._lines_written()
            # The archive grew, and had lines before, yet the child reports the same as last time.
            if self.progress == progress and lines > lines_before > 0:
                log.warning("the live verifier is stuck and is restarted", seconds=self._limits.silence_s)
                await child.kill()
            progress = self.progress
