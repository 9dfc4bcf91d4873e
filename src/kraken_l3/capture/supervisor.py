"""Keeps every connection alive for years: one task a connection, one budget for all, and a watch on clock, disk and
queue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Optional

import structlog

from kraken_l3.archive.journal import Alive, ClockStep, Resync
from kraken_l3.capture.connection import Connection, ConnectionContext, ConnectionResult, Shard
from kraken_l3.capture.transport import ConnectFailed
from kraken_l3.errors import KrakenL3Error, LocalFault, RefusedByKraken
from kraken_l3.model.timestamps import NS_PER_S, day_of
from kraken_l3.protocol.backoff import Backoff
from kraken_l3.protocol.budget import SYMBOLS_PER_CONNECTION, ConnectionBudget
from kraken_l3.protocol.resync import QUARANTINE_AFTER, ResyncPolicy
from kraken_l3.protocol.session import SymbolState

__all__ = ["Supervisor"]

WATCH_S = 1.0
ALIVE_S = 10.0
#: The wall clock may drift and be slewed; only a step of more than this is told.
CLOCK_STEP_NS = NS_PER_S
#: Above this the day itself is in doubt: the connections are made anew.
CLOCK_JUMP_NS = 3600 * NS_PER_S
PAUSE_LIMIT_S = 20.0
#: Longer than a connection takes to close in order.
END_WAIT_S = 1.5

log = structlog.get_logger("kraken_l3.capture")


class Supervisor:
    """See the module.

    Args:
        shards: the connections to keep.
        shared: what they share.
        last_connection: connection numbers go on from here.
    """

    def __init__(self, shards: Sequence[Shard], shared: ConnectionContext, *, last_connection: int) -> None:
        self._shards = list(shards)
        self._tasks: list[asyncio.Future[None]] = []
        self._shared = shared
        self._sink = shared.sink
        self._clock = shared.clock
        self._attempts = ConnectionBudget()
        self._last_connection = last_connection
        self._open: dict[int, Connection] = {}
        self._may_connect = asyncio.Event()
        self._may_connect.set()
        self._disk_is_full = False
        self._started_ns = shared.clock.wall_ns()
        self._fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._pause_timer: Optional[asyncio.TimerHandle] = None
        self._resyncs = ResyncPolicy()
        self._wanted: dict[str, str] = {}
        self.reconnects = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set.

        Raises:
            RefusedByKraken: the key is refused.
            LocalFault: the archive cannot be written any more.
        """
        self._listen_to_sink()
        for shard in self._shards:
            self._start(self._keep(shard))
        self._start(self._watch())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [stopping, self._fault]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._fault.done():
                raise self._fault.result()
        finally:
            stopping.cancel()
            await self._end_all()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._fault.done():
            self._fault.set_result(error)

    async def _end_all(self) -> None:
        # Before Python 3.12 `wait_for` may swallow a cancellation: who is still at work is told again.
        while going := [task for task in self._tasks if not task.done()]:
            for task in going:
                task.cancel()
            await asyncio.wait(going, timeout=END_WAIT_S)
        if self._pause_timer is not None:
            self._pause_timer.cancel()

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _keep(self, shard: Shard) -> None:
        """Connect again and again; the delays are `Backoff`'s."""
        backoff = Backoff(random.random)
        ended_ns = 0
        failures = 0
        maintenance = False
        while True:
            await self._may_connect.wait()
            await self._wait_for_attempt()
            try:
                ending = await self._connect_once(shard, ended_ns)
                failures, maintenance = 0, ending.maintenance
                log.warning("connection ended", channel=shard.channel.name, cause=ending.cause, detail=ending.detail)
            except (RefusedByKraken, LocalFault):
                raise
            except ConnectFailed as error:
                ending = ConnectionResult("network", str(error), 0, maintenance)
                failures += 1
                if failures in (1, 10) or failures % 60 == 0:
                    log.warning("cannot connect", error=str(error), attempts=failures)
            except Exception:  # a defect in handling one connection must not end the others
                log.exception("unforeseen error on a connection", channel=shard.channel.name)
                ending = ConnectionResult("fault", "unforeseen error", 0, maintenance)
            ended_ns = self._clock.mono_ns()
            self.reconnects += 1
            delay_s = backoff.next_delay_s(healthy_ns=ending.healthy_ns, maintenance=ending.maintenance)
            await asyncio.sleep(delay_s)

    async def _connect_once(self, shard: Shard, ended_ns: int) -> ConnectionResult:
        if shard.channel.private and self._shared.tokens is not None:
            await self._shared.tokens.get(newer_than_ns=ended_ns)
        await self._may_connect.wait()  # the token may have taken long
        self._last_connection += 1
        connection = Connection(self._last_connection, shard, self._shared)
        self._open[connection.number] = connection
        try:
            return await connection.run()
        finally:
            del self._open[connection.number]

    async def _wait_for_attempt(self) -> None:
        wait_ns = self._attempts.reserve(self._clock.mono_ns())
        if wait_ns:
            log.warning("too many connection attempts, waiting", seconds=wait_ns // NS_PER_S)
            await asyncio.sleep(wait_ns / NS_PER_S)

    # -- what others want ----------------------------------------------------------------------------------------------

    def record_also(self, symbol: str) -> None:
        """Record a pair that was listed since: on the first connection that has room for it, else on a new one."""
        for name in {shard.channel.name for shard in self._shards if shard.channel.recorded_symbols()}:
            shards = [shard for shard in self._shards if shard.channel.name == name]
            shard = next((s for s in shards if len(s.channel.symbols) < SYMBOLS_PER_CONNECTION), None)
            if shard is None:
                shard = shards[0]._replace(channel=shards[0].channel._replace(symbols=[symbol]))
                self._shards.append(shard)
                self._start(self._keep(shard))
            else:
                shard.channel.symbols.append(symbol)
                self._subscribe_now(shard, symbol)

    def _subscribe_now(self, shard: Shard, symbol: str) -> None:
        for connection in self._open.values():
            if connection.channel is shard.channel:
                connection.add(symbol)

    def resync(self, symbol: str, cause: str, left_ns: int) -> None:
        """Have a symbol's book sent anew, as soon as `ResyncPolicy` allows: a gap from `left_ns` on till its snapshot.

        A symbol that is being sent anyway, or is not recorded, is left as it is.
        """
        connection = self._connection_of(symbol)
        if connection is None or connection.state(symbol) is not SymbolState.LIVE:
            return
        self._shared.gaps.open("level3", symbol, cause, left_ns, connection.number)
        self._wanted[symbol] = cause
        self._grant_resyncs()

    def _grant_resyncs(self) -> None:
        now_ns = self._clock.mono_ns()
        for symbol, cause in list(self._wanted.items()):
            if not self._shared.gaps.is_open("level3", symbol):  # a reconnect brought its snapshot
                del self._wanted[symbol]
                continue
            if self._resyncs.wait_ns(symbol, now_ns):
                continue
            del self._wanted[symbol]
            connection = self._connection_of(symbol)
            if connection is not None and connection.resync(symbol):
                self._note_resync(symbol, cause, connection.number)

    def _connection_of(self, symbol: str) -> Optional[Connection]:
        for connection in self._open.values():
            if connection.channel.name == "level3" and symbol in connection.channel.symbols:
                return connection
        return None

    def _note_resync(self, symbol: str, cause: str, connection: int) -> None:
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        attempt = self._resyncs.done(symbol, mono_ns)
        if attempt == QUARANTINE_AFTER:
            log.warning("a symbol keeps failing, it is sent anew once an hour only", symbol=symbol, cause=cause)
        self._sink.note(
            Resync(at_ns=at_ns, mono_ns=mono_ns, symbol=symbol, cause=cause, attempt=attempt, connection=connection)
        )

    def connections(self) -> list[Connection]:
        """The connections that are open or being opened."""
        return list(self._open.values())

    def states(self) -> dict[str, tuple[int, SymbolState]]:
        """For each level3 symbol its connection's number and where it stands."""
        states = {
            symbol: (connection.number, connection.state(symbol))
            for connection in self._open.values()
            if connection.channel.name == "level3"
            for symbol in connection.channel.recorded_symbols()
        }
        for shard in self._shards:
            if shard.channel.name == "level3":
                for symbol in shard.channel.recorded_symbols():
                    states.setdefault(symbol, (0, SymbolState.WAITING))
        return states

    # -- queue and disk ------------------------------------------------------------------------------------------------

    def _listen_to_sink(self) -> None:
        self._sink.on_full = self._on_full
        self._sink.on_room = self._on_room
        self._sink.on_disk_full = self._on_disk_full
        self._sink.on_disk_ok = self._on_disk_ok
        self._sink.on_fault = self._on_fault

    def _on_full(self) -> None:
        log.warning("the disk does not keep up, reading is paused", queued_bytes=self._sink.queued_bytes)
        for connection in self._open.values():
            connection.pause()
        self._pause_timer = asyncio.get_running_loop().call_later(PAUSE_LIMIT_S, self._on_paused_too_long)
        self._look_whether_to_connect()

    def _on_room(self) -> None:
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        for connection in self._open.values():
            connection.resume()
        self._look_whether_to_connect()

    def _on_paused_too_long(self) -> None:
        self._end_connections("writer", f"the archive took nothing for {PAUSE_LIMIT_S:.0f} s")

    def _on_disk_full(self, kept_until_ns: int) -> None:
        log.error("the disk is full, recording stops until there is room", hint="Free space on the archive's disk")
        self._disk_is_full = True
        self._look_whether_to_connect()
        kept_until_ns = kept_until_ns or self._started_ns
        self._shared.gaps.reach_back("disk", kept_until_ns)
        for connection in self._open.values():
            connection.end("disk", "the disk is full", kept_until_ns=kept_until_ns)

    def _on_disk_ok(self) -> None:
        log.info("the disk has room again")
        self._disk_is_full = False
        self._look_whether_to_connect()

    def _look_whether_to_connect(self) -> None:
        """On a full disk a new connection's snapshot would be lost; with a full queue it would not be paused."""
        if self._disk_is_full or self._sink.is_full:
            self._may_connect.clear()
        else:
            self._may_connect.set()

    def _on_fault(self, error: KrakenL3Error) -> None:
        if not self._fault.done():
            self._fault.set_result(error)

    def _end_connections(self, cause: str, detail: str) -> None:
        for connection in self._open.values():
            connection.end(cause, detail)

    # -- time ----------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the clocks once a second, and write that we are alive every ten."""
        offset_ns = self._clock.wall_ns() - self._clock.mono_ns()
        alive_at_ns = self._clock.mono_ns()
        day = day_of(self._clock.wall_ns())
        while True:
            await asyncio.sleep(WATCH_S)
            self._grant_resyncs()
            wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            step_ns = (wall_ns - mono_ns) - offset_ns
            offset_ns += step_ns
            if abs(step_ns) > CLOCK_STEP_NS:
                self._on_clock_step(wall_ns, mono_ns, step_ns)
            if mono_ns - alive_at_ns >= ALIVE_S * NS_PER_S:
                alive_at_ns = mono_ns
                self._note_alive(wall_ns, mono_ns)
            if day_of(wall_ns) != day:  # also when a clock that was years ahead is set right
                day = day_of(wall_ns)
                self._refresh_instruments()

    def _refresh_instruments(self) -> None:
        """Each day's file opens with the whole list."""
        for connection in self._open.values():
            if connection.channel.name == "instrument":
                connection.resync(None)

    def _on_clock_step(self, wall_ns: int, mono_ns: int, step_ns: int) -> None:
        log.warning("the wall clock stepped", seconds=step_ns / NS_PER_S)
        if abs(step_ns) > CLOCK_JUMP_NS:
            self._end_connections("clock", f"the wall clock stepped by {step_ns / NS_PER_S:.0f} s")
            self._sink.restart_day(wall_ns)
        self._sink.note(ClockStep(at_ns=wall_ns, mono_ns=mono_ns, step_ns=step_ns))

    def _note_alive(self, wall_ns: int, mono_ns: int) -> None:
        last = {number: connection.last_recv_ns for number, connection in self._open.items()}
        self._sink.note(Alive(at_ns=wall_ns, mono_ns=mono_ns, last_frame_ns=last, lines=self._sink.written_frames))
