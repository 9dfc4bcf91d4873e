"""The live verifier, seen from the recorder: a child process that follows the archive, and is replaced when it fails.

The child reads files and writes lines of JSON to its standard output; closing its standard input ends it. Whatever
becomes of it (killed, stuck, out of memory, a defect), the recording goes on and another child starts where the
checkpoints stand.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Sequence
from typing import Any, Callable, Optional

import structlog

from kraken_l3.model.live import LiveMessage, ResyncRequest, VerifierFinding, VerifierProgress, decode_live

__all__ = ["VerifierProcess"]

LINE_LIMIT_BYTES = 1024 * 1024
#: A child that has data to read and says nothing for so long is stuck.
SILENCE_LIMIT_S = 60.0
#: How long the child may take to read the rest of the archive when the recorder stops.
FINISH_S = 3.0
FIRST_RESTART_S = 1.0
LARGEST_RESTART_S = 300.0
#: A child that lived so long was well; the next restart is quick again.
HEALTHY_S = 60.0

log = structlog.get_logger("kraken_l3.capture.verifier")


class VerifierProcess:
    """Keeps one child running.

    Args:
        command: starts the child.
        on_resync: takes the symbols to resubscribe.
        on_finding: takes what the child found.
        lines_written: how many lines the archive has gained, to tell a stuck child from one with nothing to do.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_resync: Callable[[ResyncRequest], None],
        on_finding: Callable[[VerifierFinding], None],
        lines_written: Callable[[], int],
    ) -> None:
        self._command = command
        self._on_resync = on_resync
        self._on_finding = on_finding
        self._lines_written = lines_written
        self._process: Optional[asyncio.subprocess.Process] = None
        #: The newest from the child.
        self.progress = VerifierProgress()
        self.restarts = 0

    @property
    def pid(self) -> Optional[int]:
        """The child's process, while there is one."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Start the child, and another whenever it ends, until cancelled."""
        loop = asyncio.get_running_loop()
        wait_s = FIRST_RESTART_S
        while True:
            started = loop.time()
            code = await self._run_once()
            wait_s = FIRST_RESTART_S if loop.time() - started > HEALTHY_S else min(wait_s * 2, LARGEST_RESTART_S)
            log.warning("the live verifier ended, recording goes on", exit_code=code, restart_s=wait_s)
            self.restarts += 1
            await asyncio.sleep(wait_s)

    async def finish(self) -> None:
        """Let the child read the archive to its end, write its checkpoints and go; it is killed if that takes long."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        reading = asyncio.ensure_future(self._read(process))
        try:
            await asyncio.wait_for(process.wait(), FINISH_S)
            await reading
        except asyncio.TimeoutError:
            log.warning("the live verifier was behind, it goes on from its checkpoints at the next start")
            await self._kill(process)
        except Exception as error:  # noqa: BLE001 - its last words must not spoil an orderly stop
            log.warning("the live verifier cannot be understood", error=str(error))
            await self._kill(process)
        finally:
            reading.cancel()

    async def _run_once(self) -> Optional[int]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=LINE_LIMIT_BYTES
            )
        except OSError as error:  # no memory or no file descriptor for it just now
            log.warning("the live verifier cannot be started", error=str(error))
            return None
        self._process = process
        watching = asyncio.ensure_future(self._kill_when_stuck(process))
        try:
            await self._read(process)
            return await process.wait()
        except asyncio.CancelledError:
            raise  # the recorder stops: `finish` deals with the child
        except Exception as error:  # noqa: BLE001 - a child that talks nonsense is replaced, whatever the nonsense
            log.warning("the live verifier cannot be understood", error=str(error))
            await self._kill(process)
            return process.returncode
        finally:
            watching.cancel()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._take(decode_live(line))

    def _take(self, message: LiveMessage) -> None:
        if isinstance(message, VerifierProgress):
            self.progress = message
        elif isinstance(message, VerifierFinding):
            self._on_finding(message)
        else:
            self._on_resync(message)

    async def _kill_when_stuck(self, process: asyncio.subprocess.Process) -> None:
        seen: tuple[Any, int] = (None, 0)
        while True:
            await asyncio.sleep(SILENCE_LIMIT_S)
            now = (self.progress, self._lines_written())
            if now[0] == seen[0] and now[1] > seen[1] > 0:
                log.warning("the live verifier is stuck and is replaced", seconds=SILENCE_LIMIT_S)
                await self._kill(process)
            seen = now

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
