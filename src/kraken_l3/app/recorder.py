"""Builds the recorder from its configuration and runs it: the one place that knows all its concrete parts."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
from pathlib import Path
from typing import Optional

import msgspec
import structlog

from kraken_l3._version import __version__
from kraken_l3.archive import journal
from kraken_l3.archive.journal import Started, Stopped
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.capture import channel
from kraken_l3.capture.connection import ConnectionContext, Shard
from kraken_l3.capture.credentials import KeyMemory, state_directory
from kraken_l3.capture.gap_ledger import GapLedger
from kraken_l3.capture.instruments import InstrumentWatch, fetch_instruments
from kraken_l3.capture.rest import TokenClient, Tokens
from kraken_l3.capture.sealer import SealerProcess
from kraken_l3.capture.sink import Observer, Sink
from kraken_l3.capture.supervisor import Supervisor
from kraken_l3.capture.trades import TradeWatch
from kraken_l3.capture.verifier import VerifierProcess
from kraken_l3.clock import Clock, SystemClock
from kraken_l3.config.settings import Settings, require_key
from kraken_l3.config.symbols import expand, fitting_pairs, is_pattern, needs_instruments
from kraken_l3.errors import ConfigError, KrakenL3Error
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.live import ResyncRequest, VerifierFinding
from kraken_l3.protocol.budget import RATE_PER_S, SubscriptionBudget
from kraken_l3.protocol.plan import shards

__all__ = ["Recorder", "resolve_symbols"]

LARGEST_FETCH_WAIT_S = 60.0

log = structlog.get_logger("kraken_l3.recorder")


class Recorder:
    """A recorder, ready to run once.

    Args:
        settings: what to record, and where to.
        clock: the machine's clocks; tests bring others.
        observer: looks at what was written (the live table).
    """

    def __init__(
        self, settings: Settings, *, clock: Optional[Clock] = None, observer: Optional[Observer] = None
    ) -> None:
        self._settings = settings
        self._clock = clock if clock is not None else SystemClock()
        self._observer = observer
        self.symbols: list[str] = []
        self.sink: Optional[Sink] = None
        self.gaps: Optional[GapLedger] = None
        self.supervisor: Optional[Supervisor] = None
        self.verifier: Optional[VerifierProcess] = None
        self.sealer: Optional[SealerProcess] = None

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set; everything received is on disk when this returns.

        Raises:
            ConfigError: symbols or key cannot work.
            RefusedByKraken: the key is refused.
            ArchiveLocked: another recorder writes there.
            LocalFault: the archive cannot be written any more.
        """
        require_key(self._settings)
        symbols = await self._symbols(stop)
        if stop.is_set():
            return
        writer = ArchiveWriter.open(self._settings.output_dir, clock=self._clock)
        sink = Sink(
            writer,
            flush_interval_s=self._settings.flush_interval_s,
            fsync_interval_s=self._settings.fsync_interval_s,
            observer=self._observer,
        )
        for repair in writer.recovered:
            log.warning(
                "repaired after an unclean end", file=repair.file, torn=len(repair.torn), aside=repair.torn_file
            )
        sink.start()
        try:
            await self._record(symbols, writer, sink, stop)
            self._note_stopped(sink, "stop")
        except BaseException as error:
            self._note_stopped(sink, type(error).__name__)
            raise
        finally:
            try:
                await sink.stop()
            finally:
                if self.verifier is not None:  # after the sink: the child reads what is on disk
                    await self.verifier.finish()

    async def _symbols(self, stop: asyncio.Event) -> list[str]:
        names = asyncio.ensure_future(resolve_symbols(self._settings))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([names, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not names.done():
            names.cancel()
            return []
        return names.result()

    async def _record(self, symbols: list[str], writer: ArchiveWriter, sink: Sink, stop: asyncio.Event) -> None:
        settings, clock = self._settings, self._clock
        self.symbols, self.sink = list(symbols), sink
        self.gaps = GapLedger(writer.state.gaps.values(), sink.note, clock)
        watch = InstrumentWatch(symbols, writer.state.instruments, sink.note, clock, listed=self._on_list)
        sink.note(self._started(symbols))
        shared = ConnectionContext(
            sink=sink,
            gaps=self.gaps,
            tokens=self._tokens(),
            clock=clock,
            liveness_s=settings.liveness_timeout_s,
        )
        self.supervisor = Supervisor(self._shards(symbols, watch, sink), shared, last_connection=writer.last_connection)
        log.info("recording", symbols=len(symbols), depth=settings.depth, directory=str(settings.output_dir))
        children = []
        if settings.verify:
            self.verifier = self._verifier(sink, self.supervisor)
            children.append(asyncio.ensure_future(self.verifier.run()))
        if settings.seal:
            self.sealer = self._sealer()
            children.append(asyncio.ensure_future(self.sealer.run()))
        try:
            await self.supervisor.run(stop)
        finally:
            for child in children:
                child.cancel()
            await asyncio.gather(*children, return_exceptions=True)

    def _on_list(self, instruments: list[Instrument]) -> list[str]:
        """Pairs that were listed since the start and that a configured pattern means: they are recorded from now on."""
        patterns = [symbol for symbol in self._settings.symbols if is_pattern(symbol)]
        fitting = dict.fromkeys(name for pattern in patterns for name in fitting_pairs(pattern, instruments))
        new = [name for name in fitting if name not in self.symbols]
        for symbol in new:
            log.info("a pair was listed, recording it too", symbol=symbol)
            self.symbols.append(symbol)
            if self.supervisor is not None:
                self.supervisor.record_also(symbol)
        return new

    def _verifier(self, sink: Sink, supervisor: Supervisor) -> VerifierProcess:
        def on_resync(request: ResyncRequest) -> None:
            supervisor.resync(request.symbol, request.cause, request.left_ns or self._clock.wall_ns())

        def on_finding(finding: VerifierFinding) -> None:
            log.warning("the verifier found", symbol=finding.symbol, what=finding.what, line=finding.line)
            at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            sink.note(journal.Finding(at_ns=at_ns, mono_ns=mono_ns, **msgspec.structs.asdict(finding)))

        return VerifierProcess(
            [sys.executable, "-m", "kraken_l3", "verify-live", str(self._settings.output_dir)],
            on_resync=on_resync,
            on_finding=on_finding,
            lines_written=lambda: sink.written_frames,
        )

    def _sealer(self) -> SealerProcess:
        directory = str(self._settings.output_dir)
        return SealerProcess([sys.executable, "-m", "kraken_l3", "seal", "--low-priority", directory], self._clock)

    def _tokens(self) -> Tokens:
        key, secret = require_key(self._settings)
        memory = KeyMemory(state_directory(), key)
        return Tokens(TokenClient(self._settings.rest_url, key, secret, memory, self._clock), self._clock)

    def _shards(self, symbols: list[str], watch: InstrumentWatch, sink: Sink) -> list[Shard]:
        settings = self._settings
        budget, public_budget = (SubscriptionBudget(RATE_PER_S[settings.tier]) for _ in range(2))
        result = [Shard(settings.ws_url, channel.level3(part, settings.depth), budget) for part in shards(symbols)]
        public = [channel.instrument(watch.observe)]
        if settings.trades:
            trades = TradeWatch(sink.note, self._clock)
            public += [channel.trade(part, trades.observe) for part in shards(symbols)]
        return result + [Shard(settings.public_ws_url, each, public_budget) for each in public]

    def _started(self, symbols: list[str]) -> Started:
        return Started(
            at_ns=self._clock.wall_ns(),
            mono_ns=self._clock.mono_ns(),
            version=__version__,
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid=os.getpid(),
            config={**self._settings.without_secrets(), "symbols": symbols, "python": platform.python_version()},
        )

    def _note_stopped(self, sink: Sink, reason: str) -> None:
        sink.note(Stopped(at_ns=self._clock.wall_ns(), mono_ns=self._clock.mono_ns(), reason=reason))


async def resolve_symbols(settings: Settings) -> list[str]:
    """The pairs by name; asks Kraken's public endpoint, until it answers, only when there are patterns.

    Raises:
        ConfigError: there are none, or a pattern fits none.
    """
    if not settings.symbols:
        raise ConfigError(
            "nothing to record", where="symbols", hint="Name pairs in config.yaml or KRAKEN_L3_SYMBOLS=BTC/USD,ETH/USD"
        )
    if not needs_instruments(settings.symbols):
        return settings.symbols
    wait_s = 1.0
    while True:
        try:
            return expand(settings.symbols, await fetch_instruments(settings.public_ws_url, SystemClock()))
        except ConfigError:
            raise
        except KrakenL3Error as error:
            log.warning("no instrument list yet, needed for the patterns", error=str(error), retry_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, LARGEST_FETCH_WAIT_S)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
