"""Sealing while recording: a child process of low priority compresses the closed days.

It is started soon after the recorder, and again some minutes into each new day. Killing it loses nothing: the next
child finishes what this one began.
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

#: This much of the end of the child's error output is logged.
COMPLAINT_BYTES = 1_000

log = structlog.get_logger("kraken_l3.capture.sealer")


class SealerTimes(NamedTuple):
    """When children are started, in seconds.

    Attributes:
        after_start_s: after the start of the recorder. The live verifier may still be reading the end of yesterday.
        after_midnight_s: after the start of a new day, for the same reason.
        retry_s: after one that failed.
        poll_s: between two checks of the clock.
    """

    after_start_s: float = 60.0
    after_midnight_s: float = 600.0
    retry_s: float = 3600.0
    poll_s: float = 30.0


class SealerProcess:
    """Starts its children once a day, one after the other, and again after a while if one failed.

    Args:
        commands: the first seals all closed days and exits; the second, if any, uploads them.
        clock: says which day it is.
        environment: the child's environment variables (None: the recorder's own).
        times: see `SealerTimes`.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        clock: Clock,
        environment: Optional[Mapping[str, str]] = None,
        *,
        times: SealerTimes = SealerTimes(),  # noqa: B008 - immutable
    ) -> None:
        self._commands = commands
        self._environment = environment
        self._clock = clock
        self._times = times
        #: How many children were started, and how many of them failed.
        self.runs = 0
        self.failures = 0

    async def run(self) -> None:
        """Run until cancelled; a child that is running then is killed."""
        await asyncio.sleep(self._times.after_start_s)
        while True:
            day, failures = self._day(), self.failures
            for command in self._commands:
                await self._run_one(command)
            retry_ns = self._clock.mono_ns() + int(self._times.retry_s * NS_PER_S)
            while self._day() == day:  # there is no event for midnight
                await asyncio.sleep(self._times.poll_s)
                if self.failures > failures and self._clock.mono_ns() >= retry_ns:
                    break

    def _day(self) -> object:
        """The current day, which for sealing starts `after_midnight_s` late."""
        return day_of(self._clock.wall_ns() - int(self._times.after_midnight_s * NS_PER_S))

    async def _run_one(self, command: Sequence[str]) -> None:
        self.runs += 1
        code: Optional[int] = None
        try:
            code, complaint = await self._run_child(command)
        except OSError as error:
            complaint = str(error)
        if code != 0:
            self.failures += 1
            what = "sealing" if command is self._commands[0] else "uploading or removing old days"
            log.warning(f"{what} failed; recording goes on, another attempt later", exit_code=code, said=complaint)

    async def _run_child(self, command: Sequence[str]) -> tuple[int, str]:
        child = await Child.start(command, self._environment, read="stderr")
        child.close_stdin()
        try:
            complaint = await child.tail(COMPLAINT_BYTES)
            return await child.wait(), complaint.decode(errors="replace").strip()
        except asyncio.CancelledError:
            await child.kill()
            raise
