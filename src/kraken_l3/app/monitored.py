"""A recorder with its displays: the live table, the service manager, one log line per hour.

None of them can end a recording: whatever fails here is logged and left out.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from kraken_l3.app.recorder import Recorder
from kraken_l3.app.status import MessageCounter, StatusCollector
from kraken_l3.app.summary import RecordingSummary, summary_of
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import Settings
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.live import LiveTable
from kraken_l3.monitor.view import RecorderView
from kraken_l3.systemd.notify import Notifier
from kraken_l3.telemetry import get_logger

__all__ = ["record_monitored"]

REDRAW_S = 0.5
STATUS_S = 10.0
SUMMARY_S = 3600.0
#: A start that waits longer (for Kraken's list of pairs) is reported as complete: the service is up, Kraken is not.
READY_LIMIT_S = 30.0
POLL_S = 0.1

log = get_logger("kraken_l3.recorder")


async def record_monitored(
    settings: Settings,
    stop: asyncio.Event,
    *,
    table: Optional[LiveTable] = None,
    status_s: float = STATUS_S,
    summary_s: float = SUMMARY_S,
) -> RecordingSummary:
    """Record until `stop` is set, as `Recorder.run` does, with displays; returns a summary of what was recorded.

    Args:
        settings: what to record, and where to.
        stop: ends it.
        table: drawn where its console is a terminal (None: there is no table).
        status_s: seconds between two status lines for the service manager.
        summary_s: seconds between the lines in the log.
    """
    clock = SystemClock()
    started_ns = clock.mono_ns()
    counter = MessageCounter() if table is not None and table.can_show else None
    recorder = Recorder(settings, observer=counter)
    displays = _Displays(recorder, settings.output_dir, clock, counter)
    tasks = [_aside(displays.summarise(summary_s)), _aside(displays.tell_manager(Notifier(), stop, status_s))]
    if table is not None and counter is not None:
        tasks.append(_aside(displays.show(table, stop)))
    try:
        await recorder.run(stop)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return summary_of(recorder, settings, (clock.mono_ns() - started_ns) / NS_PER_S)


def _aside(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    async def guarded() -> None:
        try:
            await work
        except Exception:  # showing the recorder must never end it
            log.exception("a display failed, recording goes on without it")

    task = asyncio.ensure_future(guarded())
    task.add_done_callback(lambda _: work.close())  # a task cancelled before its first step would warn
    return task


class _Displays:
    """The three displays of a recorder, each with its own interval."""

    def __init__(self, recorder: Recorder, directory: Path, clock: Clock, counter: Optional[MessageCounter]) -> None:
        self._recorder = recorder
        self._directory = directory
        self._clock = clock
        self._counter = counter

    def _status(self) -> StatusCollector:
        return StatusCollector(self._recorder, self._directory, self._clock, self._counter)

    async def show(self, live: LiveTable, stop: asyncio.Event) -> None:
        """Draw the table until `stop` is set, and leave the last one on the screen.

        The connections that end after that are part of an orderly stop, and are not shown.
        """
        status = self._status()
        free: Optional[int] = None
        with live:
            for round_number in range(2**62):
                if free is None or round_number % int(STATUS_S / REDRAW_S) == 0:
                    free = await asyncio.to_thread(_free_bytes, self._directory)
                view = status.view(free)
                live.show(view)
                if await _is_set_within(stop, REDRAW_S):
                    live.show(replace(view, stopped=True))
                    return

    async def tell_manager(self, notifier: Notifier, stop: asyncio.Event, status_s: float) -> None:
        """READY, then STATUS and WATCHDOG until `stop` is set, then STOPPING.

        The watchdog is fed by the event loop: a disk that hangs is the writer's to survive, killing it would lose what
        is queued.
        """
        if not notifier.is_heard:
            return
        await self._until_started(stop)
        status = self._status()
        notifier.ready(status.view().headline())
        feeding = asyncio.ensure_future(_feed(notifier))
        try:
            while not await _is_set_within(stop, status_s):
                notifier.status(status.view().headline())
            notifier.stopping()
            await asyncio.Event().wait()  # fed until the last byte is written, which is when this is cancelled
        finally:
            feeding.cancel()

    async def _until_started(self, stop: asyncio.Event) -> None:
        limit_ns = self._clock.mono_ns() + int(READY_LIMIT_S * 1e9)
        while self._recorder.supervisor is None and self._clock.mono_ns() < limit_ns:
            if await _is_set_within(stop, POLL_S):
                return

    async def summarise(self, every_s: float) -> None:
        """Write one log line per hour."""
        status = self._status()
        before = status.view()
        while True:
            await asyncio.sleep(every_s)
            free = await asyncio.to_thread(_free_bytes, self._directory)
            now = status.view(free)
            log.info("still recording", **_summary(before, now))
            before = now


def _summary(before: RecorderView, now: RecorderView) -> dict[str, Any]:
    words = {
        "symbols": f"{now.recording}/{len(now.rows)}",
        "messages": now.messages - before.messages,
        "bytes": now.written_bytes - before.written_bytes,
        "gaps": now.gaps - before.gaps,
        "reconnects": now.reconnects - before.reconnects,
        "disk_free_bytes": now.disk_free_bytes,
    }
    if now.verified is not None:
        words["mismatched"] = now.mismatched - before.mismatched
    return words


async def _feed(notifier: Notifier) -> None:
    while notifier.watchdog_interval_s is not None:
        notifier.watchdog()
        await asyncio.sleep(notifier.watchdog_interval_s)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


def _free_bytes(directory: Path) -> Optional[int]:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
