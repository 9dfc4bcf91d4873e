"""Keeps every connection alive for years: one task for each, and one budget of attempts for all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Callable, Optional

import structlog

from kraken_l3.capture.connection import Connection, ConnectionContext, ConnectionResult, Shard
from kraken_l3.capture.intake import Intake
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.capture.transport import ConnectFailed
from kraken_l3.errors import LocalFault, RefusedByKraken
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.backoff import Backoff
from kraken_l3.protocol.budget import SYMBOLS_PER_CONNECTION, ConnectionBudget
from kraken_l3.protocol.session import SymbolState

__all__ = ["STAGGER_S", "Supervisor"]

#: Longer than a connection takes to close in order.
END_WAIT_S = 1.5
#: A second connection waits for the first one's subscriptions, but not for ever: the first may not come up at all.
FIRST_WAIT_S = 60.0
LOOK_S = 0.1
#: It is so much younger at least: where connections are closed at a certain age, the two are not closed together.
STAGGER_S = 1.0

log = structlog.get_logger("kraken_l3.capture.supervisor")


class Supervisor:
    """See the module.

    Args:
        context: what the connections share.
        connections: the open ones; maintained here.
        intake: says when connections may be opened, and when nothing more can be written.
        last_connection: the highest connection number used so far.
        sleep: waits the given seconds before another attempt; tests shorten it.
        symbols_per_connection: a pair that is listed later goes to a connection with fewer symbols, else to a new one.
        leader: the number of the connection that leads a symbol, where two carry it.
        stagger_s: see `STAGGER_S`.
    """

    def __init__(
        self,
        context: ConnectionContext,
        connections: OpenConnections,
        intake: Intake,
        *,
        last_connection: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        symbols_per_connection: int = SYMBOLS_PER_CONNECTION,
        leader: Callable[[str], Optional[int]] = lambda symbol: None,
        stagger_s: float = STAGGER_S,
    ) -> None:
        self._context = context
        self._connections = connections
        self._intake = intake
        self._clock = context.clock
        self._attempts = ConnectionBudget()
        self._last_connection = last_connection
        self._sleep = sleep
        self._symbols_per_connection = symbols_per_connection
        self._leader = leader
        self._stagger_s = stagger_s
        # The shard of each task, and its connection while there is one; a shard grows when pairs are listed.
        self._shards: list[Shard] = []
        self._current: dict[int, Connection] = {}
        self._tasks: list[asyncio.Future[None]] = []
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.reconnects = 0
        #: Level3 symbols that were rejected when the recording ended.
        self.rejected: list[str] = []

    async def run(
        self, shards: Sequence[Shard], stop: asyncio.Event, *, beside: Sequence[Coroutine[Any, Any, None]] = ()
    ) -> None:
        """Keep the shards connected until `stop` is set.

        Args:
            shards: the connections to keep.
            stop: ends it.
            beside: coroutines to run meanwhile; one that fails ends the recording.

        Raises:
            RefusedByKraken: Kraken refuses the key.
            LocalFault: the archive can no longer be written.
        """
        for shard in shards:
            self._keep(shard)
        for work in beside:
            self._start(work)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [stopping, self._failed, self._intake.fault]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for failure in (self._intake.fault, self._failed):
                if failure.done():
                    raise failure.result()
        finally:
            stopping.cancel()
            self.rejected = [symbol for symbol, (_, state) in self.states().items() if state is SymbolState.REJECTED]
            await self._end_all()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_result(error)

    async def _end_all(self) -> None:
        # Before Python 3.12 `wait_for` may swallow a cancellation: a task that still runs is cancelled again.
        while going := [task for task in self._tasks if not task.done()]:
            for task in going:
                task.cancel()
            await asyncio.wait(going, timeout=END_WAIT_S)
        self._intake.close()

    # -- connections ---------------------------------------------------------------------------------------------------

    def _keep(self, shard: Shard) -> None:
        self._shards.append(shard)
        self._start(self._keep_connected(len(self._shards) - 1))

    async def _keep_connected(self, index: int) -> None:
        """Connect, and reconnect with the delays of `Backoff`."""
        backoff = Backoff(random.random)
        channel = self._shards[index].channel.name
        ended_ns = 0
        failures = 0
        maintenance = False
        if self._shards[index].is_second:
            await self._wait_for_first(self._shards[index])
        while True:
            await self._intake.may_connect.wait()
            await self._wait_for_attempt()
            try:
                result = await self._connect_once(index, ended_ns)
                failures, maintenance = 0, result.maintenance
                log.warning("connection ended", channel=channel, cause=result.cause, detail=result.detail)
            except (RefusedByKraken, LocalFault):
                raise
            except ConnectFailed as error:
                result = ConnectionResult("network", str(error), 0, maintenance)
                failures += 1
                if failures in (1, 10) or failures % 60 == 0:
                    log.warning("cannot connect", error=str(error), attempts=failures)
            except Exception:  # a bug in the code of one connection must not end the others
                log.exception("unexpected error on a connection", channel=channel)
                result = ConnectionResult("fault", "unexpected error", 0, maintenance)
            ended_ns = self._clock.mono_ns()
            self.reconnects += 1
            await self._sleep(backoff.next_delay_s(healthy_ns=result.healthy_ns, maintenance=result.maintenance))

    async def _connect_once(self, index: int, ended_ns: int) -> ConnectionResult:
        # Before the socket is open: Kraken closes one that is idle, and a REST server that is slow may take long. Newer
        # than the last end: without a living subscription a token expires.
        if self._shards[index].channel.private and self._context.tokens is not None:
            await self._context.tokens.get(newer_than_ns=ended_ns)
        await self._intake.may_connect.wait()  # things may have changed while the token was fetched
        self._last_connection += 1
        connection = Connection(self._last_connection, self._shards[index], self._context)
        self._connections.add(connection)
        self._current[index] = connection
        try:
            return await connection.run()
        finally:
            del self._current[index]
            self._connections.remove(connection)

    async def _wait_for_first(self, second: Shard) -> None:
        """Wait until the first connection has subscribed the symbols: the recording does not begin later for two."""
        until_ns = self._clock.mono_ns() + int(FIRST_WAIT_S * NS_PER_S)
        while self._clock.mono_ns() < until_ns:
            first = (self._current.get(index) for index, shard in enumerate(self._shards) if not shard.is_second)
            same = [each for each in first if each is not None and each.channel.name == second.channel.name]
            if any(each.has_settled and set(each.channel.symbols) >= set(second.channel.symbols) for each in same):
                break
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(self._stagger_s)

    async def _wait_for_attempt(self) -> None:
        wait_ns = self._attempts.reserve(self._clock.mono_ns())
        if wait_ns:
            log.warning("too many connection attempts, waiting", seconds=wait_ns // NS_PER_S)
            await self._sleep(wait_ns / NS_PER_S)

    # -- symbols -------------------------------------------------------------------------------------------------------

    def record_also(self, symbol: str) -> None:
        """Record a newly listed pair: on the first connection that has room for it, else on a new one; with two
        connections a symbol on both."""
        recorded = [shard for shard in self._shards if shard.channel.recorded_symbols()]
        for kind in dict.fromkeys((shard.channel.name, shard.is_second) for shard in recorded):
            same = [i for i, shard in enumerate(self._shards) if (shard.channel.name, shard.is_second) == kind]
            limit = self._symbols_per_connection
            index = next((i for i in same if len(self._shards[i].channel.symbols) < limit), None)
            if index is None:
                shard = self._shards[same[0]]
                self._keep(shard._replace(channel=shard.channel._replace(symbols=(symbol,))))
            else:
                shard = self._shards[index]
                self._shards[index] = shard._replace(channel=shard.channel.also(symbol))
                if index in self._current:
                    self._current[index].add(symbol)

    def states(self) -> dict[str, tuple[int, SymbolState]]:
        """For each level3 symbol the number of its connection (0: none now) and its state; with two connections, of the
        one that leads."""
        states: dict[str, tuple[int, SymbolState]] = {}
        for index, shard in enumerate(self._shards):
            if shard.channel.name == "level3":
                connection: Optional[Connection] = self._current.get(index)
                for symbol in shard.channel.recorded_symbols():
                    state = SymbolState.WAITING if connection is None else connection.state(symbol)
                    number = 0 if connection is None else connection.number
                    if not shard.is_second or number == self._leader(symbol) or not states[symbol][0]:
                        states[symbol] = (number, state)
        return states
