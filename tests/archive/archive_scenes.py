"""Small recordings that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

from disk_fakes import FakeClock, FakeFileSystem

from kraken_l3.archive.journal import Acknowledged, Alive, Connected, Disconnected, Started, Stopped
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import parse_rfc3339

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")
SECOND_NS = 1_000_000_000
DAY = "2026-11-22"


def payload(number: int, symbol: str = "BTC/USD") -> bytes:
    return b'{"channel":"level3","type":"update","data":[{"symbol":"%s","n":%d}]}' % (symbol.encode(), number)


def frame(number: int, recv_ns: int, *, connection: int = 1, flags: int = 0) -> Frame:
    return Frame(payload(number), recv_ns, number, connection, flags)


def open_writer(directory: Path, clock: FakeClock, disk: FakeFileSystem) -> ArchiveWriter:
    return ArchiveWriter.open(directory, clock=clock, filesystem=disk)


def abandon(writer: ArchiveWriter) -> None:
    """The process is gone: the operating system frees its lock, and nothing else is done."""
    writer._lock.release()


def start(
    writer: ArchiveWriter, clock: FakeClock, *, connection: int = 1, symbols: tuple[str, ...] = ("BTC/USD",)
) -> None:
    now = {"at_ns": clock.wall_ns(), "mono_ns": clock.mono_ns()}
    writer.journal(Started(**now, version="0", host="h", boot_id="b", pid=1, config={}))
    writer.journal(Connected(**now, connection=connection, url="wss://x", channel="level3", symbols=list(symbols)))
    for symbol in symbols:
        writer.journal(Acknowledged(**now, connection=connection, channel="level3", symbol=symbol, depth=10))


def stop(writer: ArchiveWriter, clock: FakeClock, *, connection: int = 1) -> None:
    now = {"at_ns": clock.wall_ns(), "mono_ns": clock.mono_ns()}
    writer.journal(Disconnected(**now, connection=connection, cause="stop", last_frame_ns=clock.wall_ns()))
    writer.journal(Stopped(**now, reason="SIGTERM"))
    writer.close()


def alive(writer: ArchiveWriter, clock: FakeClock, *, connection: int = 1) -> None:
    writer.journal(Alive(at_ns=clock.wall_ns(), mono_ns=clock.mono_ns(), last_frame_ns={connection: clock.wall_ns()}))
