"""Builds the recorder from its configuration and runs it: the only place that knows all its concrete parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import sys
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

import msgspec
import structlog

from kraken_l3._version import __version__
from kraken_l3.app.symbols import resolve_symbols
from kraken_l3.app.take_over import TakeOver
from kraken_l3.archive.journal import Finding, Record, Started, Stopped
from kraken_l3.archive.last_messages import read_last_messages
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture import channel, transport
from kraken_l3.capture.aside import run_aside
from kraken_l3.capture.clock_watch import ALIVE_S, ClockWatch
from kraken_l3.capture.connection import ConnectionContext, Shard
from kraken_l3.capture.credentials import KeyMemory, state_directory
from kraken_l3.capture.disk_guard import Beside, DiskGuard, DiskMarks
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.held_archive import HeldArchive, Spliced
from kraken_l3.capture.instruments import InstrumentWatch
from kraken_l3.capture.intake import PAUSE_LIMIT_S, Intake
from kraken_l3.capture.leaders import Leaders
from kraken_l3.capture.maintenance import MaintenanceWatch
from kraken_l3.capture.open_connections import OpenConnections
from kraken_l3.capture.private_rest import PrivateRest
from kraken_l3.capture.redial import Redial, RedialTimes
from kraken_l3.capture.relay_process import RelayProcess
from kraken_l3.capture.rest import Tokens
from kraken_l3.capture.resync import Resyncs
from kraken_l3.capture.sealer import SealerProcess, SealerTimes
from kraken_l3.capture.sink import Observer, RecordObserver, Sink, SinkLimits
from kraken_l3.capture.supervisor import STAGGER_S, Supervisor
from kraken_l3.capture.trades import TradeWatch
from kraken_l3.capture.transport import Receiver, WebSocket
from kraken_l3.capture.verifier import VerifierLimits, VerifierProcess
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import Settings, environment_without_secrets, require_key
from kraken_l3.config.symbols import fitting_pairs, is_pattern
from kraken_l3.errors import KrakenL3Error
from kraken_l3.model.address import parse_address
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.live import ResyncRequest, VerifierFinding
from kraken_l3.protocol.arbitration import Limits
from kraken_l3.protocol.budget import RATE_PER_S, SYMBOLS_PER_CONNECTION, SubscriptionBudget
from kraken_l3.protocol.plan import redundancy_for, shards
from kraken_l3.protocol.resync import PAUSES_S, ResyncPolicy
from kraken_l3.protocol.session import SymbolState

__all__ = ["Recorder"]

log = structlog.get_logger("kraken_l3.recorder")

#: With a relay a message waits this long for others before it is queued, and is written at once: measured, these two
#: are nearly all of the delay (docs/replay.md).
_RELAYED_DELIVER_S = 0.001
_RELAYED_WAKE_BYTES = 1
#: So much is looked through at the start for each pair's last trade.
_LAST_TRADES_BYTES = 16 * 1024 * 1024


class RecorderLimits(NamedTuple):
    """Limits and intervals that are not settings: these fit every recording, and tests choose others.

    Attributes:
        sink: see `SinkLimits`; the intervals of the settings take precedence.
        pause_limit_s: reading that is paused for longer ends the connections.
        alive_s: seconds between two signs of life in the journal.
        symbols_per_connection: Kraken's limit.
        resync_pauses_s: see `ResyncPolicy`.
        verifier: see `VerifierLimits`.
        sealer: see `SealerTimes`.
        lines: how far two connections of a symbol may be apart.
        redial: see `RedialTimes`; only with `redial` in the settings.
        stagger_s: how much later the second one is opened.
        disk: see `DiskMarks`.
    """

    sink: SinkLimits = SinkLimits()
    pause_limit_s: float = PAUSE_LIMIT_S
    alive_s: float = ALIVE_S
    symbols_per_connection: int = SYMBOLS_PER_CONNECTION
    resync_pauses_s: Sequence[float] = PAUSES_S
    verifier: VerifierLimits = VerifierLimits()
    sealer: SealerTimes = SealerTimes()
    lines: Limits = Limits()
    redial: RedialTimes = RedialTimes()
    stagger_s: float = STAGGER_S
    disk: DiskMarks = DiskMarks()


class Recorder:
    """A recorder, ready to run once.

    Args:
        settings: what to record, and where to.
        clock: the machine's clocks; tests bring others.
        observer: called with what was written.
        record_observer: called with what is journalled.
        limits: see `RecorderLimits`.
        open_writer: opens the archive, as `ArchiveWriter.open` does.
        connect: opens a WebSocket, as `transport.connect` does (None: that one).
        sleep: waits between attempts to connect or to get a token; tests shorten it.
        take_over: takes the archive over from the recorder that writes it (None: there must be none).

    Attributes:
        owns_archive: whether it writes to the archive by now.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Optional[Clock] = None,
        observer: Optional[Observer] = None,
        record_observer: Optional[RecordObserver] = None,
        limits: RecorderLimits = RecorderLimits(),  # noqa: B008 - immutable
        open_writer: Callable[..., ArchiveWriter] = ArchiveWriter.open,
        connect: Optional[Callable[[str, Receiver, Clock], Awaitable[WebSocket]]] = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        take_over: Optional[TakeOver] = None,
    ) -> None:
        self._settings = settings
        self._clock = clock if clock is not None else SystemClock()
        self._observer = observer
        self._record_observer = record_observer
        self._limits = limits
        self._open_writer = open_writer
        deliver_s = _RELAYED_DELIVER_S if settings.relay else transport.DELIVER_S
        self._connect = connect or partial(transport.connect, deliver_s=deliver_s)
        self._sleep = sleep
        self._take_over = take_over
        self.owns_archive = False
        self.symbols: list[str] = []
        self.sink: Optional[Sink] = None
        self.gaps: Optional[GapLedger] = None
        self.intake: Optional[Intake] = None
        self.connections = OpenConnections()
        self.leaders: Optional[Leaders] = None
        self.resyncs: Optional[Resyncs] = None
        self.supervisor: Optional[Supervisor] = None
        self.verifier: Optional[VerifierProcess] = None
        self.sealer: Optional[SealerProcess] = None
        self.disk: Optional[DiskGuard] = None
        self.relay: Optional[RelayProcess] = None

    @property
    def takes_over(self) -> bool:
        """Whether it takes the archive over, or has."""
        return self._take_over is not None

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set; everything received is on disk when this returns.

        Raises:
            ConfigError: symbols or key cannot work.
            RefusedByKraken: the key is refused.
            ArchiveLocked: another recorder writes there.
            LocalFault: the archive cannot be written any more.
        """
        require_key(self._settings)
        self.symbols = await self._resolve_symbols(stop)
        if stop.is_set():
            return
        writer = self._held_archive() or self._open_archive()
        sink = self._build_sink(writer)
        sink.start()
        try:
            await self._record(writer, sink, stop)
            self._journal_stop(sink, "stop")
        except BaseException as error:
            self._journal_stop(sink, type(error).__name__)
            raise
        finally:
            try:
                await sink.stop()
            finally:
                if self.verifier is not None:  # after the sink: the child reads what is on disk
                    await self.verifier.finish()

    def _held_archive(self) -> Optional[HeldArchive]:
        if self._take_over is None or not self._take_over.find():
            self._take_over = None
            return None
        return HeldArchive(self._take_over.last_connection(), self._clock)

    def _open_archive(self) -> ArchiveWriter:
        writer = self._open_writer(self._settings.output_dir, clock=self._clock)
        for repair in writer.recovered:
            log.warning(
                "repaired after an unclean end", file=repair.file, torn=len(repair.torn), aside=repair.torn_file
            )
        self.owns_archive = True
        return writer

    async def _resolve_symbols(self, stop: asyncio.Event) -> list[str]:
        names = asyncio.ensure_future(resolve_symbols(self._settings))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([names, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not names.done():
            names.cancel()
            return []
        return names.result()

    def _build_sink(self, writer: Union[ArchiveWriter, HeldArchive]) -> Sink:
        """The sink, and what it notifies about queue and disk."""

        def journal(record: Record) -> None:
            # Only a closure can close this circle: a full disk makes gaps, and gaps are journalled through the sink.
            sink.journal(record)

        settings = self._settings
        self.gaps = GapLedger(writer.state.gaps.values(), journal, self._clock)
        self.intake = Intake(self.connections, self.gaps, self._clock, pause_limit_s=self._limits.pause_limit_s)
        limits = self._limits.sink._replace(
            flush_interval_s=settings.flush_interval_s, fsync_interval_s=settings.fsync_interval_s
        )
        if settings.relay:
            limits = limits._replace(wake_bytes=_RELAYED_WAKE_BYTES)
        self.sink = sink = Sink(writer, self.intake, limits, self._observer, self._record_observer)
        return sink

    async def _record(self, writer: Union[ArchiveWriter, HeldArchive], sink: Sink, stop: asyncio.Event) -> None:
        settings, clock, connections = self._settings, self._clock, self.connections
        assert self.gaps is not None
        assert self.intake is not None
        sink.journal(self._started())
        redundancy = redundancy_for(len(self.symbols), settings.depth, settings.tier, settings.redundancy)
        if redundancy > 1:
            self.leaders = Leaders(connections, sink, self.gaps, clock, self._limits.lines)
        context = ConnectionContext(
            sink=sink,
            gaps=self.gaps,
            tokens=self._tokens(),
            clock=clock,
            liveness_s=settings.liveness_timeout_s,
            maintenance=MaintenanceWatch(),
            connect=self._connect,
            leaders=self.leaders,
        )
        self.supervisor = Supervisor(
            context,
            connections,
            self.intake,
            last_connection=writer.last_connection,
            sleep=self._sleep,
            symbols_per_connection=self._limits.symbols_per_connection,
            leader=self.leaders.leader if self.leaders is not None else lambda symbol: None,
            stagger_s=self._limits.stagger_s,
        )
        policy = ResyncPolicy(self._limits.resync_pauses_s)
        self.resyncs = Resyncs(self.leaders or connections, self.gaps, sink.journal, clock, policy)
        instruments = InstrumentWatch(
            self.symbols, writer.state.instruments, sink.journal, clock, listed=self._record_listed
        )
        log.info(
            "recording",
            symbols=len(self.symbols),
            depth=settings.depth,
            redundancy=redundancy,
            directory=str(settings.output_dir),
        )
        tasks = [run_aside(self._run_child(run), name) for name, run in self._children(sink, self.resyncs).items()]
        try:
            beside = self._beside(writer, sink, self.resyncs)
            await self.supervisor.run(self._shards(instruments, sink), stop, beside=beside)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _beside(
        self, writer: Union[ArchiveWriter, HeldArchive], sink: Sink, resyncs: Resyncs
    ) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the connections, and ends the recording where it fails."""
        clock_watch = ClockWatch(sink, self.connections, self._clock, alive_s=self._limits.alive_s)
        work = [clock_watch.run(), resyncs.run()]
        if self.leaders is not None:
            work.append(self.leaders.run(resyncs.request))
            if self._settings.redial:
                redial = Redial(self.connections, self.leaders.may_leave, self._clock, self._limits.redial)
                work.append(redial.run())
        elif self._settings.redial:
            log.warning("connections are not replaced daily: with one for each symbol that would lose messages")
        if self._take_over is not None and isinstance(writer, HeldArchive):
            loop = asyncio.get_running_loop()
            writer.spliced = lambda result: _tell(loop, self._on_spliced, result)
            work.append(self._take_over.run(writer, self.symbols, self._missing, self._open_archive))
        return work

    def _children(self, sink: Sink, resyncs: Resyncs) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs in processes of its own beside the recording, by its name in the log."""
        settings = self._settings
        beside = []
        if settings.verify:
            self.verifier = self._verifier(sink, resyncs)
            beside.append(Beside("the live verifier", self.verifier.run, self.verifier.finish))
        if settings.seal:
            self.sealer = self._sealer()
            beside.append(Beside("sealing", self.sealer.run))
        self.disk = DiskGuard(settings.output_dir, lambda: sink.written_bytes, beside, self._clock, self._limits.disk)
        children: dict[str, Callable[[], Awaitable[None]]] = {"the disk guard": self.disk.run}
        if settings.relay:
            self.relay = self._relay()
            children["the relay"] = self.relay.run
        return children

    async def _run_child(self, run: Callable[[], Awaitable[None]]) -> None:
        """Not before another recorder's child processes are gone, which write to the archive up to their end."""
        if self._take_over is not None:
            await self._take_over.done.wait()
        await run()

    def _missing(self) -> int:
        """How many symbols have no snapshot yet; those that Kraken refuses do not count, unless it refuses all."""
        assert self.supervisor is not None
        states = [state for _, state in self.supervisor.states().values()]
        if self._settings.trades:
            carrying = [(self.connections.carrying("trade", symbol), symbol) for symbol in self.symbols]
            states += [each[0].state(symbol) if each else SymbolState.WAITING for each, symbol in carrying]
        settled = sum(state in (SymbolState.LIVE, SymbolState.REJECTED) for state in states)
        return len(states) - settled if SymbolState.LIVE in states else len(states)

    def _on_spliced(self, result: Spliced) -> None:
        assert self.gaps is not None
        assert self._take_over is not None
        self.gaps.adopt(result.gaps, result.taken_back)
        for symbol, reason in result.again.items():
            log.warning("the symbol has a gap until its next snapshot", symbol=symbol, reason=reason)
            connection = (self.leaders or self.connections).to_resubscribe(symbol)
            if connection is not None:
                connection.resync(symbol)
        log.info(
            "took over", symbols=len({symbol for _, symbol in result.bridged}), bridged=sum(result.bridged.values())
        )
        self._take_over.spliced.set()

    def _record_listed(self, instruments: list[Instrument]) -> list[str]:
        """Record newly listed pairs that match a configured pattern; returns their names."""
        patterns = [symbol for symbol in self._settings.symbols if is_pattern(symbol)]
        fitting = dict.fromkeys(name for pattern in patterns for name in fitting_pairs(pattern, instruments))
        new = [name for name in fitting if name not in self.symbols]
        for symbol in new:
            log.info("a pair was listed, recording it too", symbol=symbol)
            self.symbols.append(symbol)
            if self.supervisor is not None:
                self.supervisor.record_also(symbol)
        return new

    def _verifier(self, sink: Sink, resyncs: Resyncs) -> VerifierProcess:
        def on_resync(request: ResyncRequest) -> None:
            resyncs.request(request.symbol, request.cause, request.left_ns or self._clock.wall_ns())

        def on_finding(finding: VerifierFinding) -> None:
            log.warning("the verifier found a fault", symbol=finding.symbol, what=finding.what, line=finding.line)
            at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            sink.journal(Finding(at_ns=at_ns, mono_ns=mono_ns, **msgspec.structs.asdict(finding)))

        return VerifierProcess(
            [sys.executable, "-m", "kraken_l3", "verify-live", str(self._settings.output_dir)],
            environment_without_secrets(self._settings),
            on_resync=on_resync,
            on_finding=on_finding,
            lines_written=lambda: sink.written_frames,
            limits=self._limits.verifier,
        )

    def _sealer(self) -> SealerProcess:
        settings, program = self._settings, [sys.executable, "-m", "kraken_l3"]
        directory = str(settings.output_dir)
        commands = [[*program, "seal", "--low-priority", directory]]
        if settings.upload:
            limits = (("--keep-days", settings.keep_days), ("--keep-gb", settings.keep_gb))
            given = [word for name, value in limits if value for word in (name, str(value))]
            commands.append([*program, "keep", "--low-priority", directory, "--to", settings.upload, *given])
        return SealerProcess(
            commands,
            self._clock,
            environment_without_secrets(self._settings),
            times=self._limits.sealer,
        )

    def _relay(self) -> RelayProcess:
        settings = self._settings
        address = parse_address(settings.relay)
        command = [sys.executable, "-m", "kraken_l3", "replay", str(settings.output_dir), "--live", "--recorder"]
        return RelayProcess(
            [*command, "--host", address.host, "--port", str(address.port)],
            environment_without_secrets(settings),
        )

    def _tokens(self) -> Tokens:
        key, secret = require_key(self._settings)
        memory = KeyMemory(state_directory(), key)
        client = PrivateRest(self._settings.rest_url, key, secret, memory, self._clock)
        return Tokens(client, self._clock, self._sleep)

    def _shards(self, instruments: InstrumentWatch, sink: Sink) -> list[Shard]:
        settings, symbols = self._settings, self.symbols
        budget, public_budget = (SubscriptionBudget(RATE_PER_S[settings.tier]) for _ in range(2))
        result = [
            Shard(settings.ws_url, channel.level3(part, settings.depth), budget, is_second)
            for is_second in ((False, True) if self.leaders is not None else (False,))
            for part in shards(symbols)
        ]
        public = [channel.instrument(instruments.observe)]
        if settings.trades:
            trades = self._trade_watch(sink)
            public += [channel.trade(part, trades.observe) for part in shards(symbols)]
        return result + [Shard(settings.public_ws_url, each, public_budget) for each in public]

    def _trade_watch(self, sink: Sink) -> TradeWatch:
        """It knows the last trades before this start; one that takes over splices by their ids (`held_archive`)."""
        watch = TradeWatch(sink.journal, self._clock)
        if self._take_over is None:
            try:
                directory = self._settings.output_dir
                found = read_last_messages(
                    directory, "trade", self.symbols, recent_ns=0, limit_bytes=_LAST_TRADES_BYTES
                )
                for frame in found.last.values():
                    watch.remember(frame.payload)
            except (KrakenL3Error, OSError) as error:
                log.warning("the last trades cannot be read, a hole behind them is not journalled", error=str(error))
        return watch

    def _started(self) -> Started:
        return Started(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            version=__version__,
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid=os.getpid(),
            config={**self._settings.without_secrets(), "symbols": self.symbols, "python": platform.python_version()},
        )

    def _journal_stop(self, sink: Sink, reason: str) -> None:
        sink.journal(Stopped(at_ns=self._clock.wall_ns(), mono_ns=self._clock.mono_ns(), reason=reason))


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], result: Spliced) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed already: nobody is left to be told
        loop.call_soon_threadsafe(callback, result)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
