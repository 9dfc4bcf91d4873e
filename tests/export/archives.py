"""Small archives with right checksums, as the recorder would have written them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import msgspec

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints
from kraken_l3.archive.journal import Acknowledged, Connected, GapClosed, GapOpened, Instruments, Started, Stopped
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.exchange.flow import listing
from kraken_l3.exchange.flow.generate import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import day_start_ns, parse_rfc3339
from kraken_l3.rebuild.metadata import metadata_in

START_NS = parse_rfc3339("2026-11-22T12:00:00Z")
NIGHT_NS = parse_rfc3339("2026-11-22T23:59:50Z")
LATENCY_NS = 7_654_321


class SetClock:
    """Stands where it was set."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


def time_of(line: bytes) -> int:
    data = json.loads(line)["data"][0]
    return parse_rfc3339(data["timestamp"])


def instruments(symbols: Sequence[str]) -> list[Instrument]:
    return [
        Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
        for p in listing(list(symbols))
    ]


def record(
    directory: Path,
    *,
    symbols: Sequence[str] = ("BTC/USD", "ETH/USD"),
    messages: int = 2_000,
    depth: int = 10,
    start_ns: int = START_NS,
    seed: int = 1,
    rate: float = 50.0,
    gap: bool = False,
    trades: bool = False,
    change: Optional[Callable[[int, bytes], bytes]] = None,
) -> Path:
    """Write an archive. With `gap`, half way everything is lost for ten seconds and begins anew with snapshots."""
    clock = SetClock(start_ns)
    writer = ArchiveWriter.open(directory, clock=clock)
    begin_recording(writer, clock, symbols, depth)
    counter = itertools.count()
    halves = 2 if gap else 1
    now_ns, gap_left_ns = start_ns, 0
    for half in range(halves):
        tape: list[bytes] = []
        lines = generate(
            symbols=list(symbols),
            depth=depth,
            messages=messages // halves,
            seed=seed + half,
            start_ns=now_ns,
            rate=rate,
            trades=tape.append if trades else None,
        )
        first = True
        for line in lines:
            at_ns = time_of(line) + LATENCY_NS
            if first and half:
                _close_gaps(writer, clock, symbols, gap_left_ns, at_ns)
            first = False
            clock.now_ns = at_ns
            if change is not None:
                line = change(next(counter), line)
            writer.append("level3", [Frame(line, at_ns, at_ns, 1 + half)])
            for trade in tape:
                writer.append("trade", [Frame(trade, at_ns, at_ns, 9)])
            tape.clear()
        if half + 1 < halves:
            gap_left_ns = clock.now_ns
            now_ns = clock.now_ns + 10_000_000_000
            for symbol in symbols:
                writer.journal(
                    GapOpened(at_ns=clock.now_ns, channel="level3", symbol=symbol, cause="network", left_ns=gap_left_ns)
                )
    writer.journal(Stopped(at_ns=clock.now_ns, reason="duration"))
    writer.close()
    return directory


def begin_recording(writer: ArchiveWriter, clock: SetClock, symbols: Sequence[str], depth: int) -> None:
    now = {"at_ns": clock.now_ns, "mono_ns": clock.now_ns}
    writer.journal(Started(**now, version="0", host="h", boot_id="b", pid=1, config={}))
    writer.journal(Instruments(**now, instruments=instruments(symbols)))
    writer.journal(Connected(**now, connection=1, url="wss://x", channel="level3", symbols=list(symbols)))
    for symbol in symbols:
        writer.journal(Acknowledged(**now, connection=1, channel="level3", symbol=symbol, depth=depth))


def _close_gaps(writer: ArchiveWriter, clock: SetClock, symbols: Sequence[str], left_ns: int, right_ns: int) -> None:
    for symbol in symbols:
        writer.journal(
            GapClosed(
                at_ns=right_ns, channel="level3", symbol=symbol, cause="network", left_ns=left_ns, right_ns=right_ns
            )
        )


def write_checkpoints(source: Path) -> None:
    """As the verifier does at the start of the second day."""
    archive = open_archive(source)
    engine = PythonEngine(EngineOptions())
    for told in metadata_in(archive):
        engine.set_symbol(told.symbol, price_precision=told.price_precision, qty_precision=told.qty_precision)
    engine.feed(archive.files()[0].read_bytes(), 0, 0)
    images = [engine.export_book(symbol) for symbol in engine.symbols()]
    checkpoints = [
        Checkpoint(
            line=0,
            end_offset=0,
            symbol=image.symbol,
            depth=10,
            message=msgspec.Raw(image.message),
            newest_ns=image.newest_ns,
            amending=list(image.amending),
        )
        for image in images
        if image is not None
    ]
    append_checkpoints(DayPaths(source, archive.days[1]).checkpoints, checkpoints)


def begin_second_day_with_snapshots(source: Path, target: Path) -> None:
    """A copy in which each symbol is subscribed again, without a gap, when the second day begins."""
    files = open_archive(source).files()
    books = PythonEngine(EngineOptions())
    books.feed(files[0].read_bytes(), 0, 0)
    again = [image.message for image in map(books.export_book, books.symbols()) if image is not None]
    clock = SetClock(START_NS)
    writer = ArchiveWriter.open(target, clock=clock)
    begin_recording(writer, clock, books.symbols(), 10)
    for line in open_archive(source).lines():
        assert line.receipt is not None
        at_ns = clock.now_ns = line.receipt.recv_ns
        if again and at_ns > day_start_ns(open_archive(source).days[1]):
            for message in again:
                before_ns = at_ns - 2_000  # readers of microseconds are to see both
                writer.append("level3", [Frame(message, before_ns, before_ns, 1)])
            again = []
        writer.append("level3", [Frame(line.payload, at_ns, at_ns, 1)])
    writer.journal(Stopped(at_ns=clock.now_ns, reason="duration"))
    writer.close()
