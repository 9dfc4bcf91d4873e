"""Sealing while recording: a child process of low priority that compresses the closed days.

It is started soon after the recorder, and again some minutes into each new day. Sealing loses nothing when it is
killed: the next child finishes what this one began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import structlog

from kraken_l3.capture.child import Child
from kraken_l3.clock import Clock
from kraken_l3.model.timestamps import NS_PER_S, day_of

__all__ = ["SealerProcess", "SealerTimes"]

#: So much of the end of the child's error output is logged.
COMPLAINT_BYTES = 1_000

log = structlog.get_logger("kraken_l3.capture.sealer")


class SealerTimes(NamedTuple):
    """When children are started, in seconds.

    Attributes:
        after_start_s: until the first one. The live verifier may still be reading yesterday's end.
        after_midnight_s: into the new day, for the same reason.
        poll_s: between two looks at the clock.
    """

    after_start_s: float = 60.0
    after_midnight_s: float = 600.0
    poll_s: float = 30.0


class SealerProcess:
    """Starts a child for each day.

    Args:
        command: seals what there is to seal, and ends.
        clock: tells the day.
        environment: the child's environment variables (None: the recorder's own).
        times: see `SealerTimes`.
    """

    def __init__(
        self,
        command: Sequence[str],
        clock: Clock,
        environment: Optional[Mapping[str, str]] = None,
        *,
        times: SealerTimes = SealerTimes(),  # noqa: B008 - immutable
    ) -> None:
        self._command = command
        self._environment = environment
        self._clock = clock
        self._times = times
        #: How often a child was started, and how often one failed.
        self.runs = 0
        self.failures = 0

    async def run(self) -> None:
        """Until cancelled; a child that is at work then is killed."""
        await asyncio.sleep(self._times.after_start_s)
        while True:
            day = self._day()
            await self._seal()
            while self._day() == day:  # noqa: ASYNC110 - there is no event for midnight
                await asyncio.sleep(self._times.poll_s)

    def _day(self) -> object:
        """The day up to which is sealed: it begins `after_midnight_s` late."""
        return day_of(self._clock.wall_ns() - int(self._times.after_midnight_s * NS_PER_S))

    async def _seal(self) -> None:
        self.runs += 1
        code: Optional[int] = None
        try:
            code, complaint = await self._run_child()
        except OSError as error:
            complaint = str(error)
        if code != 0:
            self.failures += 1
            log.warning("sealing failed; recording goes on, the next try is tomorrow", exit_code=code, said=complaint)

    async def _run_child(self) -> tuple[int, str]:
        child = await Child.start(self._command, self._environment, read="stderr")
        child.close_stdin()
        try:
            complaint = await child.tail(COMPLAINT_BYTES)
            return await child.wait(), complaint.decode(errors="replace").strip()
        except asyncio.CancelledError:
            await child.kill()
            raise
