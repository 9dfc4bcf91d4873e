"""Takes an archive over from the recorder that writes it, so that a restart or an upgrade loses nothing.

Nothing is asked of the other recorder before this one holds everything:

 1. this recorder connects, and holds what it receives, until every symbol has its snapshot (`capture.held_archive`);
 2. the process that holds the archive's lock is asked to end (SIGTERM);
 3. this recorder waits for the lock, opens the archive, which recovers it, and reads how it ends;
 4. what is held behind that is spliced on.

Up to the second step any failure ends this recorder, and the other one records on.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import structlog

from kraken_l3.archive.journal import Connected
from kraken_l3.archive.last_messages import LastMessages, read_last_messages
from kraken_l3.archive.lock import Holder, holder_of
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture.held_archive import LAG_S, HeldArchive
from kraken_l3.errors import ArchiveLocked, LocalFault, UsageError
from kraken_l3.model.timestamps import NS_PER_S

__all__ = ["TakeOver", "TakeOverLimits"]

POLL_S = 0.02
#: Between two looks at the states of all symbols, of which there may be hundreds.
LOOK_S = 0.1
#: The other recorder may reconnect while this one gets ready: its numbers and this one's must not meet. It makes 150
#: attempts in ten minutes at most (`protocol.budget`).
NUMBERS_APART = 1_000
#: So much of a day is looked through for the last message of a quiet symbol, before the other recorder is asked to end
#: and once more, behind what was read then.
SEARCH_BYTES, SEARCH_AGAIN_BYTES = 256 * 1024 * 1024, 16 * 1024 * 1024

log = structlog.get_logger("kraken_l3.take_over")


class TakeOverLimits(NamedTuple):
    """How patient it is.

    Attributes:
        progress_s: it is given up when no further symbol got its snapshot for so long.
        overlap_s: so long both record: whatever the other one loses when it is killed, this one has.
        lock_s: so long the other recorder may take to end, once it was asked to.
        end_s: so long its process may still be there, once the archive is ours.
    """

    progress_s: float = 120.0
    overlap_s: float = 2.0
    lock_s: float = 60.0
    end_s: float = 10.0


class TakeOver:
    """See the module.

    Args:
        directory: the archive.
        announce: called with the id of the process that is the recorder from now on, just before the other one is
            asked to end; and with the other one's if it does not end.
        limits: see `TakeOverLimits`.

    Attributes:
        spliced: set when what was held is in the archive.
        done: set when the other recorder is gone too.
    """

    def __init__(
        self,
        directory: Path,
        *,
        announce: Callable[[int], None] = lambda _: None,
        limits: TakeOverLimits = TakeOverLimits(),  # noqa: B008 - immutable
    ) -> None:
        self._directory = directory
        self._announce = announce
        self._limits = limits
        self._holder: Optional[Holder] = None
        self._pidfd: Optional[int] = None
        self.spliced = asyncio.Event()
        self.done = asyncio.Event()

    def find(self) -> bool:
        """Whether there is a recorder to take over from.

        Raises:
            ArchiveLocked: it runs on another machine, or cannot be told.
            UsageError: this system has no signals.
        """
        self._holder = holder = holder_of(self._directory)
        if holder is None:
            log.info("no recorder to take over from, recording as after any start", directory=str(self._directory))
            return False
        if sys.platform == "win32":
            raise UsageError(
                "a recorder on Windows cannot be asked to end", hint="Stop it, and start without --take-over"
            )
        if holder.host != socket.gethostname():
            where = f"pid {holder.pid} on {holder.host}"
            raise ArchiveLocked(f"the recorder runs on another machine ({where})", where=str(self._directory))
        return True

    def last_connection(self) -> int:
        """The number behind which this recorder counts its connections."""
        archive = open_archive(self._directory)
        days = archive.days[-1:]
        numbers = [
            record.connection for day in days for record in archive.journal(day) if isinstance(record, Connected)
        ]
        return max(numbers, default=0) + NUMBERS_APART

    async def run(
        self,
        held: HeldArchive,
        symbols: Sequence[str],
        missing: Callable[[], int],
        open_writer: Callable[[], ArchiveWriter],
    ) -> None:
        """Do it.

        Args:
            held: gets the archive.
            symbols: what is recorded.
            missing: how many symbols have no snapshot yet.
            open_writer: opens the archive.

        Raises:
            LocalFault: it could not be done; unless the text says otherwise the other recorder records on.
        """
        assert self._holder is not None
        log.info("getting ready to take over", pid=self._holder.pid)
        await self._until_ready(missing)
        await asyncio.sleep(self._limits.overlap_s)
        await self._until_ready(missing)  # a connection may have dropped
        before = await asyncio.to_thread(self._read, symbols, SEARCH_BYTES)
        self._ask()
        writer = await self._open(open_writer)
        try:
            after = await asyncio.to_thread(self._read, symbols, SEARCH_AGAIN_BYTES)
        except BaseException:
            writer.close()
            raise
        level3, trades = (LastMessages({**old.last, **new.last}, new.recent) for old, new in zip(before, after))
        held.open(writer, level3, trades)
        await self.spliced.wait()
        await self._until_ended()
        self.done.set()

    async def _until_ready(self, missing: Callable[[], int]) -> None:
        loop = asyncio.get_running_loop()
        best, since = missing(), loop.time()
        while left := missing():
            if left < best:
                best, since = left, loop.time()
            elif loop.time() - since > self._limits.progress_s:
                raise LocalFault(
                    f"cannot take over: snapshots are missing ({left}), none came for {self._limits.progress_s:g} s",
                    where=str(self._directory),
                    hint="The other recorder was not touched, and records on. The log above says what failed",
                )
            await asyncio.sleep(LOOK_S)

    def _read(self, symbols: Sequence[str], limit_bytes: int) -> tuple[LastMessages, LastMessages]:
        recent_ns = int(LAG_S * NS_PER_S)
        level3, trades = (
            read_last_messages(self._directory, stream, symbols, recent_ns=recent_ns, limit_bytes=limit_bytes)
            for stream in ("level3", "trade")
        )
        return level3, trades

    def _ask(self) -> None:
        """Ask the lock's holder to end. Its pid is looked up once it cannot be given to another process any more."""
        holder = self._holder
        assert holder is not None
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(holder.pid)
            except OSError:  # it is gone, or the kernel is older than 5.3
                self._pidfd = None
        if holder_of(self._directory) != holder:
            log.warning("the other recorder has ended by itself", pid=holder.pid)
            return
        self._announce(os.getpid())
        log.info("asking the other recorder to end", pid=holder.pid)
        try:
            if self._pidfd is not None and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            else:
                os.kill(holder.pid, signal.SIGTERM)
        except ProcessLookupError:
            log.warning("the other recorder has ended by itself", pid=holder.pid)
        except OSError as error:
            self._announce(holder.pid)
            raise LocalFault(
                f"cannot ask the other recorder to end: {error.strerror}",
                where=f"pid {holder.pid}",
                hint="It records on. Take over as the user who runs it",
            ) from error

    async def _open(self, open_writer: Callable[[], ArchiveWriter]) -> ArchiveWriter:
        assert self._holder is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.lock_s
        while True:
            try:
                return await asyncio.to_thread(open_writer)
            except ArchiveLocked as error:
                if loop.time() > deadline:
                    self._announce(self._holder.pid)
                    raise ArchiveLocked(
                        f"the other recorder was asked to end, and holds the archive {self._limits.lock_s:g} s later",
                        where=str(self._directory),
                        hint="See what it waits for, end it, and start this one again",
                    ) from error
            await asyncio.sleep(POLL_S)

    async def _until_ended(self) -> None:
        """Its verifier writes to the archive up to its end."""
        assert self._holder is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.end_s
        while self._is_running(self._holder.pid) and loop.time() < deadline:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _is_running(self, pid: int) -> bool:
        if self._pidfd is not None:
            return not select.select([self._pidfd], [], [], 0)[0]
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
