"""A recorder with its displays: the live table, the service manager, metrics and page, alerts, a log line an hour.

None of them can end a recording: whatever fails here is logged and left out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Optional

import msgspec

from kraken_l3.app.alerting import Alerting
from kraken_l3.app.recorder import Recorder
from kraken_l3.app.status import MessageCounter, Observed, RecordCounter, StatusCollector
from kraken_l3.app.summary import RecordingSummary, summary_of
from kraken_l3.app.take_over import TakeOver
from kraken_l3.archive.journal import Record
from kraken_l3.capture.aside import run_aside
from kraken_l3.capture.web_process import WebProcess
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import ENV_PREFIX, Settings, environment_without_secrets
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.monitor.clock_sync import read_clock_status
from kraken_l3.monitor.live import LiveTable
from kraken_l3.monitor.status import ClockStatus, DiskStatus, RecorderStatus, encode_status
from kraken_l3.monitor.status_file import read_status, write_status
from kraken_l3.systemd.notify import Notifier
from kraken_l3.telemetry import get_logger

__all__ = ["MonitorTimes", "record_monitored"]

#: A start that waits longer (for Kraken's list of pairs) is reported as complete: the service is up, Kraken is not.
READY_LIMIT_S = 30.0
POLL_S = 0.1
#: A file system that hangs does not keep the process from ending.
LAST_WORD_S = 1.0

log = get_logger("kraken_l3.recorder")


class MonitorTimes(msgspec.Struct, frozen=True):
    """How often the displays are served, in seconds.

    Attributes:
        collect_s: between two statuses: the table, the file, the web process.
        clock_s: between two looks at the clock.
        manager_s: between two status lines for the service manager.
        summary_s: between two lines in the log.
    """

    collect_s: float = 1.0
    clock_s: float = 10.0
    manager_s: float = 10.0
    summary_s: float = 3600.0


async def record_monitored(
    settings: Settings,
    stop: asyncio.Event,
    *,
    table: Optional[LiveTable] = None,
    times: MonitorTimes = MonitorTimes(),  # noqa: B008 - immutable
    take_over: bool = False,
) -> RecordingSummary:
    """Record until `stop` is set, as `Recorder.run` does, with displays; returns a summary of what was recorded.

    Args:
        settings: what to record, and where to.
        stop: ends it.
        table: drawn where its console is a terminal (None: there is no table).
        times: see `MonitorTimes`.
        take_over: from the recorder that writes to the archive, if there is one.
    """
    clock = SystemClock()
    started_ns = clock.mono_ns()
    notifier = Notifier()
    messages, records = MessageCounter(), RecordCounter()
    alerting = Alerting(settings, clock) if settings.alert_hook or settings.alert_webhook.get_secret_value() else None

    def on_record(record: Record) -> None:
        records(record)
        if alerting is not None:
            alerting.record(record)

    taking = TakeOver(settings.output_dir, announce=notifier.main_process) if take_over else None
    recorder = Recorder(settings, observer=messages, record_observer=on_record, take_over=taking)
    collector = StatusCollector(recorder, settings.output_dir, clock, messages, records)
    displays = _Displays(recorder, settings, collector, clock, times, alerting)
    shown = table if table is not None and table.can_show else None
    tasks = [run_aside(work, "a display") for work in displays.work(stop, notifier, shown)]
    ended_by: Optional[BaseException] = None
    try:
        await recorder.run(stop)
    except BaseException as error:
        ended_by = error
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await displays.finish(ended_by)
    return summary_of(recorder, settings, (clock.mono_ns() - started_ns) / NS_PER_S)


class _Displays:
    """One status after another, and everything that is made of it."""

    def __init__(
        self,
        recorder: Recorder,
        settings: Settings,
        collector: StatusCollector,
        clock: Clock,
        times: MonitorTimes,
        alerting: Optional[Alerting],
    ) -> None:
        self._recorder = recorder
        self._settings = settings
        self._directory = settings.output_dir
        self._collector = collector
        self._clock = clock
        self._times = times
        self._alerting = alerting
        self._clock_status = ClockStatus()
        self._status = collector.status()
        self._line = b""
        self._next = asyncio.Event()
        self._written: Optional[asyncio.Future[None]] = None

    def work(
        self, stop: asyncio.Event, notifier: Notifier, table: Optional[LiveTable]
    ) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the recorder; each may fail alone."""
        work = [self._collect(), self._watch_clock(), self._keep_file(), self._summarise()]
        work.append(self._tell_manager(notifier, stop))
        if self._alerting is not None:
            work.append(self._alerting.run())
        if self._settings.http:
            work.append(self._serve())
        if table is not None:
            work.append(self._show(table, stop))
        return work

    async def _collect(self) -> None:
        while True:
            observed = self._collector.observe()
            # A thousand symbols take some milliseconds, which the loop has not: it takes the receive times.
            self._status, self._line = await asyncio.to_thread(
                self._encoded, observed, self._disk(), self._clock_status
            )
            if self._alerting is not None:
                self._alerting.status(self._status)
            self._next.set()
            self._next = asyncio.Event()
            await asyncio.sleep(self._times.collect_s)

    def _encoded(self, observed: Observed, disk: DiskStatus, clock: ClockStatus) -> tuple[RecorderStatus, bytes]:
        status = self._collector.status(observed, disk, clock)
        return status, encode_status(status)

    async def _next_status(self) -> RecorderStatus:
        await self._next.wait()
        return self._status

    async def _watch_clock(self) -> None:
        while True:
            self._clock_status = await asyncio.to_thread(read_clock_status)
            await asyncio.sleep(self._times.clock_s)

    def _disk(self) -> DiskStatus:
        guard, sink = self._recorder.disk, self._recorder.sink
        if guard is None or sink is None:
            return DiskStatus()
        return DiskStatus(
            free_bytes=guard.free_bytes,
            seconds_to_full=guard.seconds_to_full,
            mark=guard.mark.value,
            is_full=sink.disk_is_full,
        )

    async def _keep_file(self) -> None:
        """Keep `recorder.status` in the archive, from the moment on at which this recorder holds the archive."""
        complained = False
        while True:
            await self._next_status()
            if not self._recorder.owns_archive:
                continue
            try:
                await self._write(self._line)
            except OSError as error:
                if not complained:  # a full disk says so elsewhere, and often enough
                    log.warning("cannot write the status file, recording goes on", error=str(error))
                complained = True

    async def _write(self, line: bytes) -> None:
        if self._written is not None:  # a write goes on when the one who waited for it was cancelled
            await asyncio.wait([self._written])
        self._written = asyncio.ensure_future(asyncio.to_thread(write_status, self._directory, line))
        await asyncio.shield(self._written)

    async def _serve(self) -> None:
        """Keep the web process, and tell it each status."""
        settings = self._settings
        command = [sys.executable, "-m", "kraken_l3", "page", str(self._directory), "--http", settings.http]
        environment = environment_without_secrets(settings)
        environment[ENV_PREFIX + "HTTP_TOKEN"] = settings.http_token.get_secret_value()
        while not self._recorder.owns_archive:  # it serves an archive, which is there from then on
            await self._next_status()
        web = WebProcess([*command, "--recorder"], environment)
        running = asyncio.ensure_future(web.run())
        try:
            while not running.done():
                await self._next_status()
                web.tell(self._line)
            running.result()  # it has failed: this says how
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def finish(self, ended_by: Optional[BaseException]) -> None:
        """Leave a last status, and send the last alerts: the archive is closed."""
        if self._recorder.owns_archive:
            await self._write_last()
        if self._alerting is not None:
            await self._alerting.finish(ended_by)

    async def _write_last(self) -> None:
        last = read_status(self._directory)
        if last is not None and last.since_ns > self._status.since_ns:  # of the recorder that has taken over
            return
        status = msgspec.structs.replace(self._collector.status(disk=self._disk()), stopped=True)
        try:
            await asyncio.wait_for(self._write(encode_status(status)), LAST_WORD_S)
        except (OSError, asyncio.TimeoutError) as error:
            log.warning("cannot write the status file", error=str(error))

    async def _show(self, live: LiveTable, stop: asyncio.Event) -> None:
        """Draw the table until `stop` is set, and leave the last one on the screen.

        The connections that end after that are part of an orderly stop, and are not shown.
        """
        with live:
            while not stop.is_set():
                live.show(self._status)
                waiting = [asyncio.ensure_future(each) for each in (stop.wait(), self._next_status())]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
            live.show(msgspec.structs.replace(self._status, stopped=True))

    async def _tell_manager(self, notifier: Notifier, stop: asyncio.Event) -> None:
        """READY, then STATUS and WATCHDOG until `stop` is set.

        The watchdog is fed by the event loop: a disk that hangs is the writer's to survive, killing it would lose what
        is queued.
        """
        if not notifier.is_heard:
            return
        await self._until_started(stop)
        notifier.ready(self._status.headline())
        feeding = asyncio.ensure_future(_feed(notifier))
        try:
            while not await _is_set_within(stop, self._times.manager_s):
                notifier.status(self._status.headline())
            notifier.stopping()
            await asyncio.Event().wait()  # fed until the last byte is written, which is when this is cancelled
        finally:
            feeding.cancel()

    async def _until_started(self, stop: asyncio.Event) -> None:
        limit_ns = self._clock.mono_ns() + int(READY_LIMIT_S * 1e9)
        while not self._recorder.owns_archive and (self._recorder.takes_over or self._clock.mono_ns() < limit_ns):
            if await _is_set_within(stop, POLL_S):
                return

    async def _summarise(self) -> None:
        """Write one log line per hour."""
        before = self._status
        while True:
            await asyncio.sleep(self._times.summary_s)
            log.info("still recording", **_summary(before, self._status))
            before = self._status


def _summary(before: RecorderStatus, now: RecorderStatus) -> dict[str, Any]:
    words = {
        "symbols": f"{now.recording}/{len(now.rows)}",
        "messages": now.messages - before.messages,
        "bytes": now.written_bytes - before.written_bytes,
        "gaps": now.gaps - before.gaps,
        "reconnects": now.reconnects - before.reconnects,
        "disk_free_bytes": now.disk.free_bytes,
    }
    if now.verifier is not None:
        words["mismatched"] = now.verifier.mismatched - (before.verifier.mismatched if before.verifier else 0)
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
