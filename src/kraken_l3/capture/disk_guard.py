"""Watches the room on the archive's disk, and gives the last of it to the recording.

Two marks come before the disk is full. At the first it warns. At the second everything that runs beside the recording
(verifier, sealer, uploads) ends: what is not verified today can be verified tomorrow, what is not recorded is lost.
When there is room again, all of it comes back by itself.
"""

from __future__ import annotations

import asyncio
import enum
import shutil
from collections.abc import Awaitable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import structlog

from kraken_l3.capture.aside import run_aside
from kraken_l3.capture.disk_forecast import DiskForecast
from kraken_l3.clock import Clock

__all__ = ["Beside", "DiskGuard", "DiskMark", "DiskMarks"]

_GIB = 1 << 30

log = structlog.get_logger("kraken_l3.capture.disk_guard")


class DiskMark(str, enum.Enum):
    """How much room there is."""

    FINE = "fine"
    LOW = "low"
    SCARCE = "scarce"


class DiskMarks(NamedTuple):
    """Where the marks are, and how often the disk is looked at.

    Attributes:
        low_s: it is low if it will be full sooner, in seconds ...
        low_bytes: ... or has less room.
        scarce_bytes: it is scarce if it has less room.
        recovery: a mark is left once there is this many times as much room as its bound, so that it is not crossed to
            and fro.
        look_s: between two looks.
    """

    low_s: float = 3 * 86_400.0
    low_bytes: int = 4 * _GIB
    scarce_bytes: int = _GIB // 2
    recovery: float = 1.2
    look_s: float = 10.0

    def mark(self, free_bytes: int, seconds_to_full: Optional[float], before: DiskMark) -> DiskMark:
        """The mark now, when it was `before` at the last look."""
        was_scarce, was_low = before is DiskMark.SCARCE, before is not DiskMark.FINE
        if free_bytes < self.scarce_bytes * (self.recovery if was_scarce else 1):
            return DiskMark.SCARCE
        factor = self.recovery if was_low else 1
        is_soon = seconds_to_full is not None and seconds_to_full < self.low_s * factor
        return DiskMark.LOW if is_soon or free_bytes < self.low_bytes * factor else DiskMark.FINE


async def _nothing() -> None:
    """Work that ends when it is cancelled."""


class Beside(NamedTuple):
    """Work that runs beside the recording while there is room.

    Attributes:
        name: in the log.
        run: does it until it is cancelled; can be called again.
        end: what is to be done after that, when the disk is scarce; at the end of the recording its owner does it.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    end: Callable[[], Awaitable[None]] = _nothing


class DiskGuard:
    """See the module.

    Args:
        directory: the archive.
        written_bytes: how much the recorder has written so far.
        beside: what ends when the disk is scarce.
        clock: for the forecast.
        marks: see `DiskMarks`.
        free_bytes: room on the disk of a directory.
    """

    def __init__(
        self,
        directory: Path,
        written_bytes: Callable[[], int],
        beside: Sequence[Beside],
        clock: Clock,
        marks: DiskMarks = DiskMarks(),  # noqa: B008 - immutable
        *,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self._directory = directory
        self._written_bytes = written_bytes
        self._beside = beside
        self._clock = clock
        self._marks = marks
        self._look_at = free_bytes
        self._forecast = DiskForecast()
        self._tasks: list[asyncio.Task[None]] = []
        #: As of the last look; None while nothing tells.
        self.free_bytes: Optional[int] = None
        self.seconds_to_full: Optional[float] = None
        self.mark = DiskMark.FINE

    async def run(self) -> None:
        """Keep the work beside the recording going as long as there is room, until cancelled; it is cancelled too."""
        try:
            while True:
                await self._look()
                if self.mark is DiskMark.SCARCE:
                    await self._end_work()
                elif not self._tasks:
                    self._tasks = [run_aside(each.run(), each.name) for each in self._beside]
                await asyncio.sleep(self._marks.look_s)
        finally:
            await self._cancel_work()

    async def _look(self) -> None:
        """A file system that hangs keeps this waiting, and nobody else."""
        try:
            free = await asyncio.to_thread(self._look_at, self._directory)
        except OSError as error:
            log.warning("cannot see how much room the disk has", error=str(error))
            self.free_bytes = self.seconds_to_full = None
            return
        left_s = self._forecast.seconds_to_full(self._clock.mono_ns(), free, self._written_bytes())
        self.free_bytes, self.seconds_to_full = free, left_s
        mark = self._marks.mark(free, left_s, self.mark)
        if mark is not self.mark:
            self.mark = mark
            _say(mark, free, left_s)

    async def _end_work(self) -> None:
        if self._tasks:
            await self._cancel_work()
            for each in self._beside:
                await each.end()

    async def _cancel_work(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say(mark: DiskMark, free_bytes: int, seconds_to_full: Optional[float]) -> None:
    hours = None if seconds_to_full is None else round(seconds_to_full / 3600)
    told = {"free_bytes": free_bytes, "hours_to_full": hours}
    if mark is DiskMark.FINE:
        log.info("the disk has room", **told)
    elif mark is DiskMark.LOW:
        log.warning("the disk is running low", hint="Free space, or set `upload` and `keep_days`", **told)
    else:
        log.error("the disk is nearly full: only recording goes on, nothing is verified or sealed", **told)
