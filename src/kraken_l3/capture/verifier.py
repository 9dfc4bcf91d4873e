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

import msgspec
import structlog

__all__ = ["Finding", "Report", "ResyncRequest", "VerifierProcess"]

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


class ResyncRequest(msgspec.Struct, frozen=True):
    """The child wants a symbol sent anew. `left_ns`: from when on its data is in doubt (0: from now)."""

    resync: str
    cause: str
    left_ns: int = 0


class Finding(msgspec.Struct, frozen=True):
    """The child saw something wrong at a line; the fields are those of the journal's record."""

    symbol: str
    what: str
    line: int
    offset: int
    detail: str = ""
    expected: Optional[int] = None
    computed: Optional[int] = None


class Report(msgspec.Struct, frozen=True):
    """How far the child is, and what it found so far."""

    messages: int = 0
    ok: int = 0
    mismatched: int = 0
    symbols: int = 0
    synced: int = 0


class _Line(msgspec.Struct):
    resync: Optional[str] = None
    cause: str = "mismatch"
    left_ns: int = 0
    finding: Optional[Finding] = None
    verified: Optional[Report] = None


_decoder = msgspec.json.Decoder(_Line)


class VerifierProcess:
    """Keeps one child running.

    Args:
        command: starts the child.
        on_wish: takes what the child wants sent anew.
        on_finding: takes what the child found.
        lines_written: how many lines the archive has gained, to tell a stuck child from one with nothing to do.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_wish: Callable[[ResyncRequest], None],
        on_finding: Callable[[Finding], None],
        lines_written: Callable[[], int],
    ) -> None:
        self._command = command
        self._on_wish = on_wish
        self._on_finding = on_finding
        self._lines_written = lines_written
        self._process: Optional[asyncio.subprocess.Process] = None
        #: The last thing that the child said of its progress.
        self.report = Report()
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
            self._take(_decoder.decode(line))

    def _take(self, said: _Line) -> None:
        if said.verified is not None:
            self.report = said.verified
        if said.finding is not None:
            self._on_finding(said.finding)
        if said.resync is not None:
            self._on_wish(ResyncRequest(said.resync, said.cause, said.left_ns))

    async def _kill_when_stuck(self, process: asyncio.subprocess.Process) -> None:
        seen: tuple[Any, int] = (None, 0)
        while True:
            await asyncio.sleep(SILENCE_LIMIT_S)
            now = (self.report, self._lines_written())
            if now[0] == seen[0] and now[1] > seen[1] > 0:
                log.warning("the live verifier is stuck and is replaced", seconds=SILENCE_LIMIT_S)
                await self._kill(process)
            seen = now

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
