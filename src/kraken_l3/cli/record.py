"""`kraken-l3 record`: record until stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Optional

from kraken_l3.app.monitored import record_monitored
from kraken_l3.app.summary import RecordingSummary
from kraken_l3.archive.lock import holder_of
from kraken_l3.cli.options import read_settings
from kraken_l3.config.settings import Settings
from kraken_l3.errors import ArchiveLocked, DataMissing, LocalFault
from kraken_l3.monitor.live import LiveTable
from kraken_l3.telemetry import configure_logging, get_logger, say

__all__ = ["record"]

_STOP_SIGNALS = (
    [signal.SIGINT, signal.SIGTERM] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
)

#: systemd sets it for a command of ExecReload=, and for no other (systemd.exec(5)).
_RELOADED = "MAINPID"
_POLL_S = 0.05

log = get_logger("kraken_l3.recorder")


def record(
    config: Optional[Path],
    symbols: Optional[str],
    depth: Optional[int],
    output_dir: Optional[Path],
    trades: Optional[bool],
    tier: Optional[str],
    redundancy: Optional[int],
    duration: Optional[float],
    table: bool,
    take_over: bool,
) -> int:
    """Run `kraken-l3 record`; gives its exit code back."""
    settings = read_settings(
        config,
        symbols=symbols,
        depth=depth,
        output_dir=output_dir,
        trades=trades,
        tier=tier,
        redundancy=redundancy,
    )
    configure_logging()
    if take_over and _RELOADED in os.environ:
        return _take_over_beside(settings.output_dir)
    summary = asyncio.run(_record(settings, duration, table, take_over))
    _say(summary)
    if duration is not None and not summary.recorded:
        # A service that is stopped before Kraken answered has not failed; a recording of so many seconds has.
        return DataMissing.exit_code
    return 0


def _take_over_beside(directory: Path) -> int:
    """As ExecReload= of systemd: start the recorder that takes over as a process of its own, and return when it has.

    systemd waits for a command of ExecReload= to end, and takes no process of its for the main one.
    """
    environment = {name: value for name, value in os.environ.items() if name != _RELOADED}
    pid = _start_as_orphan([sys.executable, "-m", "kraken_l3", *sys.argv[1:]], environment)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    while _is_running(pid):
        with contextlib.suppress(ArchiveLocked):  # between two holders
            holder = holder_of(directory)
            if holder is not None and holder.pid == pid:
                return 0
        time.sleep(_POLL_S)
    raise LocalFault(
        "the new recorder ended before it had the archive",
        where=f"pid {pid}",
        hint="The log above says why. The other recorder records on, unless the log says that it was asked to end",
    )


def _start_as_orphan(command: list[str], environment: dict[str, str]) -> int:
    """A process whose parent is systemd at once: of a main process that is no child of its, systemd waits for no
    orderly end, and kills it."""
    reading, writing = os.pipe()
    between = os.fork()
    if not between:
        os.write(writing, str(os.posix_spawn(command[0], command, environment)).encode())
        os._exit(0)
    os.waitpid(between, 0)
    return int(os.read(reading, 32))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _record(settings: Settings, duration: Optional[float], table: bool, take_over: bool) -> RecordingSummary:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    if duration is not None:
        asyncio.get_running_loop().call_later(duration, stop.set)
    try:
        return await record_monitored(settings, stop, table=LiveTable() if table else None, take_over=take_over)
    finally:
        # The archive is closed. Until the process is gone, a second signal would only spoil its exit code.
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    for number in _STOP_SIGNALS:
        # nohup has SIGHUP ignored, and the recorder outlive its terminal
        if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
            # Not the loop's own handlers: those are gone, and the default ones back, before the process ends.
            signal.signal(number, on_signal)


def _say(summary: RecordingSummary) -> None:
    if sys.stderr.isatty():
        for line in summary.lines():
            say(line)
    else:
        log.info("recording ended", summary=" ".join(summary.lines()))
