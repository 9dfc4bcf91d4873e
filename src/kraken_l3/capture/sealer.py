"""Sealing while recording: a child process of low priority that compresses the days that were left.

It is started soon after the recorder and again some minutes into each new day. Whatever becomes of it, the recording
goes on: sealing loses nothing when it is killed, and the next child finishes what this one began.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Sequence

import structlog

from kraken_l3.clock import Clock
from kraken_l3.model.timestamps import NS_PER_S, day_of

__all__ = ["SealerProcess"]

#: The live verifier may still be reading the end of a day that was just left.
AFTER_MIDNIGHT_S = 600
#: It may also still be reading yesterday's end when the recorder starts.
AFTER_START_S = 60.0
POLL_S = 30.0
#: So much of what the child complains about is logged.
COMPLAINT_CHARS = 1_000

log = structlog.get_logger("kraken_l3.capture.sealer")


class SealerProcess:
    """Starts a child for each day.

    Args:
        command: seals what there is to seal, and ends.
        clock: tells the day.
        after_start_s: seconds until the first child.
        poll_s: seconds between two looks at the clock.
    """

    def __init__(
        self, command: Sequence[str], clock: Clock, *, after_start_s: float = AFTER_START_S, poll_s: float = POLL_S
    ) -> None:
        self._command = command
        self._clock = clock
        self._after_start_s = after_start_s
        self._poll_s = poll_s
        #: How often a child was started, and how often one failed.
        self.runs = 0
        self.failures = 0

    async def run(self) -> None:
        """Until cancelled; a child that is at work then is killed."""
        await asyncio.sleep(self._after_start_s)
        while True:
            day = self._day()
            await self._seal()
            while self._day() == day:  # noqa: ASYNC110 - nobody tells when it is midnight
                await asyncio.sleep(self._poll_s)

    def _day(self) -> object:
        """The day that is sealed up to: it begins some minutes late."""
        return day_of(self._clock.wall_ns() - AFTER_MIDNIGHT_S * NS_PER_S)

    async def _seal(self) -> None:
        self.runs += 1
        try:
            code, complaint = await self._run_child()
        except OSError as error:
            code, complaint = None, str(error)
        if code != 0:
            self.failures += 1
            log.warning("sealing failed, the next try is tomorrow; recording goes on", exit_code=code, said=complaint)

    async def _run_child(self) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl+C is for the recorder, which then ends the child
        )
        try:
            _, complaint = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return process.returncode, complaint.decode(errors="replace").strip()[-COMPLAINT_CHARS:]
