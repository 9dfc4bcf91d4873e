"""The sound archives that the archive fuzzer damages, the same bytes each time they are made.

The flow of the embedded exchange, written by the recorder's own writer, checkpointed by the live verifier and sealed as
`kraken-l3 seal` does it, all on a clock that is set.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.journal import (
    Acknowledged,
    Alive,
    Connected,
    Disconnected,
    GapClosed,
    GapOpened,
    Instruments,
    Started,
    Stopped,
)
from kraken_l3.archive.layout import LOCK_NAME, RESERVE_NAME
from kraken_l3.archive.recovery import recover, recover_directory
from kraken_l3.archive.sealing import close_newest_day, day_sealing, seal, unsealed_days
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import generate, listing
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import day_of, parse_rfc3339
from kraken_l3.rebuild.live import LiveVerifier
from kraken_l3.rebuild.sealing import describe

__all__ = ["BASES", "SYMBOLS", "make_bases"]

SYMBOLS = ("BTC/USD", "ETH/USD")
NOON_NS = parse_rfc3339("2024-11-22T12:00:00Z")
NIGHT_NS = parse_rfc3339("2024-11-22T23:59:58.5Z")
_S = 1_000_000_000
_MESSAGES = 90  # in each half, before and after a gap


class SetClock:
    """Stands where it was set."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns - NOON_NS + 10**12


class Recorder:
    """Writes an archive as the recorder does, on a clock of its own."""

    def __init__(self, directory: Path, start_ns: int) -> None:
        self.directory = directory
        self.clock = SetClock(start_ns)
        self.writer = ArchiveWriter.open(directory, clock=self.clock)
        self.journal(Started, version="0", host="h", boot_id="b", pid=1, config={"symbols": list(SYMBOLS)})
        pairs = [
            Instrument(symbol=pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision)
            for pair in listing(list(SYMBOLS))
        ]
        self.journal(Instruments, instruments=pairs)
        records = ",".join(pair.record for pair in listing(list(SYMBOLS)))
        self.append(
            "instrument", b'{"channel":"instrument","type":"snapshot","data":{"pairs":[%s]}}' % records.encode()
        )

    def journal(self, kind, **fields) -> None:
        self.writer.journal(kind(at_ns=self.clock.wall_ns(), mono_ns=self.clock.mono_ns(), **fields))

    def append(self, stream: str, line: bytes, connection: int = 9) -> None:
        self.writer.append(stream, [Frame(line, self.clock.wall_ns(), self.clock.mono_ns(), connection)])

    def session(self, connection: int, messages: int) -> None:
        """One connection: its subscriptions, then messages with trades, sync points and signs of life between them."""
        self.journal(Connected, connection=connection, url="wss://x", channel="level3", symbols=list(SYMBOLS))
        for symbol in SYMBOLS:
            self.journal(Acknowledged, connection=connection, channel="level3", symbol=symbol, depth=10)
        trades: list[bytes] = []
        start_ns = self.clock.now_ns
        flow = generate(
            symbols=SYMBOLS, messages=messages, seed=connection, levels=12, start_ns=start_ns, trades=trades.append
        )
        for number, line in enumerate(flow):
            self.clock.now_ns += 23_456_789
            self.append("level3", line, connection)
            for trade in trades:
                self.append("trade", trade)
            trades.clear()
            if number % 30 == 29:
                self.journal(Alive, last_frame_ns={connection: self.clock.now_ns}, lines=number)
                self.writer.sync()

    def gap(self, connection: int) -> None:
        left_ns = self.clock.now_ns
        self.journal(Disconnected, connection=connection, cause="network", last_frame_ns=left_ns)
        gap = {"channel": "level3", "cause": "network", "left_ns": left_ns}
        for symbol in SYMBOLS:
            self.journal(GapOpened, symbol=symbol, **gap)
        self.clock.now_ns += 5 * _S
        for symbol in SYMBOLS:
            self.journal(GapClosed, symbol=symbol, right_ns=self.clock.now_ns, connection=connection + 1, **gap)

    def stop(self, connection: int) -> None:
        self.journal(Disconnected, connection=connection, cause="stop", last_frame_ns=self.clock.now_ns)
        self.journal(Stopped, reason="SIGTERM")
        self.writer.close()


def _checkpoint(directory: Path) -> None:
    stop = threading.Event()
    stop.set()
    LiveVerifier(directory, lambda message: None, stop=stop, engine_name="python").run()


def _recorded(directory: Path, start_ns: int) -> None:
    recorder = Recorder(directory, start_ns)
    recorder.session(1, _MESSAGES)
    recorder.gap(1)
    recorder.session(2, _MESSAGES)
    recorder.stop(2)
    _checkpoint(directory)


def _crashed(directory: Path, live: Path) -> None:
    """A copy of what was on disk while it was written, its last line torn."""
    recorder = Recorder(live, NOON_NS)
    recorder.session(1, _MESSAGES)
    shutil.copytree(live, directory)
    recorder.writer.close()
    (data,) = directory.glob("l3-*.ndjson")
    with data.open("ab") as file:
        file.write(b"\0" * 100 + b'\n{"channel":"level3","type":"upd')


class _Killed(BaseException):
    """The recovery ended here."""


class _KilledAtRepair(OsFileSystem):
    """The process ends when a repair was written down and not yet done."""

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        if new.name.startswith("l3-") and new.suffix == ".repair":
            raise _Killed


def _half_repaired(directory: Path, crashed: Path) -> None:
    shutil.copytree(crashed, directory)
    try:
        recover(directory, clock=SetClock(NOON_NS + 60 * _S), filesystem=_KilledAtRepair())
    except _Killed:
        return
    raise AssertionError("nothing was repaired")


def _repaired(directory: Path, crashed: Path) -> None:
    shutil.copytree(crashed, directory)
    recover_directory(directory, clock=SetClock(NOON_NS + 60 * _S))


def _sealed(directory: Path, recorded: Path) -> None:
    shutil.copytree(recorded, directory)
    filesystem, clock = OsFileSystem(), SetClock(NIGHT_NS + 3 * 86_400 * _S)
    close_newest_day(filesystem, directory, clock)
    for day in unsealed_days(filesystem, directory, day_of(clock.now_ns)):
        seal(day_sealing(filesystem, directory, day), filesystem=filesystem, clock=clock, describe=describe)


def _foreign(directory: Path) -> None:
    """One file of another recorder, and nothing beside it."""
    directory.mkdir()
    lines = generate(symbols=SYMBOLS, messages=_MESSAGES, seed=7, levels=12)
    (directory / "l3-2024-11-22.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))


def _all(root: Path) -> Iterator[Path]:
    yield root / "one-day"
    _recorded(root / "one-day", NOON_NS)
    yield root / "two-days"
    _recorded(root / "two-days", NIGHT_NS)
    yield root / "crashed"
    _crashed(root / "crashed", root / "live")
    shutil.rmtree(root / "live")
    yield root / "half-repaired"
    _half_repaired(root / "half-repaired", root / "crashed")
    yield root / "repaired"
    _repaired(root / "repaired", root / "crashed")
    yield root / "sealed"
    _sealed(root / "sealed", root / "two-days")
    yield root / "foreign"
    _foreign(root / "foreign")


BASES = ("one-day", "two-days", "crashed", "half-repaired", "repaired", "sealed", "foreign")


def make_bases(root: Path) -> None:
    """Make all of them in a directory that is there."""
    for directory in _all(root):
        assert directory.name in BASES
    for reserve in root.glob(f"*/{RESERVE_NAME}"):
        reserve.write_bytes(b"\0" * 4_096)  # it is copied for each case, and a megabyte of zeros tells nothing more
    for lock in root.glob(f"*/{LOCK_NAME}"):
        lock.write_bytes(b'{"pid":1,"host":"h"}')  # the only bytes that would differ from run to run
